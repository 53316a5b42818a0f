"""Logits, scores and tasks; torch's own arithmetic says what they should be."""
import json
import subprocess

import pytest
import torch
from conftest import ROOT, TEACHER

import hypenet


@pytest.fixture(scope="module")
def reference():
    transformers = pytest.importorskip("transformers")
    return transformers.AutoModelForCausalLM.from_pretrained(TEACHER, dtype=torch.float32).eval()


def test_logits_are_those_of_transformers(model, reference):
    ids = model.tokenizer.encode("The sun is a star. Once there was a king.")
    logits = model.logits(ids)
    assert (logits.shape, logits.dtype, logits.device.type) == ((len(ids), 4096), torch.float32, "cpu")
    with torch.no_grad():
        expected = reference(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-4)


def test_logits_take_ids_in_every_form(model):
    rows = [[5, 6, 7], [8, 9, 10]]
    both = model.logits(rows)
    assert both.shape == (2, 3, 4096)
    torch.testing.assert_close(both[1], model.logits(rows[1]), atol=1e-4, rtol=1e-4)
    assert torch.equal(model.logits(torch.tensor(rows)), both)
    assert torch.equal(model.logits("The sun"), model.logits(model.tokenizer.encode("The sun")))
    both.add_(1)  # it is the caller's own
    for ids, text in [([[1, 2], [3]], "rows of one length, found 2 and 1"), ([], "found none"), ([[]], "found none"),
                      ([4096], "4096"), ([-1], "-1")]:
        with pytest.raises(hypenet.Error, match=text):
            model.logits(ids)
    with pytest.raises(TypeError, match="a list of texts"):
        model.logits(["a", "b"])


def test_scores_are_sums_of_log_probabilities(model):
    pairs = [("The sun", " is"), ("The sun", " rises over the hills"), ("", "The sun")]
    scores = model.score(pairs)
    assert (scores.loglikelihoods.dtype, scores.greedy.dtype) == (torch.float64, torch.bool)
    for (context, continuation), found, greedy in zip(pairs, *scores):
        begin = model.tokenizer.encode(context) or [model.tokenizer.eos_token_id]
        end = model.tokenizer.encode(context + continuation)[len(model.tokenizer.encode(context)):]
        logprobs = model.logits(begin + end)[len(begin) - 1:-1].log_softmax(-1)
        assert found.item() == pytest.approx(logprobs[range(len(end)), end].sum().item(), abs=1e-3)
        assert greedy.item() == (logprobs.argmax(-1).tolist() == end)
    by_ids = model.score([(model.tokenizer.encode("The sun"), model.tokenizer.encode(" is"))])
    assert by_ids.loglikelihoods[0].item() == pytest.approx(scores.loglikelihoods[0].item(), abs=1e-4)
    assert model.score([]).loglikelihoods.shape == (0,)


def test_wrong_pairs_are_named(model):
    for pairs, error, text in [(["ab"], TypeError, "pairs of context and continuation"), ([("a",)], TypeError, "pairs"),
                               ([("a", 5)], TypeError, "continuation: expected token ids"),
                               ([("a", [1])], hypenet.Error, "one of each"), ([("a", "")], hypenet.Error, "continuation"),
                               ([([1], [4096])], hypenet.Error, "4096")]:
        with pytest.raises(error, match=text):
            model.score(pairs)


@pytest.fixture
def items(tmp_path):
    file = tmp_path / "items.jsonl"
    rows = [{"context": "The sun", "choices": [" is", " king", " of"], "answer": 0},
            {"context": "Once there was a", "choices": [" king", " is"], "answer": 0}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_tasks_are_measured_as_by_the_program(model, program, items, tmp_path):
    answers = tmp_path / "answers.jsonl"
    answers.write_text(json.dumps({"context": "The sun", "answer": "e", "max_tokens": 8}) + "\n")
    tasks, told = [str(items), str(answers)], []
    found = hypenet.evaluate(model, tasks, on_progress=lambda done, total: told.append((done, total)), log_samples=True)
    out = tmp_path / "results.json"
    subprocess.run([program, "eval", str(TEACHER), "--tasks", ",".join(tasks), "--out", out, "--dtype", "float32"],
                   check=True, capture_output=True)
    expected = json.loads(out.read_text())
    for key in ["results", "n-samples", "n-shot", "versions"]:
        assert found[key] == expected[key]
    assert told[-1] == (6, 6)
    assert len(found["samples"]) == 3
    assert hypenet.evaluate(TEACHER, tasks, dtype="float32")["results"] == expected["results"]


def test_what_cannot_be_measured_says_why(model, items):
    for tasks, options, error, text in [
            ("no_such_task", {}, hypenet.Error, "no_such_task"), ([], {}, hypenet.Error, "tasks: expected names"),
            ("piqa", {}, hypenet.Error, "piqa"), (5, {}, TypeError, "tasks: expected text"),
            (str(items), {"limit": 0}, ValueError, "limit: expected at least 1, found 0"),
            (str(items), {"ll_dtype": "f8"}, ValueError, "ll_dtype: expected float32 or bf16"),
            (str(items), {"device": "cpu"}, TypeError, "the model is open already")]:
        with pytest.raises(error, match=text):
            hypenet.evaluate(model, tasks, **options)

    def stop(done, total):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        hypenet.evaluate(model, str(items), on_progress=stop)


def test_select_chooses_layers(tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text("replaced_layer,text/kl\noriginal,0\n0,0.5\n1,0.1\n2,0.9\n3,0.2\n")
    assert hypenet.select(file, rule="kl", keep=2) == [0, 2]
    with pytest.raises(hypenet.Error, match="rule"):
        hypenet.select(file, rule="magic")
    with pytest.raises(hypenet.Error, match="no/such.csv"):
        hypenet.select("no/such.csv")


def test_a_conversion_reports_stops_and_goes_on(tmp_path):
    recipe, reports = ROOT / "recipes/tiny.json", []
    settings = {"align.steps": 12, "align.log_every": 1, "align.sequences": 1, "align.context": 64}
    call = {"out": tmp_path / "run", "until": "align", "settings": settings, "threads": 2}

    def stop(report):
        reports.append(report)
        if report.kind == "step":
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        hypenet.convert(recipe, on_progress=stop, **call)
    step = reports[-1]
    assert (step.stage, step.total) == ("2-align", 12) and 0 < step.done <= 12 and step.loss > 0
    done = hypenet.convert(recipe, on_progress=reports.append, **call)
    assert done.model == tmp_path / "run/2-align" and (done.model / "model.safetensors").exists()
    assert done.report is None and done.results is None
    assert any(report.kind == "note" for report in reports)
    assert hypenet.convert(resume=tmp_path / "run", until="align").model == done.model


@pytest.mark.parametrize(("arguments", "text"), [
    ({}, "recipe: expected a recipe file, or resume= and the folder of a run, found neither"),
    ({"recipe": "no/such.json"}, "no/such.json"),
    ({"recipe": ROOT / "recipes/tiny.json", "until": "lunch"}, "until: "),
    ({"recipe": ROOT / "recipes/tiny.json", "settings": {"align.stepps": 1}}, "stepps"),
    ({"recipe": ROOT / "recipes/tiny.json", "device": "gpu"}, "device: expected"),
])
def test_what_cannot_be_converted_says_why(arguments, text, tmp_path):
    with pytest.raises(hypenet.Error) as caught:
        hypenet.convert(**{"out": tmp_path / "run", **arguments})
    assert text in str(caught.value) and "\n" not in str(caught.value)
