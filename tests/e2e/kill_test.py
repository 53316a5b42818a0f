"""hypenet serve killed while it saves: a session, and the kept prompts of --cache-dir at its end. After each the old or the
new is there whole, nothing half-written is left, and the server starts and answers as before. Twenty moments of each save
alone are in tests/serve/killed_save_test.cpp.

    tests/e2e/kill_test.py PROGRAM MODEL [--moments 8]
"""
import argparse
import json
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

from serve_test import Server

PROMPT = "The sun went down behind the hills. " * 60


def partials(folder):
    return [path for path in Path(folder).rglob("*") if "partial" in path.name]


def saved_tokens(server, name):
    """What the list says that a session holds; None: there is none."""
    status, text = server.ask("GET", f"/v1/sessions/{name}")
    return json.loads(text)["saved_tokens"] if status == 200 else None


def save(server, name, prompt):
    try:
        return server.ask("POST", f"/v1/sessions/{name}/save", {"prompt": prompt})[0]
    except OSError:
        return None  # it was killed


def kill_while(server, work, after):
    """Kills the server so many seconds after `work` began."""
    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(after)
    server.kill()
    thread.join()


def check_answer(server, expected):
    answer = server.complete(PROMPT, 24)
    assert answer["choices"][0]["text"] == expected, f"expected {expected!r}, found {answer['choices'][0]['text']!r}"
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--moments", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folders = ("--session-dir", f"{folder}/sessions", "--cache-dir", f"{folder}/kept", "--context", "4096")
        server = Server(options.program, options.model, *folders)
        expected = server.complete(PROMPT, 24)["choices"][0]["text"]
        began = time.monotonic()
        assert save(server, "s", PROMPT) == 200
        seconds = time.monotonic() - began
        whole = saved_tokens(server, "s")
        began = time.monotonic()
        server.stop()
        to_end = time.monotonic() - began
        server = Server(options.program, options.model, *folders)
        assert check_answer(server, expected) > 0, "expected kept prompts after SIGTERM, found none"
        reused = []
        for moment in range(options.moments):
            share = (moment // 2 + 1) / (options.moments / 2)
            if moment % 2 == 0:  # a session that is saved anew
                kill_while(server, lambda: save(server, "s", PROMPT), share * seconds)
            else:  # kept prompts that are written at the end
                shutil.rmtree(f"{folder}/kept")
                kill_while(server, lambda: server.process.send_signal(signal.SIGTERM), share * to_end)
            server = Server(options.program, options.model, *folders)
            assert not partials(folder), partials(folder)
            assert saved_tokens(server, "s") == whole
            reused.append(check_answer(server, expected))
        status, text = server.ask("POST", "/v1/sessions/s/restore")
        assert status == 200, text
        server.stop()
        print(f"a save takes {1e3 * seconds:.0f} ms; reused after each kill: {reused}")
    print("passed")


if __name__ == "__main__":
    main()
