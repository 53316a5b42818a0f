"""hypenet serve as a process of a test or a measurement, and questions to it."""
import atexit
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path


class Server:
    """The program on a free port, until `stop` or `kill`."""

    def __init__(self, program, model, *options, threads=1):
        self.process = subprocess.Popen(
            [program, "serve", model, "--template", "none", "--port", "0", "--allow-cache-clear", "--threads", str(threads), *options],
            stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
        atexit.register(self.kill)
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found.group(1))
                break
        else:
            raise AssertionError(f"expected a server that listens, found: {''.join(self.lines)}")
        threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True).start()

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def complete(self, prompt, tokens, **settings):
        status, text = self.ask("POST", "/v1/completions",
                                {"prompt": prompt, "max_tokens": tokens, "temperature": 0, **settings})
        assert status == 200, f"expected 200, found {status}: {text}"
        return json.loads(text)

    def metric(self, name):
        found = re.search(rf"^hypenet_{name}{{[^}}]*}} (\S+)$", self.ask("GET", "/metrics")[1], re.MULTILINE)
        return float(found.group(1))

    def resident_bytes(self):
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def wait_until_idle(self):
        for _ in range(500):
            if all(self.metric(name) == 0 for name in ("num_requests_running", "num_requests_waiting", "state_slots_used")):
                return
            time.sleep(0.02)
        raise AssertionError("expected an idle server, found slots in use")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        assert code == 0, f"expected exit code 0 after SIGTERM, found {code}"

    def kill(self):
        self.process.kill()
        self.process.wait()
