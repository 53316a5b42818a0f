#!/usr/bin/env python3
# Speed of llama.cpp on a CPU, and with --ours of this program on the same GGUF file, in turn. Needs llama-cpp-python:
#   llama_cpp_bench.py MODEL.gguf [--type as-is|bf16|f16] [--threads N] [--repeat N] [--json]
#   llama_cpp_bench.py MODEL.gguf --ours build/hypenet [--pairs 3]
# The first times llama.cpp alone, with --type of a file rewritten in that type for the run. The second runs pairs of
# both, each in processes of its own: decode of one sequence and of eight side by side, a prompt of 512 tokens, and of
# ours the first token after the start, the memory with 4,000 tokens, and the floor by a read test of the same run.
import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMPT, TOKENS, CONTEXT, PREFILL, ROWS = 32, 64, 1024, 512, 8
MEMORY_TOKENS = 4000


def physical_cores() -> int:
    """Cores of the affinity mask, hyperthreads counted once."""
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    cores = set()
    for cpu in os.sched_getaffinity(0):
        path = Path(topology.format(cpu))
        cores.add(path.read_text() if path.exists() else str(cpu))
    return len(cores)


class LlamaCpp:
    """A context of eight sequences."""

    def __init__(self, path: Path, threads: int):
        import llama_cpp  # only here: the process that runs pairs stays small

        self.lib = llama_cpp
        self.silent = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.silent, None)
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = CONTEXT, PREFILL, PREFILL, ROWS
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        self.context = llama_cpp.llama_init_from_model(self.model, params)

    def clear(self) -> None:
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def decode(self, tokens: list[int], positions: list[int], sequences: list[int]) -> None:
        """Rows of tokens; the last of each sequence has logits."""
        batch = self.lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence) in enumerate(zip(tokens, positions, sequences)):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, position, 1, sequence
            batch.logits[i] = i + 1 == len(tokens) or sequences[i + 1] != sequence
        status = self.lib.llama_decode(self.context, batch)
        self.lib.llama_get_logits(self.context)
        self.lib.llama_batch_free(batch)
        if status != 0:
            raise SystemExit("llama_decode failed")

    def prefill_rate(self) -> float:
        self.clear()
        started = time.perf_counter()
        self.decode(list(range(100, 100 + PREFILL)), list(range(PREFILL)), [0] * PREFILL)
        return PREFILL / (time.perf_counter() - started)

    def decode_rate(self, rows: int) -> float:
        """Tokens a second of so many sequences side by side; greedy choice for one of them."""
        self.clear()
        for row in range(rows):
            self.decode(list(range(100, 100 + PROMPT)), list(range(PROMPT)), [row] * PROMPT)
        greedy = self.lib.llama_sampler_init_greedy()
        token, sequences = 100, list(range(rows))
        started = time.perf_counter()
        for step in range(TOKENS):
            self.decode([token] * rows, [PROMPT + step] * rows, sequences)
            token = self.lib.llama_sampler_sample(greedy, self.context, -1)
        return rows * TOKENS / (time.perf_counter() - started)

    def measure(self) -> dict:
        return {"decode": self.decode_rate(1), "decode_8": self.decode_rate(ROWS), "prefill_512": self.prefill_rate()}


def rewritten(model: Path, kind: str, folder: str) -> Path:
    """The same model with every matrix in `kind`, the tied head among them."""
    import llama_cpp

    types = {"bf16": (llama_cpp.LLAMA_FTYPE_MOSTLY_BF16, 30), "f16": (llama_cpp.LLAMA_FTYPE_MOSTLY_F16, 1)}
    target = Path(folder) / f"{kind}.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.token_embedding_type = types[kind]  # and ggml's type
    params.output_tensor_type = params.token_embedding_type
    params.allow_requantize = True
    if llama_cpp.llama_model_quantize(str(model).encode(), str(target).encode(), ctypes.byref(params)) != 0:
        raise SystemExit(f"{model}: llama.cpp could not write it as {kind}")
    return target


def run_llama_cpp(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = options.model if options.type == "as-is" else rewritten(options.model, options.type, folder)
        llama = LlamaCpp(path, options.threads)
        llama.measure()  # untimed
        runs = [llama.measure() for _ in range(options.repeat)]
    result = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    if options.json:
        print(json.dumps(result))
        return
    print(f"llama-cpp-python {llama.lib.__version__}, {path.name} as {options.type}, {options.threads} threads:"
          f" decode {result['decode']:.1f} tokens/s, {ROWS} side by side {result['decode_8']:.1f},"
          f" prefill of {PREFILL} {result['prefill_512']:.0f}")


def run_ours(options: argparse.Namespace) -> dict:
    """Tokens a second as above, of the floor by bytes too; seconds to the first token; MB beyond the file's."""
    threads = ["--threads", str(options.threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}

    def bench(kind: str, *flags: str) -> dict:
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            command = [options.ours, "bench", kind, "--shape", str(options.model), "--device", "cpu", *threads,
                       *flags, "--json", out.name]
            subprocess.run(command, check=True, capture_output=True, env=environment)
            return json.loads(Path(out.name).read_text())[0]

    def generate(*flags: str) -> tuple[float, float]:
        """Seconds of a process that says one token, and MB that it had resident at most."""
        command = [options.ours, "generate", str(options.model), "--tokens", "1", "--temperature", "0",
                   *threads, *flags]
        started = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        if status != 0:
            raise SystemExit(f"{' '.join(command)}: failed")
        return time.perf_counter() - started, usage.ru_maxrss * 1024 / 1e6

    context = str(PROMPT + TOKENS // 2)
    one = bench("decode", "--context", context, "--steps", str(TOKENS))
    eight = bench("decode", "--context", context, "--steps", str(TOKENS), "--batch", str(ROWS))
    prefill = bench("prefill", "--context", str(PREFILL))
    first, _ = generate("--prompt", "The")
    with tempfile.NamedTemporaryFile(suffix=".txt", mode="w") as prompt:
        prompt.write("one two three four " * (MEMORY_TOKENS // 4)), prompt.flush()
        _, memory = generate("--prompt-file", prompt.name)
    return {"decode": 1e3 / one["ms"], "decode_8": ROWS * 1e3 / eight["ms"],
            "prefill_512": PREFILL * 1e3 / prefill["ms"], "floor_share": one["floor_ms"] / one["ms"],
            "first_token_s": first, "memory_mb_beyond_file": memory - options.model.stat().st_size / 1e6}


def run_pairs(options: argparse.Namespace) -> None:
    this = [sys.executable, __file__, str(options.model), "--json", "--repeat", "1", "--threads", str(options.threads)]
    pairs = []
    for _ in range(options.pairs):
        ours = run_ours(options)
        theirs = json.loads(subprocess.run(this, check=True, capture_output=True, text=True).stdout)
        pairs.append((ours, theirs))
    size = options.model.stat().st_size / 1e6
    print(f"{options.model.name}, {size:.1f} MB, {options.threads} threads, {options.pairs} pairs")
    for key in ("decode", "decode_8", "prefill_512"):
        rows = [f"{ours[key]:.1f} / {theirs[key]:.1f} = {ours[key] / theirs[key]:.2f}" for ours, theirs in pairs]
        print(f"{key} tokens/s, ours / llama.cpp: " + "; ".join(rows))
    for key in ("floor_share", "first_token_s", "memory_mb_beyond_file"):
        print(f"{key}: " + "; ".join(f"{ours[key]:.2f}" for ours, _ in pairs))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--type", choices=["as-is", "bf16", "f16"], default="as-is")
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ours", metavar="PROGRAM")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    run_pairs(options) if options.ours else run_llama_cpp(options)


if __name__ == "__main__":
    main()
