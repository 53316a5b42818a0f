"""Lightning attention: our kernel beside FLA's chunk_simple_gla on the same inputs, in one run.

    ninja -C build-cpu hypenet_lightning && python bench/peers/lightning_bench.py build-cpu/bench/libhypenet_lightning.so [--quick]

Needs a GPU, torch, triton and flash-linear-attention 0.4.2. First both are held against a float64 reference and against
each other; then each is recorded as a CUDA graph and timed by triton's do_bench (median; the L2 cache is flushed before
every call). Prints Markdown rows: ms, and the floor: every tensor through memory once at the rate of a
copy, read and written, in the same run.
"""
import argparse
import ctypes
import math

import torch
from fla.ops.simple_gla import chunk_simple_gla
from triton.testing import do_bench


class Pass(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("q", "k", "v", "o", "given", "final_state")]
    _fields_ += [("given_factor", ctypes.c_float), ("final_factor", ctypes.c_float), ("state_lag", ctypes.c_int32),
                 ("reverse", ctypes.c_bool), ("given_transposed", ctypes.c_bool)]


class Params(ctypes.Structure):
    _fields_ = [("passes", Pass * 3), ("pass_count", ctypes.c_int64), ("decay", ctypes.c_void_p),
                ("scale", ctypes.c_float), ("offsets", ctypes.c_void_p), ("total", ctypes.c_int64)]
    _fields_ += [(name, ctypes.c_int64) for name in ("sequences", "tokens", "heads", "size")]
    _fields_ += [("portable", ctypes.c_bool)]


def slopes(heads):
    power = 2 ** int(math.log2(heads))
    first = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    return torch.tensor(first + [2 ** (-8 * (2 * h + 1) / (2 * power)) for h in range(heads - power)])


class Ours:
    def __init__(self, library, decay, scale):
        self.call = ctypes.CDLL(library).hypenet_lightning
        self.call.restype = ctypes.c_char_p
        self.decay, self.scale = decay, scale

    def launch(self, like, passes):
        B, T, H, d = like.shape
        params = Params(pass_count=len(passes), decay=self.decay.data_ptr(), scale=self.scale, sequences=B, tokens=T,
                        heads=H, size=d)
        for i, (tensors, reverse) in enumerate(passes):
            pointers = dict(zip(("q", "k", "v", "o"), (x.data_ptr() for x in tensors)))
            params.passes[i] = Pass(given_factor=1, final_factor=1, state_lag=0 if reverse else 1, reverse=reverse, **pointers)
        error = self.call(ctypes.byref(params), ctypes.c_void_p(torch.cuda.current_stream().cuda_stream))
        if error:
            raise RuntimeError(error.decode())

    def forward(self, q, k, v):
        o = torch.empty_like(q)
        self.launch(q, [((q, k, v, o), False)])
        return o

    def backward(self, q, k, v, do):
        dq, dk, dv = (torch.empty_like(q) for _ in range(3))
        self.launch(q, [((do, v, k, dq), False), ((v, do, q, dk), True), ((k, q, do, dv), True)])
        return dq, dk, dv


def reference(q, k, v, decay, scale, do):
    q, k, v = (x.double().transpose(1, 2).detach().requires_grad_() for x in (q, k, v))
    time = torch.arange(q.shape[2], device=q.device, dtype=torch.float64)
    weight = torch.exp(-decay.double().view(-1, 1, 1) * (time[:, None] - time).clamp_min(0)).tril()
    o = scale * ((q @ k.transpose(2, 3)) * weight) @ v
    gradients = torch.autograd.grad(o, (q, k, v), do.double().transpose(1, 2))
    return [x.detach().transpose(1, 2) for x in (o, *gradients)]


def rms(found, expected):
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def make(B, T, H, d, dtype=torch.bfloat16):
    torch.manual_seed(T)
    return [torch.randn(B, T, H, d, device="cuda").to(dtype) for _ in range(4)]


def fla(q, k, v, do, decay, scale):
    q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
    o, _ = chunk_simple_gla(q, k, v, g_gamma=-decay, scale=scale)
    return o, *torch.autograd.grad(o, (q, k, v), do)


def check(ours, H, d, decay, scale):
    """Ours within 0.005 of float64 at all lengths; beside FLA where it does not warn of short sequences."""
    for T in (1, 63, 64, 65, 1000, 2048, 4500):
        q, k, v, do = make(2, T, H, d)
        expected = reference(q, k, v, decay, scale, do)
        found = [ours.forward(q, k, v), *ours.backward(q, k, v, do)]
        line = "RMS error, ours " + " ".join(f"{rms(a, e):.2e}" for a, e in zip(found, expected))
        if T >= 1000:
            theirs = fla(q, k, v, do, decay, scale)
            line += "; FLA " + " ".join(f"{rms(b, e):.2e}" for b, e in zip(theirs, expected))
            line += "; between the two " + " ".join(f"{rms(a, b):.2e}" for a, b in zip(found, theirs))
        print(f"d {d} T {T} (o dq dk dv): {line}", flush=True)
        if not all(rms(a, e) < 5e-3 for a, e in zip(found, expected)):
            raise SystemExit("not within 0.005 of the float64 reference")


def timed(work):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return do_bench(graph.replay, warmup=50, rep=200, return_mode="median")


def copy_rate():
    """Bytes a second of a copy on this device, read and written."""
    source = torch.randn(2 ** 29, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / (timed(lambda: torch.neg(source, out=target)) * 1e-3)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("--quick", action="store_true", help="no FLA in float32")
    arguments = parser.parse_args()
    bandwidth = copy_rate()
    for H, d in ((16, 128), (9, 64)):
        decay, scale = slopes(H).cuda(), d ** -0.5
        ours = Ours(arguments.library, decay, scale)
        check(ours, H, d, decay, scale)
        print(f"\nH {H}, d {d}, ms: forward: FLA float32 / FLA bf16 / ours / floor; forward + backward: the same")
        for B, T in ((32, 512), (8, 4096), (2, 16384), (1, 131072)):
            q, k, v, do = make(B, T, H, d)
            g = -decay

            def run_fla(q, k, v, do, both):
                with torch.set_grad_enabled(both):
                    leaves = [x.detach().requires_grad_(both) for x in (q, k, v)]
                    o, _ = chunk_simple_gla(*leaves, g_gamma=g, scale=scale)
                    if both:
                        torch.autograd.grad(o, leaves, do)

            row = {}
            for both in (False, True):
                wide = [x.float() for x in (q, k, v, do)]
                slow = float("nan") if arguments.quick else timed(lambda: run_fla(*wide, both))
                del wide
                bf16 = timed(lambda: run_fla(q, k, v, do, both))
                own = timed(lambda: (ours.forward(q, k, v), ours.backward(q, k, v, do) if both else None))
                floor = (11 if both else 4) * q.numel() * 2 / bandwidth * 1e3
                row[both] = f"{slow:.3f} / {bf16:.3f} / {own:.3f} / {floor:.3f}"
            print(f"| {B} x {T} | {row[False]} | {row[True]} |", flush=True)


if __name__ == "__main__":
    main()
