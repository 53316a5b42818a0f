#!/usr/bin/env python3
"""Writes the published recurrent models of tests/data/models: small random ones with the logits that plain float64
definitions give them, equation by equation, by the published tensors' names. Mamba-2 is transformers' own (5.24.0,
float32, torch 2.11.0). The definitions follow RADLADS (Apache-2.0, by public copies), flash-linear-attention (MIT),
goombalab/mohawk (MIT), jxiw/MambaInLlama and NVlabs/Jet-Nemotron (Apache-2.0 code); none of their code is here.

    python tools/write_recurrent_fixtures.py tests/data/models     (needs torch, transformers, safetensors)
"""

import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.functional import pad, softplus

VOCABULARY, TOKENS, D, H, N = 96, 70, 32, 2, 16
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def silu(x):
    return x * torch.sigmoid(x)


def rms_norm(x, weight=1.0, eps=1e-6):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def layer_norm(x, weight, bias, eps=1e-5):
    x = x - x.mean(-1, keepdim=True)
    return rms_norm(x, weight, eps) + bias


def shifted(x):
    return pad(x, (0, 0, 1, 0))[:, :-1]


def convolved(x, taps, bias=None):
    """Depthwise and causal; taps [channels, 1, W] or, a kernel a token, [B, T, channels, W]."""
    width = taps.shape[-1]
    padded = pad(x, (0, 0, width - 1, 0))
    taps = taps[:, 0] if taps.dim() == 3 else taps
    y = sum(taps[..., i] * padded[:, i : i + x.shape[1]] for i in range(width))
    return y if bias is None else y + bias


def rotated(x, theta=1e4):
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * theta ** (-torch.arange(half, dtype=torch.float64) / half)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    return torch.cat((x[..., :half] * cos - x[..., half:] * sin, x[..., half:] * cos + x[..., :half] * sin), -1)


def repeated(x, heads):
    return x.repeat_interleave(heads // x.shape[2], 2)


class Model:
    """Weights by published names, a layer at a time."""

    def __init__(self, config, weights, blocks):
        self.config, self.weights, self.blocks = config, {k: v.double() for k, v in weights.items()}, blocks

    def get(self, layer, name):
        return self.weights[f"{self.blocks}.{layer}.{name}"]

    def has(self, layer, name):
        return f"{self.blocks}.{layer}.{name}" in self.weights

    def project(self, x, layer, name):
        y = x @ self.get(layer, name + ".weight").T
        return y + self.get(layer, name + ".bias") if self.has(layer, name + ".bias") else y

    def mlp(self, x, layer):
        return self.project(silu(self.project(x, layer, "mlp.gate_proj")) * self.project(x, layer, "mlp.up_proj"), layer, "mlp.down_proj")

    def attention(self, x, layer, groups):
        q, k, v = (self.project(x, layer, f"self_attn.{name}_proj").unflatten(-1, (-1, N)) for name in "qkv")
        q, k, v = rotated(q), repeated(rotated(k), H), repeated(v, H)
        scores = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(N)
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        y = torch.einsum("bhij,bjhd->bihd", scores.masked_fill(~mask, -math.inf).softmax(-1), v)
        return self.project(y.flatten(2), layer, "self_attn.o_proj")

    def transformer_logits(self, ids, mixed):
        """Qwen2's blocks around `mixed(x, layer)`."""
        h = self.weights["model.embed_tokens.weight"][ids]
        for i in range(self.config["num_hidden_layers"]):
            h = h + mixed(rms_norm(h, self.get(i, "input_layernorm.weight")), i)
            h = h + self.mlp(rms_norm(h, self.get(i, "post_attention_layernorm.weight")), i)
        h = rms_norm(h, self.weights["model.norm.weight"])
        head = "model.embed_tokens.weight" if self.config["tie_word_embeddings"] else "lm_head.weight"
        return h @ self.weights[head].T


def dplr(r, log_w, k, v, kappa, a):
    state, outputs = torch.zeros(r.shape[0], H, N, v.shape[-1], dtype=torch.float64), []
    for t in range(r.shape[1]):
        removed = torch.einsum("bhi,bhij->bhj", kappa[:, t], state)
        state = state * log_w[:, t].exp().unsqueeze(-1) - torch.einsum("bhi,bhj->bhij", kappa[:, t] * a[:, t], removed)
        state = state + torch.einsum("bhi,bhj->bhij", k[:, t], v[:, t])
        outputs.append(torch.einsum("bhi,bhij->bhj", r[:, t], state))
    return torch.stack(outputs, 1)


class Radlads(Model):
    def mixed(self, x, layer):
        config = self.config
        if layer >= config["num_hidden_layers"] - config.get("num_attention_layers", 0):
            return self.attention(x, layer, config["num_key_value_heads"])
        get = lambda name: self.get(layer, "self_attn." + name)
        has_shift = self.has(layer, "self_attn.x_r")
        xs = {c: x + (shifted(x) - x) * get("x_" + c) if has_shift else x for c in "rwkvag"}
        low = lambda c, f=lambda y: y: f(xs[c] @ get(c + "1")) @ get(c + "2")
        heads = lambda y: y.unflatten(-1, (-1, N))
        r, k, v = (heads(self.project(xs[c], layer, f"self_attn.{name}_proj")) for c, name in zip("rkv", "qkv"))
        if config.get("use_rope", False):
            r, k = rotated(r), rotated(k)
        k, v = repeated(k, H), repeated(v, H)
        log_w = -math.exp(-0.5) * torch.sigmoid(get("w0") + low("w", torch.tanh))
        a = heads(torch.sigmoid(get("a0") + low("a")))
        gate = torch.sigmoid(self.project(xs["g"], layer, "self_attn.gate")) if config.get("gate_rank_type", 2) == 1 else low("g", torch.sigmoid)
        kappa = k if config.get("balance_state", False) else k * get("k_k").view(H, N)
        kappa = kappa / kappa.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        log_w = heads(log_w)
        k = k * (1 - log_w.exp() + a) if config.get("balance_state", False) else k * (1 + (a - 1) * get("k_a").view(H, N))
        if layer == 0:
            self.first = v
        else:
            v = v + (self.first - v) * heads(torch.sigmoid(get("v0") + low("v")))
        o = dplr(r, log_w, k, v, kappa, a)
        if config.get("groupnorm_att", True):
            o = layer_norm(o, get("ln_x.weight").view(H, N), get("ln_x.bias").view(H, N), N * 1e-5)
        else:
            o = o / math.sqrt(N)
        if has_shift:
            o = o + (r * k * get("r_k")).sum(-1, keepdim=True) * v
        return self.project(o.flatten(2) * gate, layer, "self_attn.o_proj")

    def logits(self, ids):
        return self.transformer_logits(ids, self.mixed)


class FlaRwkv7(Model):
    def mixed(self, x, layer):
        get = lambda name: self.get(layer, "attn." + name)
        shares = get("x_x") if self.has(layer, "attn.x_x") else [get("x_" + c).flatten() for c in "rwkvag"]
        xs = {c: x + (shifted(x) - x) * share for c, share in zip("rwkvag", shares)}
        heads = lambda y: y.unflatten(-1, (H, N))

        def low(c, activation=lambda y: y):
            y = activation(xs[c] @ get(c + "_lora.lora.0.weight").T) @ get(c + "_lora.lora.2.weight").T
            return y if c == "g" else y + get(c + "_lora.lora.2.bias")

        r, k, v = (heads(self.project(xs[c], layer, f"attn.{c}_proj")) for c in "rkv")
        log_w = heads(-math.exp(-0.5) * torch.sigmoid(low("w", torch.tanh)))
        a = heads(torch.sigmoid(low("a")))
        if layer == 0:
            self.first = v
        else:
            v = v + (self.first - v) * heads(torch.sigmoid(low("v")))
        kappa = k * heads(get("k_k"))
        kappa = kappa / torch.sqrt((kappa * kappa).sum(-1, keepdim=True) + (1e-6 if self.config["fuse_norm"] else 1e-24))
        k = k * (1 + (a - 1) * heads(get("k_a")))
        o = layer_norm(dplr(r, log_w, k, v, kappa, a), heads(get("g_norm.weight")), heads(get("g_norm.bias")), N * self.config["norm_eps"])
        o = o + (r * k * get("r_k")).sum(-1, keepdim=True) * v
        return self.project(o.flatten(2) * low("g", torch.sigmoid), layer, "attn.o_proj")

    def norm(self, x, name):
        return layer_norm(x, self.weights[name + ".weight"], self.weights[name + ".bias"], self.config["norm_eps"])

    def logits(self, ids):
        h = self.weights["model.embeddings.weight"][ids]
        if self.config["norm_first"]:
            h = self.norm(h, "model.layers.0.pre_norm")
        for i in range(self.config["num_hidden_layers"]):
            h = h + self.mixed(self.norm(h, f"model.layers.{i}.attn_norm"), i)
            x = self.norm(h, f"model.layers.{i}.ffn_norm")
            x = x + (shifted(x) - x) * self.get(i, "ffn.x_k")
            h = h + self.project(self.project(x, i, "ffn.key").clamp_min(0) ** 2, i, "ffn.value")
        return self.norm(h, "model.norm") @ self.weights["lm_head.weight"].T


def state_space(C, B, x, log_decay):
    state, outputs = torch.zeros(x.shape[0], x.shape[2], B.shape[-1], x.shape[-1], dtype=torch.float64), []
    for t in range(x.shape[1]):
        state = state * log_decay[:, t].exp()[..., None, None] + torch.einsum("bhi,bhj->bhij", B[:, t], x[:, t])
        outputs.append(torch.einsum("bhi,bhij->bhj", C[:, t], state))
    return torch.stack(outputs, 1)


class Llamba(Model):
    def mixed(self, u, layer):
        config = self.config["ssm_cfg"]
        get = lambda name: self.get(layer, "mixer." + name)
        heads, groups, n = config["n_v_heads"], config["n_qk_heads"], config["d_state"]
        xBC, z, rate = self.project(u, layer, "mixer.in_proj").split([D + 2 * groups * n, D, heads], -1)
        x, B, C = convolved(xBC, get("conv1d.weight"), get("conv1d.bias")).split([D, groups * n, groups * n], -1)
        x = x.unflatten(-1, (heads, -1))
        B, C = (repeated(y.unflatten(-1, (groups, n)), heads) for y in (B, C))
        y = state_space(C, B, x, -softplus(rate)) + get("D")[:, None] * x
        return self.project(y.flatten(2) * silu(z + get("z_bias")), layer, "mixer.out_proj")

    def logits(self, ids):
        h = self.weights["backbone.embedding.weight"][ids]
        for i in range(self.config["n_layer"]):
            h = h + self.mixed(rms_norm(h, self.get(i, "input_layernorm.weight"), 1e-5), i)
            h = h + self.mlp(rms_norm(h, self.get(i, "post_attention_layernorm.weight"), 1e-5), i)
        return rms_norm(h, self.weights["backbone.final_layernorm.weight"], 1e-5) @ self.weights["backbone.embedding.weight"].T


class Mamba2(Model):
    """flash-linear-attention's: groups of B and C, and of the norm."""

    def mixed(self, u, layer):
        config = self.config
        get = lambda name: self.get(layer, "mixer." + name)
        wide, P, n, groups = 2 * D, config["head_dim"], config["state_size"], config["n_groups"]
        heads = wide // P
        z, xBC, dt = self.project(u, layer, "mixer.in_proj").split([wide, wide + 2 * groups * n, heads], -1)
        x, B, C = silu(convolved(xBC, get("conv1d.weight"), get("conv1d.bias"))).split([wide, groups * n, groups * n], -1)
        x = x.unflatten(-1, (heads, P))
        B, C = (repeated(y.unflatten(-1, (groups, n)), heads) for y in (B, C))
        steps = softplus(dt + get("dt_bias"))
        y = state_space(C, B, steps[..., None] * x, -get("A_log").exp() * steps) + get("D")[:, None] * x
        y = rms_norm((y.flatten(2) * silu(z)).unflatten(-1, (groups, -1)), 1.0, config["norm_eps"]).flatten(2)
        return self.project(y * get("norm.weight"), layer, "mixer.out_proj")

    def logits(self, ids):
        h, eps = self.weights["backbone.embeddings.weight"][ids], self.config["norm_eps"]
        for i in range(self.config["num_hidden_layers"]):
            h = h + self.mixed(rms_norm(h, self.get(i, "norm.weight"), eps), i)
        return rms_norm(h, self.weights["backbone.norm_f.weight"], eps) @ self.weights["lm_head.weight"].T


class MambaInLlama(Model):
    def mixed(self, u, layer):
        config = self.config["mamba_config"]
        if layer in config["attn_layers"]:
            return self.attention(u, layer, self.config["num_key_value_heads"])
        get = lambda name: self.get(layer, "mamba." + name)
        wide, narrow, n = config["d_inner"], config["d_xb"], config["ssm_cfg"]["d_state"]
        heads = wide // n
        z, xBC, dt = self.project(u, layer, "mamba.in_proj").split([wide, 2 * narrow + wide, heads], -1)
        x, B, C = silu(convolved(xBC, get("conv1d.weight"), get("conv1d.bias"))).split([narrow, narrow, wide], -1)
        x, B, C = (repeated(y.unflatten(-1, (-1, n)), heads) for y in (x, B, C))
        steps = softplus(dt + get("dt_bias"))
        y = state_space(C, B, steps[..., None] * x, -get("A_log").exp() * steps) + get("D")[:, None] * x
        y = rms_norm(y * silu(z).unflatten(-1, (heads, n)), 1.0, 1e-5).flatten(2) * get("norm.weight")
        return self.project(y, layer, "mamba.out_proj")

    def logits(self, ids):
        return self.transformer_logits(ids, self.mixed)


class Jet(Model):
    def mixed(self, x, layer):
        if self.config["layer_types"][layer] == "attn":
            return self.attention(x, layer, self.config["num_key_value_heads"])
        config = self.config["efficient_attention_config"]["jet"]
        get = lambda name: self.get(layer, "self_attn." + name)
        heads = config["num_heads"]
        unit = lambda y: y / torch.sqrt((y * y).sum(-1, keepdim=True) + 1e-6)
        q, k = (unit(silu(self.project(x, layer, f"self_attn.{c}_proj")).unflatten(-1, (heads, -1))) for c in "qk")
        generator = "dynamic_conv1d.kernel_generator."
        kernels = silu(x @ get(generator + "w1.weight").T) @ get(generator + "w2.weight").T + get(generator + "w2.bias")
        v = silu(convolved(self.project(x, layer, "self_attn.v_proj"), kernels.unflatten(-1, (-1, config["conv_size"]))))
        v = v.unflatten(-1, (heads, -1))
        beta = torch.sigmoid(self.project(x, layer, "self_attn.b_proj"))
        g = -get("A_log").exp() * softplus(self.project(x, layer, "self_attn.a_proj") + get("dt_bias"))
        state, outputs = torch.zeros(x.shape[0], heads, q.shape[-1], v.shape[-1], dtype=torch.float64), []
        for t in range(x.shape[1]):
            state = state * g[:, t].exp()[..., None, None]
            u = beta[:, t, :, None] * (v[:, t] - torch.einsum("bhi,bhij->bhj", k[:, t], state))
            state = state + torch.einsum("bhi,bhj->bhij", k[:, t], u)
            outputs.append(torch.einsum("bhi,bhij->bhj", q[:, t], state) / math.sqrt(q.shape[-1]))
        y = rms_norm(torch.stack(outputs, 1), get("o_norm.weight"), float(config["norm_eps"])).flatten(2)
        return self.project(y * silu(self.project(x, layer, "self_attn.g_proj")), layer, "self_attn.o_proj")

    def logits(self, ids):
        return self.transformer_logits(ids, self.mixed)


def random(name, shape):
    """Logits of order 1, norms that are not trivial, decays of all lengths."""
    if name.endswith("A_log"):
        return torch.empty(shape).uniform_(0.05, 4.0).log()
    if name.endswith("dt_bias"):
        return torch.empty(shape).uniform_(-4.0, 0.5)
    if name.endswith(("w0", "w_lora.lora.2.bias")):
        return torch.empty(shape).uniform_(-6.0, 1.0)
    if ".x_" in name:
        return torch.rand(shape)
    if "norm" in name or "ln_x" in name:
        return torch.empty(shape).uniform_(-0.4, 0.4) + (1 if name.endswith("weight") else 0)
    if "conv1d" in name and not "kernel_generator" in name:
        return torch.randn(shape) * 0.5
    if len(shape) == 2 and not name.endswith("r_k"):
        rows = shape[0] if name[-2:] in ("w1", "w2", "a1", "a2", "v1", "v2", "g1", "g2") else shape[1]
        return torch.randn(shape) * (0.25 if "embed" in name else 1 / math.sqrt(rows))
    return torch.randn(shape) * 0.5


def write(folder, kind, blocks, config, shapes, apart=()):
    torch.manual_seed(len(folder.name))
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: random(name, shape).to(torch.bfloat16) for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = config | {"torch_dtype": "bfloat16", "vocab_size": VOCABULARY} | IDS
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in apart}, indent=2) + "\n")
    for key in apart:
        (folder / f"{key}.json").write_text(json.dumps(config[key], indent=2) + "\n")
    write_io(folder, kind(config, weights, blocks).logits)


def write_io(folder, logits_of):
    ids = torch.randint(3, VOCABULARY, (2, TOKENS))
    logits = logits_of(ids).detach().to(torch.float32).contiguous()
    assert torch.isfinite(logits).all()
    print(f"{folder.name}: logits of order {logits.std():.2f}, largest {logits.abs().max():.2f}")
    save_file({"ids": ids, "logits": logits}, folder / "io.safetensors")


def layers(count, blocks, shapes_of):
    return {f"{blocks}.{i}.{name}": shape for i in range(count) for name, shape in shapes_of(i).items()}


def mlp_shapes(wide=48):
    return {"input_layernorm.weight": (D,), "post_attention_layernorm.weight": (D,), "mlp.gate_proj.weight": (wide, D),
            "mlp.up_proj.weight": (wide, D), "mlp.down_proj.weight": (D, wide)}


def attention_shapes(groups, has_bias):
    shapes = {"q_proj.weight": (H * N, D), "k_proj.weight": (groups * N, D), "v_proj.weight": (groups * N, D), "o_proj.weight": (D, H * N)}
    if has_bias:
        shapes |= {"q_proj.bias": (H * N,), "k_proj.bias": (groups * N,), "v_proj.bias": (groups * N,)}
    return {"self_attn." + name: shape for name, shape in shapes.items()}


WHOLE = {"model.embed_tokens.weight": (VOCABULARY, D), "model.norm.weight": (D,), "lm_head.weight": (VOCABULARY, D)}
RANKS = {"w": 8, "a": 8, "v": 4, "g": 8}


def write_radlads(root):
    def shapes_of(layer, is_first, config):
        shapes = mlp_shapes() | attention_shapes(1, True)
        if layer >= config["num_hidden_layers"] - config.get("num_attention_layers", 0):
            return shapes
        own = {c + "0": (1, 1, D) for c in "wa"} | {"k_k": (1, 1, D), "k_a": (1, 1, D), "r_k": (H, N)}
        kept = "wavg" if config.get("gate_rank_type", 2) == 2 else "wav"
        if is_first and layer == 0:
            kept = "wag"
        for c in kept:
            own |= {c + "1": (D, RANKS[c]), c + "2": (RANKS[c], D)}
        if "v" in kept:
            own["v0"] = (1, 1, D)
        if is_first:
            own |= {"x_" + c: (1, 1, D) for c in "rwkvag"}
        if config.get("groupnorm_att", True):
            own |= {"ln_x.weight": (D,), "ln_x.bias": (D,)}
        if config.get("gate_rank_type", 2) == 1:
            own["gate.weight"] = (D, D)
        return shapes | {"self_attn." + name: shape for name, shape in own.items()}

    shared = {"architectures": ["RWKV7Qwen2ForCausalLM"], "model_type": "rwkv7qwen2", "attention_bias": True,
              "attention_dropout": 0.0, "attention_output_bias": False, "hidden_act": "silu", "hidden_size": D,
              "intermediate_size": 48, "lora_rank_decay": 8, "lora_rank_gate": 8, "lora_rank_iclr": 8,
              "lora_rank_value_residual_mix": 4, "max_position_embeddings": 32768, "max_window_layers": 28,
              "num_attention_heads": H, "num_key_value_heads": 1, "rms_norm_eps": 1e-6, "rope_scaling": None,
              "rope_theta": 10000.0, "sliding_window": None, "tie_word_embeddings": False, "use_sliding_window": False}
    first = shared | {"num_hidden_layers": 2}
    later = {"num_attention_layers": 1, "num_hidden_layers": 3, "use_rope": True, "use_tokenshift": False}
    for name, config in (("radlads-first", first),
                         ("radlads", shared | later | {"balance_state": True, "groupnorm_att": False, "gate_rank_type": 1}),
                         ("radlads-norm", shared | later | {"balance_state": False, "groupnorm_att": True, "gate_rank_type": 2})):
        is_first = name == "radlads-first"
        shapes = layers(config["num_hidden_layers"], "model.layers", lambda i: shapes_of(i, is_first, config))
        write(root / name, Radlads, "model.layers", config, WHOLE | shapes)


def write_fla_rwkv7(root):
    config = {"architectures": ["RWKV7ForCausalLM"], "model_type": "rwkv7", "attn": None, "attn_mode": "chunk", "hidden_size": D,
              "hidden_ratio": 4.0, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": N, "num_heads": H,
              "decay_low_rank_dim": 8, "gate_low_rank_dim": 8, "a_low_rank_dim": 8, "v_low_rank_dim": 4,
              "hidden_act": "sqrelu", "max_position_embeddings": 2048, "norm_first": True, "norm_bias": True, "norm_eps": 1e-5,
              "fuse_norm": True, "tie_word_embeddings": False, "value_dim": [D, D]}

    def shapes_of(layer, is_old):
        own = {f"{c}_proj.weight": (D, D) for c in "rkvo"} | {"k_k": (D,), "k_a": (D,), "r_k": (H, N)}
        own |= {"g_norm.weight": (D,), "g_norm.bias": (D,)}
        own |= {"x_x": (6, D)} if is_old else {"x_" + c: (1, 1, D) for c in "rwkvag"}
        for c, rank in RANKS.items():
            if c == "v" and layer == 0:
                continue
            own |= {f"{c}_lora.lora.0.weight": (rank, D), f"{c}_lora.lora.2.weight": (D, rank)}
            if c != "g":
                own[f"{c}_lora.lora.2.bias"] = (D,)
        shapes = {"attn." + name: shape for name, shape in own.items()}
        shapes |= {f"{name}_norm.{part}": (D,) for name in ("attn", "ffn") for part in ("weight", "bias")}
        return shapes | {"ffn.x_k": (D,), "ffn.key.weight": (64, D), "ffn.value.weight": (D, 64)}

    whole = {"model.embeddings.weight": (VOCABULARY, D), "model.norm.weight": (D,), "model.norm.bias": (D,), "lm_head.weight": (VOCABULARY, D)}
    first = {"model.layers.0.pre_norm.weight": (D,), "model.layers.0.pre_norm.bias": (D,)}
    write(root / "fla-rwkv7", FlaRwkv7, "model.layers", config, whole | first | layers(2, "model.layers", lambda i: shapes_of(i, False)))
    old = config | {"norm_first": False, "fuse_norm": False, "value_dim": D, "intermediate_size": None, "hidden_ratio": 2.0}
    write(root / "fla-rwkv7-old", FlaRwkv7, "model.layers", old, whole | layers(2, "model.layers", lambda i: shapes_of(i, True)))


def mamba_shapes(wide, channels, heads, has_norm=True):
    shapes = {"in_proj.weight": (wide + channels + heads, D), "conv1d.weight": (channels, 1, 4), "conv1d.bias": (channels,),
              "D": (heads,), "out_proj.weight": (D, wide)}
    return shapes | ({"dt_bias": (heads,), "A_log": (heads,), "norm.weight": (wide,)} if has_norm else {"z_bias": (wide,)})


def write_mamba(root):
    config = {"architectures": ["Mamba2ForCausalLM"], "model_type": "mamba2", "head_dim": N, "hidden_size": D, "state_size": 8,
              "num_hidden_layers": 2, "norm_eps": 1e-5, "expand": 2, "conv_kernel": 4, "n_groups": 2, "num_heads": 4, "use_bias": False,
              "use_conv_bias": True, "hidden_act": "silu", "rmsnorm": True, "norm_before_gate": False,
              "dt_limit": [0.0, math.inf], "D_has_hdim": False, "tie_word_embeddings": False}
    whole = {"backbone.embeddings.weight": (VOCABULARY, D), "backbone.norm_f.weight": (D,), "lm_head.weight": (VOCABULARY, D)}
    block = {"norm.weight": (D,)} | {"mixer." + k: v for k, v in mamba_shapes(2 * D, 2 * D + 32, 4).items()}
    write(root / "fla-mamba2", Mamba2, "backbone.layers", config, whole | layers(2, "backbone.layers", lambda i: block))
    llamba = {"architectures": ["LlambaForCausalLM"], "model_type": "llamba", "d_model": D, "n_layer": 2, "norm_epsilon": 1e-5,
              "resid_dropout": 0.0, "lm_head_bias": False, "lm_head_prenorm": "rms", "pad_vocab_size_multiple": 8,
              "ssm_cfg": {"d_state": 8, "n_v_heads": 4, "n_qk_heads": 2, "expand": 1, "chunk_size": 128, "activation": "identity", "bias": False},
              "mlp_cfg": {"intermediate_size": 48, "bias": False, "act_fn": "silu"}, "tie_embeddings": True}
    block = mlp_shapes() | {"mixer." + k: v for k, v in mamba_shapes(D, D + 32, 4, has_norm=False).items()}
    whole = {"backbone.embedding.weight": (VOCABULARY, D), "backbone.final_layernorm.weight": (D,)}
    write(root / "llamba", Llamba, "backbone.layers", llamba, whole | layers(2, "backbone.layers", lambda i: block))
    inside = {"d_model": D, "ssm_cfg": {"expand": 1, "ngroups": H, "d_state": N}, "rms_norm_eps": 1e-6, "vocab_size": None,
              "d_inner": H * N, "d_xb": N, "intermediate_size": 48, "hidden_act": "silu", "n_layer": 3, "attn_layers": [1]}
    llama = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": D, "intermediate_size": 48,
             "num_hidden_layers": 3, "num_attention_heads": H, "num_key_value_heads": 1, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
             "rope_scaling": None, "attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "max_position_embeddings": 8192,
             "tie_word_embeddings": False, "mamba_config": inside}
    mamba = {"mamba." + k: v for k, v in mamba_shapes(H * N, H * N + 2 * N, H).items()}
    write(root / "mamba-in-llama", MambaInLlama, "model.layers", llama,
          WHOLE | layers(3, "model.layers", lambda i: mlp_shapes() | (attention_shapes(1, False) if i == 1 else mamba)), ["mamba_config"])


def write_mamba2_of_transformers(folder):
    from transformers import Mamba2Config, Mamba2ForCausalLM
    torch.manual_seed(len(folder.name))
    model = Mamba2ForCausalLM(Mamba2Config(num_heads=4, head_dim=N, vocab_size=VOCABULARY, hidden_size=D, state_size=8,
                                           num_hidden_layers=2, expand=2, n_groups=1, chunk_size=16, tie_word_embeddings=False,
                                           residual_in_fp32=False, **IDS)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(random(name, weight.shape).to(torch.bfloat16))
        write_io_after = lambda: write_io(folder, lambda ids: model.to(torch.float32)(input_ids=ids, use_cache=False).logits)
        model.to(torch.bfloat16).save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        write_io_after()


def write_jet(root):
    jet = {"conv_size": 4, "dconv_generator_reduction": 8, "dconv_implementation": "triton", "expand_v": 2.6666666667, "head_dim": 12,
           "mode": "chunk", "norm_eps": "1e-5", "num_heads": 2}
    config = {"architectures": ["JetNemotronForCausalLM"], "model_type": "jet_nemotron", "attention_dropout": 0.0, "hidden_act": "silu",
              "efficient_attention_config": {"jet": jet, "swa": {"window_size": 1152}}, "hidden_size": D, "intermediate_size": 48,
              "layer_types": ["jet", "attn", "jet"], "max_position_embeddings": 131072, "max_window_layers": 28,
              "num_attention_heads": H, "num_hidden_layers": 3, "num_key_value_heads": 1, "rms_norm_eps": 1e-6, "rope_scaling": None,
              "rope_theta": 10000.0, "tie_word_embeddings": True, "use_mrope": False}
    heads, keys, values = 2, 24, 64
    own = {"q_proj.weight": (keys, D), "k_proj.weight": (keys, D), "v_proj.weight": (values, D), "b_proj.weight": (heads, D),
           "a_proj.weight": (heads, D), "A_log": (heads,), "dt_bias": (heads,), "g_proj.weight": (values, D), "o_norm.weight": (values // heads,),
           "o_proj.weight": (D, values), "dynamic_conv1d.kernel_generator.w1.weight": (values // 8, D),
           "dynamic_conv1d.kernel_generator.w2.weight": (4 * values, values // 8), "dynamic_conv1d.kernel_generator.w2.bias": (4 * values,)}
    jets = {"self_attn." + name: shape for name, shape in own.items()}
    whole = {k: v for k, v in WHOLE.items() if k != "lm_head.weight"}
    write(root / "jet-nemotron", Jet, "model.layers", config,
          whole | layers(3, "model.layers", lambda i: mlp_shapes() | (attention_shapes(1, True) if i == 1 else jets)))


def main():
    root = Path(sys.argv[1])
    write_radlads(root)
    write_fla_rwkv7(root)
    write_mamba(root)
    write_mamba2_of_transformers(root / "mamba2")
    write_jet(root)


if __name__ == "__main__":
    main()
