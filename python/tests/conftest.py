"""The embedded teacher for all tests, opened once; a folder of it with a chat template."""
import os
import shutil
from pathlib import Path

import pytest

import hypenet

ROOT = Path(__file__).resolve().parent.parent.parent
TEACHER = ROOT / "models/tiny-teacher"
CHATML = ("{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


@pytest.fixture(scope="session")
def model():
    with hypenet.load(TEACHER, dtype="float32", threads=2) as opened:
        yield opened


@pytest.fixture(scope="session")
def program():
    return Path(os.environ.get("HYPENET_PROGRAM", ROOT / "build-cpu/hypenet"))


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat") / "model"
    shutil.copytree(TEACHER, folder)
    (folder / "chat_template.jinja").write_text(CHATML.replace("<|im_end|>", "<|endoftext|>"))
    return folder
