"""Write constraints.txt from what is installed in this environment.

Releases that no longer support Python 3.10 are pinned for newer interpreters only; there pip resolves freely.
"""

from __future__ import annotations

import sys
from importlib.metadata import distributions
from pathlib import Path

from packaging.specifiers import SpecifierSet

TARGET = Path(__file__).parent.parent / "constraints.txt"
# Tools of the environment itself, and what is not on every platform.
SKIPPED = {"pip", "setuptools", "wheel", "voicegraph"}


def main() -> None:
    lines = set()
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name.lower() in SKIPPED or name.lower().startswith("nvidia"):
            continue
        version = distribution.version.split("+")[0]  # "+cpu" is a build of the same release
        requires = SpecifierSet(distribution.metadata["Requires-Python"] or "")
        marker = "" if requires.contains("3.10.14") else ' ; python_version >= "3.11"'
        lines.add(f"{name.lower()}=={version}{marker}")
    header = "# Made by `make constraints` on Python {}.{}; the versions the tests ran with.".format(
        *sys.version_info
    )
    TARGET.write_text("\n".join([header, *sorted(lines)]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
