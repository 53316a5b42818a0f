#!/usr/bin/env python3
"""A server that answers like hypenet serve without a model: the web page's tests drive it by words in the question.

    tests/e2e/mock_server.py --page src/serve/page/index.html --generated build-cpu/page.cpp [--port 8080]

think, tool, markdown, image, slow, long, error, cut, refuse, busy, json: see `reply_to`. All else is said back.
"""
import argparse
import json
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONTEXT = 32768
DEFAULTS = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0, "presence_penalty": 0, "frequency_penalty": 0,
            "repetition_penalty": 1}
MARKDOWN = """\
## Why the state is small

A *linear* layer keeps **one matrix a head**, whatever was read. An attention layer keeps a key and a value for every \
token, so its memory grows with the text:

| layer | memory a token | after 100,000 tokens |
|:--|--:|--:|
| attention | 4,096 bytes | 410 MB |
| linear | none | 1.0 MB |

1. Read the prompt in pieces.
2. After each piece, keep a copy of the states:
   - on the device, when there is room;
   - in host memory otherwise.
3. Go on from the last copy when the text comes again.

```python
def step(state, key, value, decay):
    # One token: the old state fades, the new pair is added.
    return decay * state + key[:, None] * value[None, :]
```

> What is reused gives the same bits as what is read again.

See [the documentation](https://example.org/hybrids) for `--reuse exact`.
"""


def words_of(text):
    return re.findall(r"\s*\S+\s*?|\s+", text) or [text]


def reply_to(question):
    """What an answer is made of: reasoning, pieces of text, tool call, seconds a piece."""
    low = question.lower()
    reply = {"reasoning": "", "text": f"You said: {question}", "call": None, "wait": 0.01, "progress": "long" in low}
    if "think" in low:
        reply["reasoning"] = "The question is short. A short answer will do."
    if "tool" in low:
        reply.update(text="", call=("get_weather", '{"city": "Bern", "days": 2}'))
    if "markdown" in low:
        reply["text"] = MARKDOWN
    if "image" in low:
        reply["text"] = ('<img src="x" onerror="window.harmed = true"> <script>window.harmed = true</script>\n\n'
                         "[press](javascript:window.harmed=true) ![picture](https://example.org/a.png)\n\n"
                         "<b onclick=\"window.harmed = true\">bold</b>")
    if "slow" in low:
        reply.update(text="".join(f"Sentence {i} of a slow answer. " for i in range(400)), wait=0.03)
    if "json" in low:
        reply["text"] = '{"answer": 42}'
    if "hebrew" in low:
        reply["text"] = "שלום עולם, זו תשובה."
    return reply


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def send_whole(self, status, body, kind="application/json", **headers):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def send_error_object(self, status, message, code=None, **headers):
        self.send_whole(status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}},
                        **headers)

    def admitted(self):
        key = self.server.key
        if not key or self.headers.get("Authorization") == f"Bearer {key}":
            return True
        self.send_error_object(401, "expected a key in Authorization", "invalid_api_key")
        return False

    def do_GET(self):
        mock = self.server
        if self.path in ("/", "/index.html"):
            headers = {"Content_Security_Policy": mock.policy, "X_Content_Type_Options": "nosniff"}
            return self.send_whole(200, mock.page, "text/html; charset=utf-8", **headers)
        if not self.admitted():
            return None
        if self.path == "/v1/models":
            return self.send_whole(200, {"object": "list", "data": [{"id": "hypenet-2b", "object": "model", "created": 1,
                                                                   "owned_by": "hypenet", "max_model_len": CONTEXT}]})
        if self.path == "/v1/status":
            return self.send_whole(200, mock.status())
        if self.path == "/v1/sessions":
            return self.send_whole(200, {"object": "list", "data": list(mock.sessions.values())})
        return self.send_error_object(404, f"no {self.path} here", "unknown_url")

    def do_DELETE(self):
        if self.admitted():
            name = self.path.rsplit("/", 1)[1]
            found = self.server.sessions.pop(name, None)
            self.send_whole(200 if found else 404, {"name": name, "deleted": bool(found)})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.admitted():
            return None
        mock = self.server
        mock.requests.append((self.path, body))
        if self.path == "/v1/chat/completions":
            return self.answer(body)
        if self.path == "/apply-template":
            text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in body["messages"])
            return self.send_whole(200, {"prompt": text, "tokens_count": len(words_of(text))})
        match = re.fullmatch(r"/v1/sessions/([^/]+)/(save|restore)", self.path)
        if match and match[2] == "save":
            tokens = sum(len(words_of(m["content"] or "")) for m in body["messages"])
            mock.sessions[match[1]] = {"name": match[1], "tokens": tokens, "bytes": 22_000_000, "created": 1, "fits": True}
            return self.send_whole(200, {"name": match[1], "tokens": tokens, "saved_tokens": tokens, "snapshots": 2,
                                         "bytes": 22_000_000, "seconds": 0.1})
        if match and match[1] in mock.sessions:
            tokens = mock.sessions[match[1]]["tokens"]
            return self.send_whole(200, {"name": match[1], "tokens": tokens, "restored_tokens": tokens, "tier": "host",
                                         "seconds": 0.1})
        return self.send_error_object(404, f"no {self.path} here", "session_not_found")

    def answer(self, body):
        question = next(m["content"] for m in reversed(body["messages"]) if m["role"] in ("user", "tool"))
        low = question.lower()
        if "refuse" in low:
            return self.send_error_object(400, "temperature: expected 0 to 2, found 9", "invalid_value")
        if "busy" in low:
            return self.send_error_object(429, "the queue is full", "queue_full", Retry_After="7")
        self.send_response(200)
        for name, value in {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "Transfer-Encoding": "chunked",
                            "x-request-id": "mock-1", "x-ignored-params": ""}.items():
            self.send_header(name, value)
        self.end_headers()
        with self.server.counted():
            try:
                self.stream(body, reply_to(question), low)
            except (BrokenPipeError, ConnectionResetError):
                self.server.hangups += 1
                self.close_connection = True

    def write_text(self, text):
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def event(self, choices, **more):
        chunk = {"id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 1, "model": "hypenet-2b",
                 "system_fingerprint": "hn-0123456789ab", "choices": choices, "usage": None, **more}
        self.write_text(f"data: {json.dumps(chunk)}\n\n")

    def delta(self, finish=None, **delta):
        self.event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])

    def stream(self, body, reply, low):
        began = time.monotonic()
        prompt = sum(len(words_of(m["content"] or "")) for m in body["messages"])
        cached = self.server.reused(body["messages"])
        self.write_text(":\n\n")
        if reply["progress"]:
            for done in range(0, 20001, 2500):
                self.event([], prompt_progress={"processed": done, "cached": 0, "total": 20000, "ms": done / 10})
                time.sleep(0.15)
        self.delta(role="assistant", content="")
        tokens = 0
        for piece in words_of(reply["reasoning"]) if reply["reasoning"] else []:
            self.delta(reasoning_content=piece)
            tokens += 1
            time.sleep(reply["wait"])
        text = reply["text"]
        if body.get("continue_final_message"):
            text, low = " And so it went on to its end.", ""
        limit = body.get("max_tokens", 1 << 30)
        for piece in words_of(text) if text else []:
            if tokens >= limit:
                break
            self.delta(content=piece)
            tokens += 1
            time.sleep(reply["wait"])
            if "error" in low and tokens == 4:
                self.write_text('data: {"error": {"message": "logits are not finite", "type": "server_error", '
                                '"param": null, "code": "model_error"}}\n\n')
                self.wfile.write(b"0\r\n\r\n")
                return
            if "cut" in low and tokens == 4:
                time.sleep(1)  # a browser forgets what it has not read when a connection breaks
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
        if reply["call"]:
            name, arguments = reply["call"]
            self.delta(tool_calls=[{"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}])
            for part in (arguments[:9], arguments[9:]):
                self.delta(tool_calls=[{"index": 0, "function": {"arguments": part}}])
        self.delta("length" if tokens >= limit else "tool_calls" if reply["call"] else "stop")
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens,
                 "prompt_tokens_details": {"cached_tokens": cached},
                 "completion_tokens_details": {"reasoning_tokens": len(words_of(reply["reasoning"])) if reply["reasoning"] else 0}}
        timings = {"queue_ms": 0.4, "prompt_ms": 38.0, "prompt_per_second": 9100.0, "first_token_ms": 41.5,
                   "decode_ms": 1000 * (time.monotonic() - began), "decode_per_second": 86.4, "reused_tokens": cached,
                   "reuse_tier": "gpu" if cached else "none", "reuse_mode": "exact", "snapshot_position": cached}
        self.event([], usage=usage, timings=timings, seed=body.get("seed", 1234))
        self.write_text("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")


class MockServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, page, policy, port=0, key=""):
        super().__init__(("127.0.0.1", port), Handler)
        self.connections = set()
        self.page, self.policy, self.key = page, policy, key
        self.requests, self.sessions, self.hangups = [], {}, 0
        self.running, self.lock, self.seen = 0, threading.Lock(), set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def start(self):
        """Serves on a thread; after stop() on the same port again."""
        if self.socket.fileno() < 0:
            self.socket = socket.socket(self.address_family, self.socket_type)
            self.server_bind()
            self.server_activate()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        """As if the process had ended: open connections end too."""
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # ended already

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that left
            super().handle_error(request, client_address)

    def get_request(self):
        connection, address = super().get_request()
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def counted(self):
        return Counted(self)

    def reused(self, messages):
        """Words of the longest beginning of this conversation that an earlier one had."""
        best, words = 0, 0
        for end in range(1, len(messages) + 1):
            words += len(words_of(messages[end - 1]["content"] or ""))
            prefix = json.dumps(messages[:end])
            if end < len(messages) and prefix in self.seen:
                best = words
            self.seen.add(prefix)
        return best

    def status(self):
        entry = {"id": "chatcmpl-mock", "prompt_tokens": 12, "answer_tokens": 3, "age_ms": 10}
        return {"model": "hypenet-2b", "version": "0.1.0", "fingerprint": "hn-0123456789ab", "sessions": True, "defaults": DEFAULTS,
                "reuse": {"mode": "exact", "chunk": 2048, "grid_min": 1024}, "running": [entry] * self.running, "waiting": [],
                "memory": {"gpu": {"kv_bytes": 1_840_000_000, "snapshot_bytes": 440_000_000, "state_bytes": 704_000_000,
                                   "budget_bytes": 24_000_000_000, "snapshots": 20},
                           "host": {"kv_bytes": 310_000_000, "snapshot_bytes": 88_000_000, "budget_bytes": 32_000_000_000,
                                    "snapshots": 4}},
                "requests": []}


class Counted:
    """One answer under way, in the count of the status."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        with self.server.lock:
            self.server.running += 1

    def __exit__(self, *_):
        with self.server.lock:
            self.server.running -= 1


def generated_policy(file):
    """The policy in the source that cmake/EmbedPage.cmake wrote: what hypenet serve sends."""
    return re.search(r'page_policy\(\) \{\s*return R"page\((.*?)\)page"', Path(file).read_text(encoding="utf-8"), re.DOTALL)[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--page", required=True)
    parser.add_argument("--generated", required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--key", default="")
    arguments = parser.parse_args()
    page = Path(arguments.page).read_text(encoding="utf-8")
    server = MockServer(page, generated_policy(arguments.generated), arguments.port, arguments.key)
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
