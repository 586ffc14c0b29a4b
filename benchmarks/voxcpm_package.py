"""The PyPI package `voxcpm` as a worker of `benchmarks.voxcpm_engine`: runs in its own environment, without this
repository.

    PYTHON benchmarks/voxcpm_package.py DIRECTORY THREADS

Per line of standard input, {"text": ..., "patches": N}, it speaks once and answers with one line of JSON: seconds until
the first chunk and in all, the number of chunks, and seconds of audio. The first line it writes says that it is ready.
"""

import contextlib
import json
import sys
import time
from importlib.metadata import version
from typing import Any


def speak(model: Any, text: str, patches: int) -> dict[str, float]:
    began_s = time.perf_counter()
    first_s, samples, chunks = 0.0, 0, 0
    for chunk in model.generate_streaming(text=text, max_len=patches, cfg_value=2.0, inference_timesteps=10):
        first_s = first_s or time.perf_counter() - began_s
        samples += len(chunk)
        chunks += 1
    total_s = time.perf_counter() - began_s
    audio_s = samples / model.tts_model.sample_rate
    return {"first_s": first_s, "total_s": total_s, "chunks": chunks, "audio_s": audio_s}


def main(directory: str, threads: int) -> None:
    answers = sys.stdout
    sys.path.pop(0)  # this folder: none of its files may stand in for what the package imports

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    with contextlib.redirect_stdout(sys.stderr):  # what the package prints is no answer
        import torch  # noqa: PLC0415
        from voxcpm import VoxCPM  # noqa: PLC0415

        torch.set_num_threads(threads)
        model = VoxCPM(directory, enable_denoiser=False, optimize=False, device="cpu")
        answer({"ready": True, "version": version("voxcpm"), "torch": torch.__version__})
        for line in sys.stdin:
            asked = json.loads(line)
            answer(speak(model, asked["text"], asked["patches"]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
