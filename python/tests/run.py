"""Runs the tests of the package that lies in the build folder, by pytest.

    python/tests/run.py BUILD [pytest's words]     without what scripts/setup --tests installs: skipped, but in CI
"""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = ROOT / ".venv/tests"


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    python = TESTS / "bin/python"
    if not list(TESTS.glob("lib/python3*/site-packages/pytest")):
        print(f"python: skipped: no pytest in {TESTS}; scripts/setup --tests installs it")
        return 1 if os.environ.get("CI") else 77
    environment = {**os.environ, "PYTHONPATH": str(build / "python"), "HYPENET_PROGRAM": str(build / "hypenet"),
                   "LD_LIBRARY_PATH": str(TESTS / "torch-standins"), "PYTHONDONTWRITEBYTECODE": "1",
                   "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", ROOT / "python/tests", *sys.argv[2:]]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
