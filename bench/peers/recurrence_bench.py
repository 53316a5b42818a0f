"""Recurrences with a decay that depends on the token: our kernels beside FLA's, on the same card in one run.

    python bench/peers/recurrence_bench.py build/hypenet-cuda [--ops gdn kda simple_gla rwkv7] [--warm]

Needs a GPU, torch, and flash-linear-attention 0.6.0 with Triton 3.7.1 or newer: with older ones it refuses the
backwards of gated kernels on Hopper (its issue 640), which are then left out. Each call is recorded as a CUDA graph;
the time is the median of triton's do_bench, which flushes the L2 cache before every call. Ours are the times of
`bench kernels`, whose inputs go round sets that the L2 cannot hold. An op's first call compiles for minutes:
processes with --warm, one for each op, fill Triton's cache side by side first.
"""
import argparse
import json
import subprocess
import tempfile

import torch
import triton
from fla.ops.gated_delta_rule import chunk_gated_delta_rule
from fla.ops.kda import chunk_kda
from fla.ops.rwkv7 import chunk_rwkv7
from fla.ops.simple_gla import chunk_simple_gla
from triton.testing import do_bench

SHAPES = ((32, 512), (8, 4096), (2, 16384), (1, 131072))
RWKV_LONGEST_DECAY = 0.606  # nats a token: e^-0.5


def randn(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def unit(*shape):
    return torch.nn.functional.normalize(randn(*shape).float(), dim=-1).bfloat16()


def decay(*shape):
    return -torch.rand(*shape, device="cuda")


def gdn(B, T, H, d):
    return [unit(B, T, H, d), unit(B, T, H, d), randn(B, T, H, d), decay(B, T, H), -decay(B, T, H)], chunk_gated_delta_rule


def kda(B, T, H, d):
    return [unit(B, T, H, d), unit(B, T, H, d), randn(B, T, H, d), decay(B, T, H, d), -decay(B, T, H)], chunk_kda


def simple_gla(B, T, H, d):
    return [randn(B, T, H, d), randn(B, T, H, d), randn(B, T, H, d), decay(B, T, H)], chunk_simple_gla


def rwkv7(B, T, H, d):
    kappa, rate = unit(B, T, H, d), torch.rand(B, T, H, d, device="cuda").bfloat16()
    w = (RWKV_LONGEST_DECAY * decay(B, T, H, d)).bfloat16()
    return [randn(B, T, H, d), w, randn(B, T, H, d), randn(B, T, H, d), -kappa, kappa * rate], chunk_rwkv7


# FLA's op, H, d, and what `bench kernels` calls the same.
OPS = {"gdn": (gdn, 16, 128, "delta rule, token decay"), "kda": (kda, 16, 128, "delta rule, channel decay"),
       "simple_gla": (simple_gla, 16, 128, "recurrence, token decay"), "rwkv7": (rwkv7, 32, 64, "DPLR recurrence")}


def call(op, B, T, both):
    """A function that runs FLA's op forward, or with its backward."""
    make, H, d, _ = OPS[op]
    tensors, chunk = make(B, T, H, d)
    leaves = [x.requires_grad_(both) for x in tensors]
    upstream = torch.randn_like(leaves[2])

    def run():
        with torch.set_grad_enabled(both):
            output = chunk(*leaves)[0]
            if both:
                torch.autograd.grad(output, leaves, upstream)

    return run


def timed(run):
    """Milliseconds, or None where FLA refuses."""
    stream = torch.cuda.Stream()
    try:
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        torch.cuda.synchronize()
        print(f"refused: {str(error).splitlines()[0]}", flush=True)
        return None
    return do_bench(graph.replay, warmup=20, rep=100, return_mode="median")


def ours(program, name):
    """What `bench kernels` measures, ms: {"32 x 512, H 16, d 128": [forward, with backward]}."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run([program, "bench", "kernels", "--device", "cuda", "--filter", name, "--json", file.name], check=True,
                       stdout=subprocess.DEVNULL)
        rows = json.load(open(file.name))
    times = {}
    for row in rows:
        kernel, _, backward = row["kernel"].partition(" + ")
        if kernel == name:
            times.setdefault(row["shape"], [None, None])[bool(backward)] = row["seconds"] * 1e3
    return times


def shown(milliseconds):
    return "refused" if milliseconds is None else f"{milliseconds:.3f}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--ops", nargs="+", choices=OPS, default=list(OPS))
    parser.add_argument("--warm", action="store_true", help="only call each op of FLA once")
    arguments = parser.parse_args()
    if arguments.warm:
        for op in arguments.ops:
            for both in (False, True):
                timed(call(op, 8, 4096, both))
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, Triton {triton.__version__}; ms\n")
    print("| | tokens | FLA, forward | ours | FLA, with backward | ours |\n| --- | --- | --- | --- | --- | --- |")
    for op in arguments.ops:
        _, H, d, name = OPS[op]
        own = ours(arguments.program, name)
        for B, T in SHAPES:
            theirs = [timed(call(op, B, T, both)) for both in (False, True)]
            cells = [cell for pair in zip(theirs, own[f"{B} x {T}, H {H}, d {d}"]) for cell in pair]
            print(f"| {op}, H {H}, d {d} | {B} x {T} | " + " | ".join(map(shown, cells)) + " |", flush=True)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
