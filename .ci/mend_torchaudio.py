"""Make torchaudio importable beside a CPU build of torch.

The registry's torchaudio is linked against CUDA. Where (and only where) its import fails for want of a CUDA library,
its optional native part is removed: what Voicegraph uses of torchaudio is pure Python.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path


def main() -> None:
    if (
        subprocess.run(
            [sys.executable, "-c", "import torchaudio"], capture_output=True, check=False
        ).returncode
        == 0
    ):
        return
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or spec.origin is None:
        sys.exit("torchaudio is not installed")
    for library in (Path(spec.origin).parent / "lib").glob("_torchaudio*.so"):
        library.unlink()
    subprocess.run([sys.executable, "-c", "import torchaudio"], check=True)
    print("torchaudio: removed its CUDA part, which this machine cannot load")


if __name__ == "__main__":
    main()
