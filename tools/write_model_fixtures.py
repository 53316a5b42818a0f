#!/usr/bin/env python3
"""Writes tests/data/models: small random models with the logits another implementation gives them.

Teachers come from transformers (float32); HypeNets from the plain float64 reference below, written from the
paper's equations. Needs torch, transformers, safetensors: python tools/write_model_fixtures.py tests/data/models
"""

import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM)

VOCABULARY = 128
TOKENS = 40


def randomize(named_parameters):
    """Weights that give logits of order 1 to 10, and norms and biases that are not trivial."""
    for name, weight in named_parameters:
        if weight.dim() == 2:
            size = 0.5 if "embed_tokens" in name else 1.5 / math.sqrt(weight.shape[1])
            torch.nn.init.normal_(weight, std=size)
        elif name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.5)
        else:
            torch.nn.init.uniform_(weight, 0.5, 1.5)


def round_to_bfloat16(weights):
    return {name: weight.detach().to(torch.bfloat16) for name, weight in weights.items()}


def write_io(folder, ids, logits):
    logits = logits.detach().to(torch.float32).contiguous()
    print(f"{folder.name}: logits of order {logits.std():.2f}, largest {logits.abs().max():.2f}")
    save_file({"ids": ids, "logits": logits}, folder / "io.safetensors")


def write_teacher(folder, model_class, config, shard_size="1GB"):
    torch.manual_seed(len(folder.name))
    model = model_class(config).to(torch.float32).eval()
    with torch.no_grad():
        randomize(model.named_parameters())
        model.load_state_dict({k: v.to(torch.bfloat16) for k, v in model.state_dict().items()})
    ids = torch.randint(0, VOCABULARY, (2, TOKENS))
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size=shard_size)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_io(folder, ids, logits)


def rms_norm(x, weight, eps=1e-6):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def rope(x, theta):
    """x [B, T, heads, d], half-split layout."""
    half = x.shape[-1] // 2
    frequencies = theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(x.shape[1], dtype=torch.float64)[:, None, None] * frequencies
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()), -1)


def alibi_slopes(heads):
    power = 2 ** int(math.log2(heads))
    slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    finer = [2 ** (-8 * (h + 1) / (2 * power)) for h in range(2 * power)]
    return torch.tensor(slopes + finer[0::2][: heads - power], dtype=torch.float64)


class HypeNet:
    """The forward of a HypeNet in float64, equation by equation; weights by their published names."""

    def __init__(self, config, weights):
        self.config, self.weights = config, {k: v.double() for k, v in weights.items()}

    def project(self, x, layer, name, heads=None):
        prefix = f"model.layers.{layer}.{name}"
        y = x @ self.weights[prefix + ".weight"].T
        if prefix + ".bias" in self.weights:
            y = y + self.weights[prefix + ".bias"]
        return y if heads is None else y.unflatten(-1, (heads, -1))

    def norm(self, x, layer, name):
        weight = self.weights.get(f"model.layers.{layer}.{name}.weight")
        return x if weight is None else rms_norm(x, weight)

    def qkv(self, x, layer, query_heads, key_heads):
        q = self.norm(self.project(x, layer, "self_attn.q_proj", query_heads), layer, "self_attn.q_norm")
        k = self.norm(self.project(x, layer, "self_attn.k_proj", key_heads), layer, "self_attn.k_norm")
        return q, k, self.project(x, layer, "self_attn.v_proj", key_heads)

    def attention(self, x, layer):
        heads, groups, size = (self.config[k] for k in ("num_attention_heads", "num_key_value_heads", "head_dim"))
        q, k, v = self.qkv(x, layer, heads, groups)
        scaling = self.config["attn_logits_scaling"]
        if isinstance(scaling, str):
            base = float(scaling.split()[1]) if " " in scaling else 362.0
            positions = torch.arange(x.shape[1], dtype=torch.float64)
            q = q * ((positions + base).log() / math.log(base))[:, None, None]
        elif scaling is not None:
            q = q * scaling
        out = torch.empty_like(q)
        for h in range(heads):
            key, value = k[:, :, h * groups // heads], v[:, :, h * groups // heads]
            for t in range(x.shape[1]):
                scores = torch.einsum("bd,bsd->bs", q[:, t, h], key[:, : t + 1]) / math.sqrt(size)
                out[:, t, h] = torch.einsum("bs,bsd->bd", scores.softmax(-1), value[:, : t + 1])
        gate = torch.sigmoid(self.project(x, layer, "self_attn.o_gate"))
        return self.project(out.flatten(2) * gate, layer, "self_attn.o_proj")

    def lightning(self, x, layer):
        heads, size = self.config["lightning_nh"], self.config["lightning_head_dim"]
        q, k, v = self.qkv(x, layer, heads, self.config["lightning_nkv"])
        q, k = rope(q, self.config["rope_theta"]), rope(k, self.config["rope_theta"])
        decay = torch.exp(-alibi_slopes(heads))[:, None, None]
        scale = {"1/sqrt(d)": size**-0.5, "1/d": 1 / size}.get(self.config["lightning_scale"], 1.0)
        state, outs = torch.zeros(x.shape[0], heads, size, size, dtype=torch.float64), []
        for t in range(x.shape[1]):
            state = decay * state + torch.einsum("bhi,bhj->bhij", k[:, t], v[:, t])
            outs.append(scale * torch.einsum("bhi,bhij->bhj", q[:, t], state))
        y = self.norm(torch.stack(outs, 1).flatten(2), layer, "self_attn.o_norm")
        y = y * torch.sigmoid(self.project(x, layer, "self_attn.z_proj"))
        return self.project(y, layer, "self_attn.o_proj")

    def logits(self, ids):
        h = self.weights["model.embed_tokens.weight"][ids]
        for i, mixer in enumerate(self.config["mixer_types"]):
            mix = self.attention if mixer == "attn" else self.lightning
            h = h + mix(self.norm(h, i, "input_layernorm"), i)
            x = self.norm(h, i, "post_attention_layernorm")
            gate = self.project(x, i, "mlp.gate_proj")
            h = h + self.project(gate * torch.sigmoid(gate) * self.project(x, i, "mlp.up_proj"), i, "mlp.down_proj")
        head = "model.embed_tokens.weight" if self.config["tie_word_embeddings"] else "lm_head.weight"
        return rms_norm(h, self.weights["model.norm.weight"]) @ self.weights[head].T


def hypenet_shapes(config):
    """Every tensor of a HypeNet and its shape, in the order of the file."""
    wide, mlp = config["hidden_size"], config["intermediate_size"]
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], wide), "model.norm.weight": (wide,)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], wide)
    for i, mixer in enumerate(config["mixer_types"]):
        is_attention = mixer == "attn"
        size = config["head_dim" if is_attention else "lightning_head_dim"]
        queries = size * config["num_attention_heads" if is_attention else "lightning_nh"]
        keys = size * config["num_key_value_heads" if is_attention else "lightning_nkv"]
        layer = {"self_attn.q_proj.weight": (queries, wide), "self_attn.k_proj.weight": (keys, wide),
                 "self_attn.v_proj.weight": (keys, wide), "self_attn.o_proj.weight": (wide, queries),
                 "mlp.gate_proj.weight": (mlp, wide), "mlp.up_proj.weight": (mlp, wide),
                 "mlp.down_proj.weight": (wide, mlp), "input_layernorm.weight": (wide,),
                 "post_attention_layernorm.weight": (wide,)}
        if config["attention_bias"]:
            layer |= {f"self_attn.{x}_proj.bias": (n,) for x, n in (("q", queries), ("k", keys), ("v", keys))}
        if not is_attention or config.get("attn_use_qk_norm", True):
            layer |= {"self_attn.q_norm.weight": (size,), "self_attn.k_norm.weight": (size,)}
        layer["self_attn.o_gate.weight" if is_attention else "self_attn.z_proj.weight"] = (queries, wide)
        if not is_attention:
            layer["self_attn.o_norm.weight"] = (queries,)
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in layer.items()}
    return shapes


def hypenet_config(**changes):
    config = {
        "architectures": ["HypeNetForCausalLM"], "model_type": "hypenet", "attention_bias": False,
        "attn_logits_scaling": None, "attn_use_rope": False, "attn_use_output_gate": True, "expand_kv_proj": True,
        "head_dim": 16, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 48, "lightning_use_rope": True,
        "lightning_rope_scaling": None, "lightning_nh": 4, "lightning_nkv": 4, "lightning_head_dim": 16,
        "lightning_scale": "1/sqrt(d)", "lightning_use_qk_norm": True, "lightning_use_output_norm": True,
        "lightning_use_output_gate": True, "lightning_use_short_conv": False, "max_position_embeddings": 1048576,
        "mixer_types": ["lightning-attn", "attn", "lightning-attn"], "num_attention_heads": 4,
        "num_hidden_layers": 3, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_scaling": None,
        "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "vocab_size": VOCABULARY,
        "bos_token_id": 1, "eos_token_id": 2,
    }
    return config | changes


def write_hypenet(folder, config):
    torch.manual_seed(len(folder.name))
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: torch.empty(shape) for name, shape in hypenet_shapes(config).items()}
    randomize(weights.items())
    weights = round_to_bfloat16(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    ids = torch.randint(0, VOCABULARY, (2, TOKENS))
    write_io(folder, ids, HypeNet(config, weights).logits(ids))


def main():
    root = Path(sys.argv[1])
    shared = dict(vocab_size=VOCABULARY, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                  max_position_embeddings=4096, bos_token_id=1, eos_token_id=2)
    write_teacher(root / "qwen3-tied", Qwen3ForCausalLM,
                  Qwen3Config(**shared, hidden_size=32, intermediate_size=48, head_dim=16, tie_word_embeddings=True,
                              rope_parameters={"rope_type": "default", "rope_theta": 1e6}))
    write_teacher(root / "qwen3-untied", Qwen3ForCausalLM,
                  Qwen3Config(**shared, hidden_size=48, intermediate_size=64, head_dim=16, tie_word_embeddings=False),
                  shard_size="40KB")
    write_teacher(root / "qwen2", Qwen2ForCausalLM,
                  Qwen2Config(**shared, hidden_size=32, intermediate_size=48, tie_word_embeddings=True))
    # An original context of 32 tokens puts the three ranges of frequencies within 40 tokens.
    llama3 = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    write_teacher(root / "llama3", LlamaForCausalLM,
                  LlamaConfig(**shared, hidden_size=64, intermediate_size=48, tie_word_embeddings=False,
                              rope_parameters=llama3))
    write_hypenet(root / "hypenet", hypenet_config())
    write_hypenet(root / "hypenet-scaled",
                  hypenet_config(attn_logits_scaling="hype 500", tie_word_embeddings=False, attention_bias=True,
                                 attn_use_qk_norm=False, lightning_scale="1/d", lightning_nh=3, lightning_nkv=3,
                                 mixer_types=["attn", "lightning-attn"], num_hidden_layers=2))


if __name__ == "__main__":
    main()
