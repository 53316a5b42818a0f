"""Finds libtorch, the one this package was built against, and loads the compiled module over it.

torch itself is not imported: that takes seconds, and only tensors need it.
"""
import ctypes
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

from hypenet._built import HAS_DEVICE_CODE, TORCH_VERSION


def find_torch() -> Path:
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


def _load_libtorch(folder: Path) -> None:
    """Wherever torch lies: what is loaded under its name is what the module takes."""
    for name in ["libc10.so", "libtorch_cpu.so"]:
        try:
            ctypes.CDLL(str(folder / "lib" / name))
        except OSError as error:
            raise ImportError(f"hypenet: torch's library cannot be loaded: {error}") from None


def has_gpu_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _check_version(folder: Path) -> None:
    """libtorch's interface is another in each version, and nothing but a crash would tell."""
    found = _torch_version(folder)
    if found != TORCH_VERSION:
        raise ImportError(
            f"hypenet was built against torch {TORCH_VERSION}, found torch {found}: pip install torch=={TORCH_VERSION}, "
            "or build hypenet again with the torch you have")


def _import_native() -> ModuleType:
    """hypenet._native, or hypenet.cuda._native, which has device code and wants NVIDIA's libraries."""
    folder = find_torch()
    _check_version(folder)
    _load_libtorch(folder)
    name = "hypenet._native"
    if HAS_DEVICE_CODE and has_gpu_driver():
        import torch  # noqa: F401, PLC0415: it knows where NVIDIA's libraries lie
        name = "hypenet.cuda._native"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        version = ".".join(map(str, sys.version_info[:2]))
        raise ImportError(f"hypenet: expected {name} for Python {version} in {Path(__file__).parent}, found none: "
                          "build hypenet for this Python") from None


native: ModuleType = _import_native()

_computed_in: list[int] = []  # processes, this one and those it was forked from


def check_not_forked(what: str) -> None:
    """To be called before anything is computed. Threads of arithmetic do not survive a fork, and whoever waits for them
    waits for ever. Raises Error in the fork of a process that has computed."""
    if _computed_in and _computed_in[-1] != os.getpid():
        raise native.Error(f"{what}: this process is a fork of {_computed_in[-1]}, which has run a model, and has none of "
                           'its threads: start processes by spawn (multiprocessing.get_context("spawn"))')
    _computed_in[:] = [os.getpid()]
