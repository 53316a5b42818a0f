"""The model of lm-evaluation-harness, with requests as the harness makes them.

The harness itself is not installed here (its packages are 300 MB): a stand-in has the names that the module takes from it.
Beside the real one it was measured by hand: docs/python.md.
"""
import math
import sys
import types

import pytest
from conftest import TEACHER

import hypenet


class CacheHook:
    def __init__(self):
        self.kept = []

    def add_partial(self, kind, arguments, result):
        self.kept.append((kind, arguments, result))


class LM:
    def __init__(self):
        self.cache_hook = CacheHook()


class Instance:
    def __init__(self, *arguments):
        self.args = arguments


@pytest.fixture(scope="module")
def registered():
    """What the module registers with the harness: {"hypenet": its class}."""
    known = {}

    def register_model(name):
        return lambda cls: known.setdefault(name, cls)

    try:
        import lm_eval  # noqa: F401
    except ImportError:
        modules = {name: types.ModuleType(name) for name in
                   ["lm_eval", "lm_eval.models", "lm_eval.api", "lm_eval.api.model", "lm_eval.api.registry", "lm_eval.utils"]}
        modules["lm_eval.utils"].simple_parse_args_string = lambda text: dict(pair.split("=") for pair in text.split(","))
        modules["lm_eval"].models = modules["lm_eval.models"]
        modules["lm_eval.api.model"].LM = LM
        modules["lm_eval.api.registry"].register_model = register_model
        modules["lm_eval.api.registry"].MODEL_REGISTRY = known
        with pytest.MonkeyPatch.context() as patch:
            for name, module in modules.items():
                patch.setitem(sys.modules, name, module)
            import hypenet.lm_eval as ours
            yield known
            del sys.modules[ours.__name__]
        return
    import hypenet.lm_eval as ours
    yield {"hypenet": ours.HypenetLM}


@pytest.fixture(scope="module")
def judged(registered):
    return registered["hypenet"](pretrained=str(TEACHER), dtype="float32", batch_size="auto", device=None)


def test_loglikelihoods_are_scores(judged, model):
    pairs = [("The sun", " is"), ("The sun", " king of"), ("", "The sun"), ("The sun", " is")]
    found = judged.loglikelihood([Instance(*pair) for pair in pairs], disable_tqdm=True)
    expected = model.score(pairs)
    assert [value for value, _ in found] == pytest.approx(expected.loglikelihoods.tolist(), abs=1e-4)
    assert [greedy for _, greedy in found] == expected.greedy.tolist()
    assert judged.loglikelihood([], disable_tqdm=True) == []


def test_rolling_scores_every_token_once(judged, model):
    text = "Once there was a king who had a daughter. " * 40  # longer than the model's 256 tokens
    (found,) = judged.loglikelihood_rolling([Instance(text)], disable_tqdm=True)
    ids = [0, *model.tokenizer.encode(text)]
    assert len(ids) > 300
    first = model.logits(ids[:257])[:-1].log_softmax(-1)[range(256), ids[1:257]].sum().item()
    assert math.isfinite(found) and found < first


def test_answers_end_before_until(judged, model):
    whole = model.generate("The sun", max_tokens=24).text
    word = whole.split()[3]
    requests = [Instance("The sun", {"until": [word], "max_gen_toks": 24}),
                Instance("The sun", {"until": "never seen", "max_gen_toks": 24, "do_sample": False}),
                Instance("The sun", {"until": [], "max_gen_toks": 6, "do_sample": True, "temperature": 0.9})]
    cut, full, drawn = judged.generate_until(requests, disable_tqdm=True)
    assert cut == whole[:whole.index(word)]
    assert full == whole
    assert drawn and drawn == judged.generate_until(requests, disable_tqdm=True)[2]


def test_the_harness_may_keep_answers(judged):
    hook = judged.cache_hook = CacheHook() if hasattr(judged.cache_hook, "kept") else judged.cache_hook
    judged.loglikelihood([Instance("a", " b")], disable_tqdm=True)
    if hasattr(hook, "kept"):
        assert [(kind, arguments) for kind, arguments, _ in hook.kept] == [("loglikelihood", ("a", " b"))]


def test_arguments_go_before_the_harness_flags(registered):
    made = registered["hypenet"].create_from_arg_string(f"pretrained={TEACHER},device=cpu,max_length=128",
                                                        {"device": "cuda:0", "batch_size": "8", "max_batch_size": None})
    assert (made.device if hasattr(made, "device") else made._device, made.max_length) == ("cpu", 128)


def test_without_a_gpu_the_harness_default_is_the_cpu(registered, monkeypatch):
    create = registered["hypenet"].create_from_arg_string
    monkeypatch.setitem(create.__globals__, "has_gpu_driver", lambda: False)
    assert create(f"pretrained={TEACHER}", {"device": "cuda:0"})._device == "cpu"
    with pytest.raises(hypenet.Error, match="cuda"):  # what was asked for is not changed
        create(f"pretrained={TEACHER},device=cuda:99", {"device": "cuda:0"})


def test_what_is_wrong_is_one_line(registered, judged, chat_folder):
    with pytest.raises(hypenet.Error, match="no/such"):
        registered["hypenet"](pretrained="no/such")
    with pytest.raises(ValueError, match="names no BOS"):
        registered["hypenet"](pretrained=str(TEACHER), add_bos_token=True)
    with pytest.raises(hypenet.Error, match="at least one token after its context"):
        judged.loglikelihood([Instance("a", "")], disable_tqdm=True)
    with pytest.raises(hypenet.Error, match="chat template"):
        judged.apply_chat_template([{"role": "user", "content": "a"}])
    chatty = registered["hypenet"](pretrained=str(chat_folder))
    assert chatty.apply_chat_template([{"role": "user", "content": "a"}]).endswith("assistant\n")
    assert "im_start" in chatty.chat_template(True) and "model" in chatty.tokenizer_name
    assert chatty.get_model_info()["model_num_parameters"] > 1e6
