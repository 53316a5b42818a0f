"""The command `hypenet`: the program that the package holds, with the libtorch of this environment."""
from __future__ import annotations

import os
import sys
from pathlib import Path

from hypenet._built import HAS_DEVICE_CODE
from hypenet._library import find_torch, has_gpu_driver

_PROGRAMS = Path(__file__).parent / "bin"


def program() -> Path:
    """With device code where there is a GPU's driver."""
    name = "hypenet-cuda" if HAS_DEVICE_CODE and has_gpu_driver() else "hypenet"
    return _PROGRAMS / name


def environment() -> dict[str, str]:
    """The program looks for libtorch beside this package; where that lies elsewhere it is told so."""
    torch = find_torch()
    beside = _PROGRAMS.parent.parent / "torch"
    if torch == beside or os.path.realpath(torch) == os.path.realpath(beside):
        return dict(os.environ)
    site = torch.parent
    folders = [torch / "lib", site / "nvidia/cu13/lib", site / "pyarrow"]
    known = os.environ.get("LD_LIBRARY_PATH")
    return {**os.environ, "LD_LIBRARY_PATH": ":".join([*map(str, folders), *([known] if known else [])])}


def main() -> None:
    path = program()
    if not path.exists():
        sys.exit(f"hypenet: expected the program {path}, found none: this package was built without it")
    os.execve(path, ["hypenet", *sys.argv[1:]], environment())


if __name__ == "__main__":
    main()
