"""Finds libtorch, the one this package was built against, and loads the compiled module over it.

torch itself is not imported: that takes seconds, and only tensors need it.
"""
import ctypes
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

from hypenet_command import checked_torch, runs_device_code


def _load_libtorch(folder: Path) -> None:
    """Wherever torch lies: what is loaded under its name is what the module takes."""
    for name in ["libc10.so", "libtorch_cpu.so"]:
        try:
            ctypes.CDLL(str(folder / "lib" / name))
        except OSError as error:
            raise ImportError(f"hypenet: torch's library cannot be loaded: {error}") from None


def _import_native() -> ModuleType:
    """hypenet._native, or hypenet.cuda._native, which has device code and wants NVIDIA's libraries."""
    _load_libtorch(checked_torch())
    name = "hypenet._native"
    if runs_device_code():
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
