"""Loading: what is missing or wrong is one line; the package knows its torch."""
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, TEACHER

import hypenet


@pytest.mark.parametrize(("path", "options", "text"), [
    ("no/such/folder", {}, "no/such/folder"),
    (ROOT / "docs", {}, "config.json"),
    (TEACHER, {"device": "gpu"}, 'device: expected cpu, cuda or cuda:N, found "gpu"'),
    (TEACHER, {"dtype": "int3"}, 'dtype: expected auto, float32, bfloat16 or float64, found "int3"'),
    (TEACHER, {"activations": "int4"}, "activations: expected int8 or float, found int4"),
    (TEACHER, {"cache_type": "half"}, "cache_type: expected auto, float32 or bfloat16, found half"),
    (TEACHER, {"threads": -1}, "threads: expected 0 to 4096, found -1"),
    (TEACHER, {"context": -1}, "context: expected 0 to"),
    (TEACHER, {"attn_logits_scaling": "much"}, "attn_logits_scaling"),
])
def test_what_cannot_be_loaded_says_why(path, options, text):
    with pytest.raises(hypenet.Error) as caught:
        hypenet.load(path, **options)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_types_are_named():
    for path, options in [(5, {}), (None, {}), (TEACHER, {"threads": "2"}), (TEACHER, {"memory": 1.5})]:
        with pytest.raises(TypeError, match="expected"):
            hypenet.load(path, **options)
    with pytest.raises(ValueError, match="memory: expected a number of bytes, or text like 8G or 512M, found 'much'"):
        hypenet.load(TEACHER, memory="much")


def test_wrong_lists_and_sizes_are_named(model):
    for call, error, text in [(lambda: hypenet.load(TEACHER, memory="1e30G"), ValueError, "memory: expected an integer of 64"),
                              (lambda: model.score(None), TypeError, "pairs: expected a list"),
                              (lambda: hypenet.evaluate(model, "piqa", lengths=5), TypeError, "lengths: expected a list"),
                              (lambda: model.tokenizer.encode(None), TypeError, "text: expected a list of texts, or one"),
                              (lambda: model.tokenizer.encode([5]), TypeError, "text: expected text, found int 5")]:
        with pytest.raises(error, match=text):
            call()


def test_a_model_says_what_it_is():
    with hypenet.load(str(TEACHER), memory="64M") as model:
        assert model.config["num_hidden_layers"] == 8
        assert (model.vocab_size, model.max_length, model.device) == (4096, 256, "cpu")
        assert model.path == Path(TEACHER)
        assert model.num_parameters > 1_000_000


def test_types_on_a_cpu_are_what_was_asked_for(tmp_path, program):
    packed = tmp_path / "int8"
    words = ["quantize", TEACHER, "--to", "int8", "--context", "64", "--windows", "1", "--out", packed]
    subprocess.run([program, *words], check=True, capture_output=True)
    answers = {}
    for options in [{}, {"activations": "float"}, {"activations": "float", "cache_type": "float32"}, {"dtype": "float32"}]:
        with hypenet.load(packed, memory="64M", **options) as model:
            answers[str(options)] = torch.tensor(model.generate("The sun", max_tokens=20, temperature=0).logprobs)
    rounded, plain, plain_cache, expanded = answers.values()
    assert not torch.equal(rounded, plain)
    assert not torch.equal(plain, plain_cache)
    torch.testing.assert_close(plain_cache, expanded, atol=0.02, rtol=0)  # rows may meet the head in bfloat16


def test_importing_takes_no_torch():
    code = "import sys, hypenet\nassert 'torch' not in sys.modules\nprint(hypenet.__version__)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "0.1.0"


def test_another_torch_is_refused_before_it_is_loaded(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("")
    for version, expected in [("__version__ = '2.9.1+cpu'\n", "found torch 2.9.1"), ("", "found torch unknown")]:
        (tmp_path / "torch/version.py").write_text(version)
        code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport hypenet"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        last = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 1
        assert last.startswith("ImportError: hypenet was built against torch 2.") and expected in last


def test_a_module_of_another_python_is_missed(tmp_path):
    package = Path(hypenet.__file__).parent
    (tmp_path / "hypenet").mkdir()
    for file in package.glob("*.py"):
        (tmp_path / "hypenet" / file.name).write_text(file.read_text())
    code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport hypenet"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "build hypenet for this Python" in done.stderr.strip().splitlines()[-1]


def test_the_command_is_the_program(program):
    for command in [[sys.executable, "-m", "hypenet", "--version"], [program, "--version"]]:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "0.1.0" in done.stdout
    wrong = subprocess.run([sys.executable, "-m", "hypenet", "generate", "no/such"], capture_output=True, text=True,
                           check=False)
    assert wrong.returncode != 0 and wrong.stderr.startswith("hypenet: ")
