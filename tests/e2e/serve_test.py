"""hypenet serve under load, as a program: 64 clients, hang-ups, a session over a kill, the official clients.

    tests/e2e/serve_test.py PROGRAM MODEL [--seconds 20]
"""
import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from served import Server

HERE = Path(__file__).resolve().parent
CLIENTS = HERE.parent.parent / ".venv/tests/bin/python"  # scripts/setup --tests
SMALL = ("--tool-format", "hermes", "--slots", "16", "--memory", "256M", "--context", "8192")


def hang_up(port, seed):
    """Sends a request and leaves: at once, in the midst of the body, or after some events."""
    chance = random.Random(seed)
    body = json.dumps({"prompt": "The sun " * chance.randint(1, 200), "max_tokens": 200, "stream": True})
    request = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(request[:chance.choice([len(request), len(request), len(request) // 2, 20])])
        client.settimeout(chance.random() * 0.5 + 0.01)
        try:
            client.recv(1024)
        except TimeoutError:
            pass


def check_load(server, program, seconds):
    """A load test beside hang-ups: nothing fails, nothing is lost, and the counts agree."""
    ends = time.monotonic() + seconds
    leavers = threading.Thread(target=lambda: [hang_up(server.port, i) for i in range(10**6) if time.monotonic() < ends
                                               or sys.exit()])
    leavers.start()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bench.json"
        bench = subprocess.Popen(
            [program, "bench", "serve", f"http://127.0.0.1:{server.port}", "--clients", "64", "--requests", str(16 * seconds),
             "--prompt-tokens", "16:256", "--answer-tokens", "4:32", "--shared-prefix", "128", "--json", str(out)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while bench.poll() is None:
            began = time.monotonic()
            assert server.ask("GET", "/health")[0] == 200
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.1)
        text = bench.stdout.read()
        assert bench.returncode == 0, text
        figures = json.loads(out.read_text())
    leavers.join()
    print(text)
    print(f"slowest /health: {1e3 * slowest:.1f} ms")
    assert figures["failed"] == 0 if "failed" in figures else figures["completed"] == 16 * seconds, figures
    server.wait_until_idle()
    computed, hits = server.metric("prompt_tokens_computed_total"), server.metric("prefix_cache_hits_total")
    assert server.metric("prompt_tokens_total") == computed + hits and hits > 0


def check_same_answer(server):
    """Alone, among others, and with others that leave: the same tokens and log-probabilities."""
    asked = {"prompt": "The sun and the moon", "tokens": 40, "logprobs": 3}
    alone = server.complete(**asked)["choices"][0]
    others = [threading.Thread(target=server.complete, args=(f"Once {i} upon a time " * (i + 1), 60)) for i in range(12)]
    leavers = [threading.Thread(target=hang_up, args=(server.port, i)) for i in range(6)]
    for other in others + leavers:
        other.start()
    among = server.complete(**asked)["choices"][0]
    for other in others + leavers:
        other.join()
    assert among == alone, f"expected {alone}, found {among}"


def check_session(program, model):
    """Save, SIGKILL, start, restore: the same continuation, without reading it again."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--session-dir", folder)
        prompt = "The sun went down behind the hills. " * 60
        first = Server(program, model, *SMALL, *options)
        expected = first.complete(prompt, 24)["choices"][0]["text"]
        status, text = first.ask("POST", "/v1/sessions/hills/save", {"prompt": prompt})
        assert status == 200, text
        first.kill()
        second = Server(program, model, *SMALL, *options)
        status, text = second.ask("POST", "/v1/sessions/hills/restore")
        assert status == 200, text
        answer = second.complete(prompt, 24)
        assert answer["choices"][0]["text"] == expected
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] > 0, answer["usage"]
        assert not [name for name in os.listdir(folder) if "partial" in name]
        second.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    server = Server(options.program, options.model, *SMALL)
    check_same_answer(server)
    check_load(server, options.program, options.seconds)
    python = CLIENTS if CLIENTS.exists() else sys.executable
    subprocess.run([python, HERE / "clients_test.py", f"http://127.0.0.1:{server.port}"], check=True, timeout=300)
    server.stop()
    check_session(options.program, options.model)
    print("passed")


if __name__ == "__main__":
    main()
