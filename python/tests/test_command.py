"""The command `hypenet` of the package, as pip's script starts it."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypenet_command._built import TORCH_VERSION

PACKAGES = str(Path(sys.modules["hypenet_command"].__file__ or "").parent.parent)


def run_command(*words: str, site: bool, folders: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Without site there is no package but those of the folders."""
    begin = [sys.executable, *([] if site else ["-S"]), "-c", "from hypenet_command import main; main()"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([PACKAGES, *folders])}
    return subprocess.run([*begin, *words], env=environment, capture_output=True, text=True, check=False)


def test_the_program_runs() -> None:
    done = run_command("--version", site=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("hypenet ")


def test_without_torch_one_line_says_how_to_get_it() -> None:
    done = run_command("--version", site=False)
    assert done.returncode == 1
    assert done.stderr == f"hypenet: expected the package torch, found none: pip install torch=={TORCH_VERSION}\n"


def test_another_torch_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").touch()
    (tmp_path / "torch/version.py").write_text("__version__ = '2.10.0+cpu'\n")
    done = run_command("--version", site=False, folders=(str(tmp_path),))
    assert done.returncode == 1
    assert done.stderr.startswith(f"hypenet was built against torch {TORCH_VERSION}, found torch 2.10.0: ")
    assert done.stderr.count("\n") == 1
