"""What a model outlives and what not: close, forks, Ctrl-C, asyncio, the interpreter's end."""
import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import TEACHER

import hypenet

LONG = {"max_tokens": 20_000, "ignore_eos": True}


def test_a_closed_model_says_so(model):
    other = hypenet.load(TEACHER)
    assert "4,096" not in repr(other) and "parameters" in repr(other)
    other.close()
    other.close()
    assert other.is_closed and "closed" in repr(other)
    for call in [lambda: other.generate("a"), lambda: other.logits([1]), lambda: other.score([("a", " b")]),
                 lambda: hypenet.evaluate(other, "piqa"), lambda: other.chat("a")]:
        with pytest.raises(hypenet.Error):
            call()
    assert not model.is_closed, "another model goes on"
    assert other.tokenizer.encode("a"), "its tokenizer, too"


def test_closing_ends_what_runs():
    other = hypenet.load(TEACHER)
    stream = other.generate("The sun", stream=True, **LONG)
    next(stream)
    failures = []

    def wait():
        try:
            other.generate("The moon", **LONG)
        except hypenet.Error as error:
            failures.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    other.close()
    thread.join(10)
    assert failures == ["model: closed before its answer ended"]
    with pytest.raises(hypenet.Error, match="closed"):
        list(stream)


def test_two_models_answer_side_by_side(model):
    with hypenet.load(TEACHER, dtype="float32") as other:
        streams = [opened.generate("The sun", max_tokens=20, stream=True) for opened in (model, other)]
        answers = [stream.collect()[0] for stream in streams]
    assert answers[0] == answers[1]


def interrupt_soon(seconds):
    thread = threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGINT))
    thread.start()
    return thread


def test_ctrl_c_ends_an_answer(model):
    for call in [lambda: model.generate("The sun", **LONG), lambda: list(model.generate("a", stream=True, **LONG))]:
        timer, start = interrupt_soon(0.2), time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            call()
        timer.join()
        assert time.monotonic() - start < 5
    assert model.generate("The sun", max_tokens=3).ids


def test_ctrl_c_ends_scoring(model):
    rows = [([1], [2 + i % 7] * 200) for i in range(4000)]
    timer = interrupt_soon(0.3)
    with pytest.raises(KeyboardInterrupt):
        model.score(rows)
    timer.join()
    assert model.generate("The sun", max_tokens=3).ids


def test_ctrl_c_ends_logits_at_the_next_layer(model):
    ids, whole = [5] * 4096, []
    for _ in range(3):  # the first allocates
        start = time.monotonic()
        model.logits(ids)
        whole.append(time.monotonic() - start)
    timer, start = interrupt_soon(min(whole) / 10), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        model.logits(ids)
    assert time.monotonic() - start < min(whole) * 0.6
    timer.join()
    assert model.generate("The sun", max_tokens=3).ids


def test_a_fork_is_told_to_load_its_own(model):
    model.generate("The sun", max_tokens=2)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            model.generate("The sun", max_tokens=2)
            text = "no error"
        except hypenet.Error as error:
            text = str(error)
        os.write(writer, f"{text}|{model.is_closed}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text, closed = pipe.read().split("|")
    assert os.waitpid(child, 0)[1] == 0
    assert "load the model in each process" in text and closed == "True"
    assert model.generate("The sun", max_tokens=2).ids


def test_a_fork_is_told_that_a_stream_is_not_its_own(model):
    stream = model.generate("The sun", max_tokens=4, stream=True)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            next(stream)
            os._exit(1)
        except hypenet.Error as error:
            os._exit(0 if "load the model in each process" in str(error) else 2)
    assert os.waitpid(child, 0)[1] == 0
    assert stream.collect()[0].ids


def test_a_fork_of_a_process_that_computed_loads_nothing(model):
    """Its threads of arithmetic are gone: it would wait for ever. Spawned processes are fine."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            hypenet.load(TEACHER)
            os._exit(1)
        except hypenet.Error as error:
            os._exit(0 if "start processes by spawn" in str(error) else 2)
    assert os.waitpid(child, 0)[1] == 0


def test_a_stream_is_one_tasks(model):
    async def run():
        stream = model.agenerate("The sun", stream=True, max_tokens=200, ignore_eos=True)
        first = asyncio.ensure_future(stream.collect())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task waits for it"):
            await stream.collect()
        return await first

    assert asyncio.run(run())[0].ids


def test_two_threads_may_close_a_model():
    other = hypenet.load(TEACHER)
    rows = [([1], [2 + i % 7] * 200) for i in range(4000)]
    failures = []

    def score():
        try:
            other.score(rows)
        except hypenet.Error as error:
            failures.append(str(error))

    threads = [threading.Thread(target=score)]
    threads[0].start()
    time.sleep(0.1)
    threads += [threading.Thread(target=other.close) for _ in range(2)]
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert failures == ["model: closed"]


def test_closing_a_stream_ends_whoever_waits_for_it(model):
    stream = model.generate("The sun", stream=True, **LONG)
    pieces = []
    thread = threading.Thread(target=lambda: pieces.extend(stream))
    thread.start()
    time.sleep(0.1)
    stream.close()
    thread.join(5)
    assert not thread.is_alive() and pieces

    async def run():
        stream = model.agenerate("The sun", stream=True, **LONG)

        async def read():
            return [piece async for piece in stream]

        task = asyncio.ensure_future(read())
        await asyncio.sleep(0.1)
        await stream.aclose()
        return await asyncio.wait_for(task, 5)

    assert asyncio.run(run())


def test_a_model_is_not_pickled(model):
    with pytest.raises(TypeError, match="load it in each process"):
        pickle.dumps(model)


def test_asyncio_runs_answers_side_by_side(model):
    expected = model.generate(["The sun", "Water is"], max_tokens=16)

    async def run():
        alone = await model.agenerate("The sun", max_tokens=16)
        both = await asyncio.gather(*(model.agenerate(prompt, max_tokens=16) for prompt in ("The sun", "Water is")))
        text = ""
        async for piece in model.agenerate("The sun", max_tokens=16, stream=True):
            text += piece.text
        listed = await model.agenerate(["The sun", "Water is"], max_tokens=16)
        return alone, both, text, listed

    alone, both, text, listed = asyncio.run(run())
    assert alone == expected[0] and both == expected == listed and text == expected[0].text


def test_a_cancelled_task_ends_its_answer(model):
    async def run():
        for call in [lambda: model.agenerate("The sun", **LONG), lambda: read(model.agenerate("a", stream=True, **LONG))]:
            task = asyncio.ensure_future(call())
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(model.agenerate("The sun", **LONG), 0.1)
        with pytest.raises(hypenet.Error, match="max_tokens"):
            await model.agenerate("a", max_tokens=0)

    async def read(stream):
        async for _ in stream:
            pass

    files = len(os.listdir("/proc/self/fd"))
    asyncio.run(run())
    assert len(os.listdir("/proc/self/fd")) == files
    assert model.generate("The sun", max_tokens=3).ids


def test_the_interpreter_may_end_while_answers_run():
    code = (f"import hypenet\nmodel = hypenet.load({str(TEACHER)!r})\n"
            "stream = model.generate('The sun', max_tokens=20000, ignore_eos=True, stream=True)\nprint(next(stream).text)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
