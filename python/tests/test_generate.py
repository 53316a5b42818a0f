"""Answers: those of the program, whoever else asks; and what is wrong is said in one line."""
import gc
import json
import subprocess
import threading

import pytest

import hypenet

PROMPTS = ["The sun", "Once there was a king who", "Water is"]


def test_answers_are_those_of_the_program(model, program):
    for settings in [{}, {"temperature": 0.8, "top_p": 0.9, "seed": 3}]:
        flags = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        command = [program, "generate", str(model.path), "--prompt", PROMPTS[0], "--tokens", "24", "--json", "--dtype",
                   "float32", *flags]
        expected = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        answer = model.generate(PROMPTS[0], max_tokens=24, **settings)
        assert answer.text == expected["text"] == str(answer)
        assert answer.ids == expected["ids"]
        assert answer.finish_reason == expected["finish_reason"]
        assert answer.logprobs == pytest.approx(expected["logprobs"], abs=1e-5)


def test_a_list_gives_what_each_prompt_gives_alone(model):
    together = model.generate(PROMPTS, max_tokens=16, temperature=0.7, seed=5)
    assert together == [model.generate(prompt, max_tokens=16, temperature=0.7, seed=5) for prompt in PROMPTS]
    assert model.generate([], max_tokens=4) == []
    assert isinstance(model.generate(PROMPTS[:1], max_tokens=2), list)


def test_ids_are_prompts_too(model):
    ids = model.tokenizer.encode(PROMPTS[0])
    answer = model.generate(PROMPTS[0], max_tokens=8)
    assert model.generate(ids, max_tokens=8) == answer
    assert model.generate([ids, PROMPTS[0]], max_tokens=8) == [answer, answer]


def test_a_stream_is_the_answer_in_pieces(model):
    whole = model.generate(PROMPTS, max_tokens=20)
    texts, ends = ["", "", ""], {}
    for piece in model.generate(PROMPTS, max_tokens=20, stream=True):
        texts[piece.index] += piece.text
        if piece.finish_reason:
            ends[piece.index] = piece.finish_reason
    assert texts == [answer.text for answer in whole]
    assert ends == {place: answer.finish_reason for place, answer in enumerate(whole)}


def test_an_answer_ends_before_a_stop_string(model):
    whole = model.generate(PROMPTS[0], max_tokens=40)
    word = whole.text.split()[4]
    cut = model.generate(PROMPTS[0], max_tokens=40, stop=[word, "never to be seen"])
    assert cut.text == whole.text[:whole.text.index(word)]
    assert cut.finish_reason == "stop"


def test_likeliest_tokens_are_told(model):
    answer = model.generate(PROMPTS[0], max_tokens=4, top_logprobs=3)
    assert [len(top) for top in answer.top_logprobs] == [3] * len(answer.ids)
    assert [top[0][0] for top in answer.top_logprobs] == answer.ids
    assert answer.top_logprobs[0][0][1] == pytest.approx(answer.logprobs[0])


def test_a_bias_forbids_a_token(model):
    first = model.generate(PROMPTS[0], max_tokens=1).ids[0]
    assert model.generate(PROMPTS[0], max_tokens=1, logit_bias={first: -100.0}).ids[0] != first


def test_threads_get_what_they_get_alone(model):
    expected = [model.generate(prompt, max_tokens=24) for prompt in PROMPTS]
    found = [None] * 12

    def ask(place):
        found[place] = model.generate(PROMPTS[place % 3], max_tokens=24)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected[place % 3] for place in range(12)]


def test_python_goes_on_while_an_answer_comes(model):
    counted, ends = 0, threading.Event()
    thread = threading.Thread(target=lambda: (model.generate(PROMPTS[0], max_tokens=100, ignore_eos=True), ends.set()))
    thread.start()
    while not ends.is_set():
        counted += 1
    thread.join()
    assert counted > 1000


def test_a_dropped_stream_ends_its_answer(model):
    for _ in range(3):
        stream = model.generate(PROMPTS, max_tokens=200, ignore_eos=True, stream=True)
        next(stream)
        del stream
        gc.collect()
    with model.generate(PROMPTS[0], max_tokens=200, ignore_eos=True, stream=True) as stream:
        next(stream)
    assert list(stream) == []
    assert model.generate(PROMPTS[0], max_tokens=4).finish_reason == "length"


def test_a_stream_outlives_the_name_of_its_model():
    from conftest import TEACHER

    stream = hypenet.load(TEACHER).generate("The sun", max_tokens=8, stream=True)
    gc.collect()
    assert len(stream.collect()[0].ids) == 8


@pytest.mark.parametrize(("settings", "text"), [
    ({"temperature": -1}, "temperature: expected 0, or 1e-06 to 1e+06, found -1"),
    ({"max_tokens": 0}, "max_tokens: expected at least 1, found 0"),
    ({"top_p": 0.5}, "top_p: has no effect at temperature 0"),
    ({"temperature": float("nan")}, "temperature: expected"),
    ({"top_k": 1.5, "temperature": 1}, "top_k: expected an integer, found 1.5"),
    ({"top_logprobs": 1000}, "top_logprobs: expected 0 to"),
    ({"logit_bias": {99999: 1.0}}, "99999"),
])
def test_impossible_settings_are_named(model, settings, text):
    with pytest.raises(hypenet.Error) as caught:
        model.generate(PROMPTS[0], **settings)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("prompts", "settings", "text"), [
    (7, {}, "prompts: expected text, token ids or a list of them, found int 7"),
    (None, {}, "prompts: expected text, token ids or a list of them, found NoneType"),
    ({"a": 1}, {}, "found dict"),
    ([1.5], {}, "prompts: expected token ids, found float 1.5"),
    (["a", 3], {}, "prompts: expected token ids, found int 3"),
    ([True], {}, "found bool True"),
    (b"a", {}, "found bytes"),
    ("a", {"max_tokens": "x"}, "max_tokens: expected an integer, found str"),
    ("a", {"stop": 5}, "stop: expected text or a list of texts, found int 5"),
    ("a", {"stop": [5]}, "stop: expected text, found int 5"),
    ("a", {"seed": 1.5}, "seed: expected an integer, found float 1.5"),
    ("a", {"logit_bias": [1]}, "logit_bias: expected a dict"),
    ("a", {"tempature": 1}, "tempature"),
])
def test_wrong_types_are_named(model, prompts, settings, text):
    with pytest.raises(TypeError) as caught:
        model.generate(prompts, **settings)
    assert text in str(caught.value)


def test_wrong_values_are_named(model):
    for prompts, settings, text in [("\ud800", {}, "surrogate"), ([2**40], {}, "below 2147483648"),
                                    ("a", {"seed": -1}, "seed: expected 0 or more, found -1")]:
        with pytest.raises(ValueError, match=text):
            model.generate(prompts, **settings)


def test_prompts_that_are_none_are_refused(model):
    for prompts in ["", [""], [[]]]:
        with pytest.raises(hypenet.Error, match="prompt: expected at least one token, found none"):
            model.generate(prompts)
    with pytest.raises(hypenet.Error, match="99999"):
        model.generate([1, 99999])
    assert model.generate(PROMPTS[0], max_tokens=2).ids, "the others go on"


def test_a_prompt_beyond_the_context_is_refused():
    from conftest import TEACHER

    with hypenet.load(TEACHER, context=64) as small:
        with pytest.raises(hypenet.Error, match="expected at most 63 tokens"):
            small.generate([5] * 64)
        answer = small.generate([5] * 60, max_tokens=100, ignore_eos=True)
        assert (len(answer.ids), answer.finish_reason) == (4, "length")
