"""A training step in plain PyTorch with FSDP2: the peer of stage 3 of `hypenet bench train`.

    torchrun --nproc-per-node 2 bench/peers/fsdp2_train.py --compile --keep [--hybrid] [--backend cudnn]
    for r in 0 1; do RANK=$r WORLD_SIZE=2 python bench/peers/fsdp2_train.py --compile --keep & done; wait
    python bench/peers/fsdp2_train.py --tiny --context 256       the same code on a CPU in seconds (Gloo, float32)

Needs torch 2.11. Prints one row: model, GPUs, batch of a GPU, options, tokens/s of all, ms a step (median, slowest
rank), peak GiB of tensors (worst rank), TFLOP/s of a GPU (as bench train counts, nothing twice), first and last loss.
PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True leaves no holes in memory. On the same GPUs, beside it:
build/hypenet-cuda bench train --shape hypenet-2b --stage 3 --device cuda --ranks 2

Both do the same: 2 x 16384 random ids a GPU, cross-entropy over 151,936 words, bfloat16 products, float32 masters,
gradients and moments, AdamW, clipping at 1.0. The model is Qwen3-1.7B itself, whose attention is the best-tuned code
there is, or with `--hybrid` HypeNet-2B, which ours trains: lightning attention in chunks of plain products, or by
flash-linear-attention (`--fla`). Fair, because what makes PyTorch fast is there: FSDP2 by blocks beside the arithmetic,
`--compile`, flash or cuDNN attention, parameters kept after forward where memory allows (`--keep`), a loss that makes
its gradients in chunks and computes no logits twice, fused AdamW. Only lightning attention's few products run twice,
unless `--checkpoint` asks for whole blocks. Its ids lie on the device, the same in every step; ours are new in each.
"""
import argparse
import math
import os
import statistics
import sys
import time
from collections import namedtuple
from contextlib import nullcontext

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

UNTIMED = 4  # the first steps compile, allocate and warm up
CHUNK, ROWS = 128, 4096  # tokens of lightning attention, and of logits, at a time
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
Shape = namedtuple("Shape", "hidden mlp layers heads groups size vocabulary")
QWEN3, TINY = Shape(2048, 6144, 28, 16, 8, 128, 151936), Shape(64, 128, 4, 4, 2, 16, 256)


def kinds(shape, hybrid):
    """The mixer of each layer; attention stays in every fourth layer of a hybrid, as in `hypenet bench train`."""
    kept = shape.layers // 4
    attention = {i * shape.layers // kept for i in range(kept)}
    return [("nope" if i in attention else "lightning") if hybrid else "rope" for i in range(shape.layers)]


def lightning(q, k, v):
    """o_t = q_t S_t / sqrt(d), S_t = exp(-m) S_{t-1} + k_t^T v_t. q, k, v: [B, T, H, d], T a multiple of the chunk."""
    T, H, d = q.shape[1:]
    C = min(CHUNK, T)
    N = T // C
    q, k, v = (x.unflatten(1, (N, C)).permute(0, 3, 1, 2, 4) for x in (q, k, v))  # [B, H, N, C, d]
    m = torch.exp2(torch.arange(1, H + 1, device=q.device) * (-8 / H))[:, None, None]
    i, n = torch.arange(C, device=q.device), torch.arange(N, device=q.device)
    within = torch.exp(-m * (i[:, None] - i).clamp_min(0)).tril().to(q.dtype)
    between = torch.exp(-m * C * (n[:, None] - n - 1).clamp_min(0)).tril(-1).to(q.dtype)
    from_start, to_end = (torch.exp(-m * x[:, None]).to(q.dtype)[:, None] for x in (i + 1, C - 1 - i))
    states = (k * to_end).transpose(-1, -2) @ v
    states = (between @ states.flatten(-2)).unflatten(-1, (d, d))  # what each chunk finds
    o = ((q @ k.transpose(-1, -2)) * within[:, None]) @ v + (q * from_start) @ states
    return o.permute(0, 2, 3, 1, 4).flatten(1, 2) / math.sqrt(d)


def fla(q, k, v):
    from fla.ops.simple_gla import chunk_simple_gla
    slopes = torch.exp2(torch.arange(1, q.shape[2] + 1, device=q.device) * (-8 / q.shape[2]))
    return chunk_simple_gla(q, k, v, g_gamma=-slopes, scale=q.shape[3] ** -0.5)[0]


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Mixer(nn.Module):
    """The token mixer of a layer: "rope" (Qwen3's), "nope" or "lightning" (HypeNet's two, both with a gate)."""

    def __init__(self, shape, kind, options):
        super().__init__()
        self.kind, self.size, self.lightning = kind, shape.size, fla if options.fla else lightning
        self.again = not options.checkpoint and not options.fla  # its products are few, what they would keep is not
        wide = shape.heads * shape.size
        narrow = wide if kind == "lightning" else shape.groups * shape.size
        self.q, self.k, self.v = (nn.Linear(shape.hidden, n, bias=False) for n in (wide, narrow, narrow))
        self.o = nn.Linear(wide, shape.hidden, bias=False)
        self.q_norm, self.k_norm = nn.RMSNorm(shape.size, eps=1e-6), nn.RMSNorm(shape.size, eps=1e-6)
        if kind != "rope":
            self.gate = nn.Linear(shape.hidden, wide, bias=False)
        if kind == "lightning":
            self.o_norm = nn.RMSNorm(wide, eps=1e-6)

    def forward(self, x, cos, sin):
        q, k, v = (project(x).unflatten(-1, (-1, self.size)) for project in (self.q, self.k, self.v))
        q, k = self.q_norm(q), self.k_norm(k)
        if self.kind != "nope":
            q, k = rope(q, cos, sin), rope(k, cos, sin)
        if self.kind == "lightning":
            o = checkpoint(self.lightning, q, k, v, use_reentrant=False) if self.again else self.lightning(q, k, v)
            o = self.o_norm(o.flatten(2))
        else:
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2).flatten(2)
        return self.o(o if self.kind == "rope" else o * torch.sigmoid(self.gate(x)))


class Block(nn.Module):
    def __init__(self, shape, kind, options):
        super().__init__()
        self.checkpoint = options.checkpoint
        self.mixer_norm, self.mlp_norm = nn.RMSNorm(shape.hidden, eps=1e-6), nn.RMSNorm(shape.hidden, eps=1e-6)
        self.mixer = Mixer(shape, kind, options)
        self.gate, self.up = (nn.Linear(shape.hidden, shape.mlp, bias=False) for _ in range(2))
        self.down = nn.Linear(shape.mlp, shape.hidden, bias=False)

    def forward(self, *inputs):
        return checkpoint(self.compute, *inputs, use_reentrant=False) if self.checkpoint else self.compute(*inputs)

    def compute(self, x, cos, sin):
        x = x + self.mixer(self.mixer_norm(x), cos, sin)
        y = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


def softmax(logits, targets):
    """Log-probabilities of the targets in float32, and all probabilities in the logits' type."""
    logs = F.log_softmax(logits, -1, dtype=torch.float32)
    return logs.gather(-1, targets), logs.exp().to(logits.dtype)


class ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of `x @ weight.T`, ROWS at a time with their gradients: no logits outlive a chunk."""

    @staticmethod
    def forward(ctx, x, weight, targets, softmax):
        dx, dw, total = torch.empty_like(x), torch.zeros_like(weight), torch.zeros((), device=x.device)
        for part, d_part, wanted in zip(x.split(ROWS), dx.split(ROWS), targets[:, None].split(ROWS)):
            logs, gradient = softmax(part @ weight.T, wanted)
            total -= logs.sum()
            gradient.scatter_add_(-1, wanted, gradient.new_full(wanted.shape, -1))
            torch.mm(gradient, weight, out=d_part)
            dw.addmm_(gradient.T, part)
        ctx.save_for_backward(dx, dw)
        return total / len(x)

    @staticmethod
    def backward(ctx, factor):
        dx, dw = ctx.saved_tensors
        factor = factor / len(dx)
        return dx.mul_(factor), dw.mul_(factor), None, None


class Student(nn.Module):
    def __init__(self, shape, options):
        super().__init__()
        self.embed = nn.Embedding(shape.vocabulary, shape.hidden)
        self.blocks = nn.ModuleList(Block(shape, kind, options) for kind in kinds(shape, options.hybrid))
        self.norm = nn.RMSNorm(shape.hidden, eps=1e-6)
        self.softmax = torch.compile(softmax, dynamic=False) if options.compile else softmax
        angle = torch.arange(options.context)[:, None] * 1e6 ** (-torch.arange(0, shape.size, 2) / shape.size)
        self.register_buffer("angle", angle[:, None])

    def forward(self, ids, targets):
        x = self.embed(ids)
        cos, sin = self.angle.cos().to(x.dtype), self.angle.sin().to(x.dtype)
        for block in self.blocks:
            x = block(x, cos, sin)
        x = self.norm(x).flatten(0, 1)
        return ChunkedCrossEntropy.apply(x, self.embed.weight, targets.flatten(), self.softmax)


def make_student(shape, options, device):
    """The same float32 weights on all ranks, then a share each."""
    torch.manual_seed(0)
    with torch.device(device):
        model = Student(shape, options)
        for matrix in (parameter for parameter in model.parameters() if parameter.dim() > 1):
            nn.init.normal_(matrix, 0, 0.02)
    policy = MixedPrecisionPolicy(torch.float32 if options.tiny else torch.bfloat16, torch.float32)
    for i, block in enumerate(model.blocks):
        if options.compile:  # FSDP's hooks stay outside
            model.blocks[i] = block = torch.compile(block, dynamic=False, fullgraph=not options.fla)
        fully_shard(block, mp_policy=policy, reshard_after_forward=not options.keep)
    return fully_shard(model, mp_policy=policy, reshard_after_forward=False)


def flops_a_token(shape, options):
    """Forward and backward, counted as src/bench/model_flops.cpp does."""
    D, wide = shape.hidden, shape.heads * shape.size
    total = 6 * D * shape.vocabulary
    for kind in kinds(shape, options.hybrid):
        narrow = wide if kind == "lightning" else shape.groups * shape.size
        total += 6 * D * ((2 if kind == "rope" else 3) * wide + 2 * narrow) + 18 * D * shape.mlp
        total += 14 * wide * (64 + shape.size) if kind == "lightning" else 6 * wide * options.context
    return total


def train(model, options, vocabulary, device):
    """Seconds of each timed step, and the losses of the first and the last step (means of all ranks)."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    size = (ranks, options.sequences, options.context + 1)
    ids = torch.randint(vocabulary, size, generator=torch.Generator().manual_seed(1))[rank].to(device)
    rate = 1e-3 if options.tiny else 1e-5
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0, fused=True)
    marks, losses = [], []
    for step in range(UNTIMED + options.steps):
        loss = model(ids[:, :-1], ids[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        marks.append(mark(device))
    ends = torch.stack((losses[0], losses[-1])) / ranks
    dist.all_reduce(ends)
    first, last = ends.tolist()  # waits for the device
    pairs = zip(marks[UNTIMED - 1:], marks[UNTIMED:])
    return [a.elapsed_time(b) / 1e3 if device.type == "cuda" else b - a for a, b in pairs], first, last


def mark(device):
    """A moment on the device's own time line; nothing waits for it."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def parse():
    parser = argparse.ArgumentParser(prog="fsdp2_train.py")
    for name, meaning in (("hybrid", "HypeNet's layers, not Qwen3's"), ("fla", "lightning attention is that package's"),
                          ("compile", "torch.compile of blocks"), ("checkpoint", "compute blocks again in backward"),
                          ("keep", "gathered parameters until backward"), ("tiny", "a small model on CPUs")):
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    parser.add_argument("--backend", choices=BACKENDS, default="flash", help="whose softmax attention")
    parser.add_argument("--sequences", type=int, default=2, help="of each rank")
    parser.add_argument("--context", type=int, default=16384, help="tokens of a sequence")
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    options = parser.parse_args()
    if min(options.sequences, options.context, options.steps) < 1:
        parser.error("expected --sequences, --context and --steps of 1 or more")
    if options.hybrid and options.context > CHUNK and options.context % CHUNK:
        parser.error(f"--context: expected a multiple of {CHUNK} with --hybrid, found {options.context}")
    return options


def join(options):
    """This rank's device, once all ranks have met."""
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29533")):
        os.environ.setdefault(name, value)
    device = torch.device("cpu" if options.tiny else f"cuda:{os.environ.get('LOCAL_RANK', os.environ['RANK'])}")
    if not options.tiny:
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if options.tiny else "nccl", device_id=None if options.tiny else device)
    return device


def run(options):
    device, shape = join(options), TINY if options.tiny else QWEN3
    model = make_student(shape, options, device)
    if not options.tiny:
        torch.cuda.reset_peak_memory_stats()
    with nullcontext() if options.tiny else sdpa_kernel(BACKENDS[options.backend]):
        seconds, first, last = train(model, options, shape.vocabulary, device)
    if not math.isfinite(last):
        raise RuntimeError(f"expected a finite loss, found {last}")
    peak = 0 if options.tiny else torch.cuda.max_memory_allocated() / 2 ** 30
    worst = torch.tensor([statistics.median(seconds), peak], dtype=torch.float64, device=device)
    dist.all_reduce(worst, op=dist.ReduceOp.MAX)
    (step, peak), ranks = worst.tolist(), dist.get_world_size()
    if dist.get_rank() == 0:
        tokens = ranks * options.sequences * options.context / step
        flags = [name for name in ("compile", "fla", "checkpoint", "keep", "tiny") if getattr(options, name)]
        print(f"| {'HypeNet' if options.hybrid else 'Qwen3'} | {ranks} | {options.sequences} x {options.context} "
              f"| {', '.join([options.backend, *flags])} | {tokens:,.0f} | {step * 1e3:.1f} | {peak:.1f} "
              f"| {tokens * flops_a_token(shape, options) / ranks / 1e12:.3g} | {first:.5f}, {last:.5f} |", flush=True)
    dist.destroy_process_group()


def main():
    options = parse()
    try:
        run(options)
    except Exception as error:
        text = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        print(f"fsdp2_train.py: rank {os.environ['RANK']}: {text[:300]}\n", end="", file=sys.stderr, flush=True)
        os._exit(1)  # the other ranks may wait in a sum: no orderly end
    os._exit(0)  # torch's threads do not always survive Python's end


if __name__ == "__main__":
    main()
