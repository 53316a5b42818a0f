"""Tests that need torch run in .venv/tests, with the torch of .venv (scripts/setup --tests)."""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent.parent / ".venv/tests"
STANDINS = TESTS / "torch-standins"
SKIPPED = 77


def enter():
    """Returns inside .venv/tests alone: elsewhere runs this script again there, and ends with its status; without that
    environment with 77, a skip, and in CI with a failure."""
    if os.environ.get("LD_LIBRARY_PATH") == str(STANDINS):
        return
    if not STANDINS.exists():
        print(f"{Path(sys.argv[0]).stem}: skipped: no {STANDINS}; scripts/setup --tests makes it")
        sys.exit(1 if os.environ.get("CI") else SKIPPED)
    with tempfile.TemporaryDirectory(prefix="hypenet-modules-") as modules:  # where modelling files are copied to
        code = subprocess.run([TESTS / "bin/python", *sys.argv], check=False, env={
            **os.environ, "LD_LIBRARY_PATH": str(STANDINS), "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": modules,
            "OMP_NUM_THREADS": "2"}).returncode
    sys.exit(code)


def run_program(program, *arguments):
    """What the program prints, by the libraries that it has outside of .venv/tests."""
    without = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    ran = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, env=without, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
