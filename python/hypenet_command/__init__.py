"""The command `hypenet`: the program that the package hypenet holds, with the libtorch of this environment.

A package of its own, as importing hypenet loads libtorch, which the program does for itself, and fails without it.
"""
from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from pathlib import Path

from hypenet_command._built import HAS_DEVICE_CODE, TORCH_VERSION

_PROGRAMS = Path(__file__).parent.parent / "hypenet/bin"


def _find_torch() -> Path:
    known = sys.modules.get("torch")
    if known is not None and getattr(known, "__file__", None):
        return Path(known.__file__).parent
    found = importlib.util.find_spec("torch")
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"hypenet: expected the package torch, found none: pip install torch=={TORCH_VERSION}")
    return Path(found.submodule_search_locations[0])


def _torch_version(folder: Path) -> str:
    try:
        text = (folder / "version.py").read_text(encoding="utf-8")
    except OSError:
        raise ImportError(f"hypenet: {folder}: expected torch's version.py, found none") from None
    found = re.search(r"__version__ = '([^'+]+)", text)
    return found[1] if found else "unknown"


def checked_torch() -> Path:
    """The folder of the torch that this package was built against: libtorch's interface is another in each version, and
    nothing but a crash would tell. Raises ImportError."""
    folder = _find_torch()
    found = _torch_version(folder)
    if found != TORCH_VERSION:
        raise ImportError(
            f"hypenet was built against torch {TORCH_VERSION}, found torch {found}: pip install torch=={TORCH_VERSION}, "
            "or build hypenet again with the torch you have")
    return folder


def runs_device_code() -> bool:
    """Whether this package has some, and the machine a GPU's driver."""
    if not HAS_DEVICE_CODE:
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def program() -> Path:
    return _PROGRAMS / ("hypenet-cuda" if runs_device_code() else "hypenet")


def environment() -> dict[str, str]:
    """The program looks for libtorch beside this package; where that lies elsewhere it is told so. Raises ImportError."""
    torch = checked_torch()
    beside = Path(__file__).parent.parent / "torch"
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
    try:
        variables = environment()
    except ImportError as error:
        sys.exit(str(error))
    os.execve(path, ["hypenet", *sys.argv[1:]], variables)
