#!/usr/bin/env python3
"""Writes the published hybrids of tests/data/models: small random models with the logits another implementation
gives them. Qwen3-Next, Qwen3.5 and Kimi Linear come from transformers 5.24.0 (float32, torch 2.11.0);
flash-linear-attention's kinds from the plain float64 definition below, since that project's code needs a GPU.

    python tools/write_hybrid_fixtures.py tests/data/models     (needs torch, transformers, safetensors)
"""

import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (KimiLinearConfig, KimiLinearForCausalLM, Qwen3_5Config, Qwen3_5ForCausalLM,
                          Qwen3_5ForConditionalGeneration, Qwen3_5TextConfig, Qwen3NextConfig, Qwen3NextForCausalLM)

VOCABULARY = 96
TOKENS = 70  # more than a chunk of the delta rule
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def randomize(name, weight):
    """Weights that give logits of order 1, norms that are not trivial, decays of all lengths."""
    if name.endswith("A_log"):
        torch.nn.init.uniform_(weight, 0.05, 4.0)
        weight.log_()
    elif name.endswith("dt_bias"):
        torch.nn.init.uniform_(weight, -4.0, 0.5)
    elif "conv1d" in name:
        torch.nn.init.normal_(weight, std=0.5)
    elif weight.dim() >= 2:
        small = "embed" in name
        torch.nn.init.normal_(weight, std=0.25 if small else 1 / math.sqrt(weight[0].numel()))
    elif name.endswith("bias"):
        torch.nn.init.normal_(weight, std=0.5)
    else:
        torch.nn.init.uniform_(weight, -0.4, 0.4)


def write_io(folder, ids, logits):
    logits = logits.detach().to(torch.float32).contiguous()
    assert torch.isfinite(logits).all()
    print(f"{folder.name}: logits of order {logits.std():.2f}, largest {logits.abs().max():.2f}")
    save_file({"ids": ids, "logits": logits}, folder / "io.safetensors")


def write_from_transformers(folder, model, further=None):
    torch.manual_seed(len(folder.name))
    model = model.to(torch.float32).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            randomize(name, weight)
            # Norms of weight 1 + w lie around 0, the others around 1.
            if weight.dim() == 1 and name.endswith(ONES[type(model)]):
                weight.add_(1)
            weight.copy_(weight.to(torch.bfloat16))
        ids = torch.randint(3, VOCABULARY, (2, TOKENS))
        logits = model(input_ids=ids, use_cache=False).logits
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if further:
        file = folder / "model.safetensors"
        save_file(load_file(file) | further, file, metadata={"format": "pt"})
    write_io(folder, ids, logits)


QWEN_ONES = ("linear_attn.norm.weight",)
ONES = {Qwen3NextForCausalLM: QWEN_ONES, Qwen3_5ForCausalLM: QWEN_ONES, Qwen3_5ForConditionalGeneration: QWEN_ONES,
        KimiLinearForCausalLM: ("norm.weight",)}


def rms_norm(x, weight, eps=1e-6):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def l2(x):
    return x / torch.sqrt((x * x).sum(-1, keepdim=True) + 1e-6)


def silu(x):
    return x * torch.sigmoid(x)


class Fla:
    """The forward of a gated_deltanet or kda in float64, equation by equation; weights by their published names."""

    def __init__(self, config, weights):
        self.config, self.weights = config, {k: v.double() for k, v in weights.items()}

    def project(self, x, layer, name):
        prefix = f"model.layers.{layer}.{name}"
        y = x @ self.weights[prefix + ".weight"].T
        return y + self.weights[prefix + ".bias"] if prefix + ".bias" in self.weights else y

    def norm(self, x, layer, name):
        return rms_norm(x, self.weights[f"model.layers.{layer}.{name}.weight"])

    def convolved(self, x, layer, name):
        y, taps = self.project(x, layer, f"attn.{name}_proj"), self.weights[f"model.layers.{layer}.attn.{name}_conv1d.weight"]
        width = taps.shape[-1]
        padded = torch.nn.functional.pad(y, (0, 0, width - 1, 0))
        return silu(sum(taps[:, 0, i] * padded[:, i : i + y.shape[1]] for i in range(width)))

    def mixed(self, x, layer):
        config = self.config
        heads = config["num_v_heads"] or config["num_heads"]
        q, k, v = (self.convolved(x, layer, name) for name in "qkv")
        repeat = heads // config["num_heads"]
        q, k = (l2(y.unflatten(-1, (config["num_heads"], -1))).repeat_interleave(repeat, 2) for y in (q, k))
        v = v.unflatten(-1, (heads, -1))
        beta = torch.sigmoid(self.project(x, layer, "attn.b_proj")) * (2 if config["allow_neg_eigval"] else 1)
        rate = self.weights[f"model.layers.{layer}.attn.A_log"].exp()
        bias = self.weights[f"model.layers.{layer}.attn.dt_bias"]
        if config["model_type"] == "kda":
            z = (self.project(self.project(x, layer, "attn.f_proj.0"), layer, "attn.f_proj.1") + bias).unflatten(-1, (heads, -1))
            bound = config["lower_bound"]
            z = rate[:, None] * z if bound else z
            g = bound * torch.sigmoid(z) if bound else -rate[:, None] * torch.nn.functional.softplus(z)
        else:
            g = (-rate * torch.nn.functional.softplus(self.project(x, layer, "attn.a_proj") + bias)).unsqueeze(-1)
        state, outs = torch.zeros(x.shape[0], heads, q.shape[-1], v.shape[-1], dtype=torch.float64), []
        for t in range(x.shape[1]):
            state = state * g[:, t].exp().unsqueeze(-1)
            u = beta[:, t, :, None] * (v[:, t] - torch.einsum("bhi,bhij->bhj", k[:, t], state))
            state = state + torch.einsum("bhi,bhj->bhij", k[:, t], u)
            outs.append(torch.einsum("bhi,bhij->bhj", q[:, t], state) / math.sqrt(q.shape[-1]))
        y = self.norm(torch.stack(outs, 1), layer, "attn.o_norm")
        if config["model_type"] == "kda":
            gate = torch.sigmoid(self.project(self.project(x, layer, "attn.g_proj.0"), layer, "attn.g_proj.1"))
        else:
            gate = silu(self.project(x, layer, "attn.g_proj"))
        return self.project(y.flatten(2) * gate, layer, "attn.o_proj")

    def logits(self, ids):
        h = self.weights["model.embeddings.weight"][ids]
        for i in range(self.config["num_hidden_layers"]):
            h = h + self.mixed(self.norm(h, i, "attn_norm"), i)
            x = self.norm(h, i, "mlp_norm")
            h = h + self.project(silu(self.project(x, i, "mlp.gate_proj")) * self.project(x, i, "mlp.up_proj"), i, "mlp.down_proj")
        return rms_norm(h, self.weights["model.norm.weight"]) @ self.weights["lm_head.weight"].T


def fla_shapes(config):
    """Every tensor of flash-linear-attention's folder and its shape."""
    wide, mlp, is_kda = config["hidden_size"], config["intermediate_size"], config["model_type"] == "kda"
    heads, d = config["num_v_heads"] or config["num_heads"], config["head_dim"]
    dv = int(config["expand_v"] * d)
    keys, values = config["num_heads"] * d, heads * dv
    shapes = {"model.embeddings.weight": (VOCABULARY, wide), "model.norm.weight": (wide,), "lm_head.weight": (VOCABULARY, wide)}
    layer = {"attn_norm.weight": (wide,), "mlp_norm.weight": (wide,), "mlp.gate_proj.weight": (mlp, wide),
             "mlp.up_proj.weight": (mlp, wide), "mlp.down_proj.weight": (wide, mlp), "attn.q_proj.weight": (keys, wide),
             "attn.k_proj.weight": (keys, wide), "attn.v_proj.weight": (values, wide), "attn.b_proj.weight": (heads, wide),
             "attn.A_log": (heads,), "attn.dt_bias": (heads * d if is_kda else heads,), "attn.o_norm.weight": (dv,),
             "attn.o_proj.weight": (wide, values)}
    layer |= {f"attn.{x}_conv1d.weight": (n, 1, 4) for x, n in (("q", keys), ("k", keys), ("v", values))}
    if is_kda:
        layer |= {"attn.f_proj.0.weight": (dv, wide), "attn.f_proj.1.weight": (heads * d, dv),
                  "attn.g_proj.0.weight": (dv, wide), "attn.g_proj.1.weight": (values, dv), "attn.g_proj.1.bias": (values,)}
    else:
        layer |= {"attn.a_proj.weight": (heads, wide), "attn.g_proj.weight": (values, wide)}
    for i in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in layer.items()}
    return shapes


def write_fla(folder, architecture, model_type, **changes):
    config = {"architectures": [architecture], "model_type": model_type, "attn": None, "attn_mode": "chunk", "hidden_size": 32,
              "allow_neg_eigval": False, "conv_size": 4, "num_heads": 2, "num_v_heads": None, "head_dim": 16, "expand_v": 1,
              "hidden_act": "swish", "hidden_ratio": 4, "intermediate_size": 48, "max_position_embeddings": 2048,
              "norm_eps": 1e-6, "num_hidden_layers": 2, "tie_word_embeddings": False, "use_short_conv": True,
              "torch_dtype": "bfloat16", "vocab_size": VOCABULARY, "fuse_norm": True, "fuse_swiglu": True} | IDS | changes
    torch.manual_seed(len(folder.name))
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: torch.empty(shape) for name, shape in fla_shapes(config).items()}
    for name, weight in weights.items():
        randomize(name, weight)
        if name.endswith("norm.weight"):
            weight.add_(1)
    weights = {name: weight.to(torch.bfloat16) for name, weight in weights.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    ids = torch.randint(3, VOCABULARY, (2, TOKENS))
    write_io(folder, ids, Fla(config, weights).logits(ids))


def main():
    root = Path(sys.argv[1])
    shared = dict(vocab_size=VOCABULARY, hidden_size=48, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
                  num_key_value_heads=2, head_dim=16, max_position_embeddings=4096, linear_num_key_heads=2,
                  linear_key_head_dim=16, linear_conv_kernel_dim=4, **IDS)
    rope = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25}
    write_from_transformers(root / "qwen3-next", Qwen3NextForCausalLM(Qwen3NextConfig(
        **shared, num_experts=0, linear_num_value_heads=6, linear_value_head_dim=8, rope_parameters=rope)))
    multimodal = rope | {"mrope_section": [1, 1, 0], "mrope_interleaved": True}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 48, "patch_size": 2,
              "num_position_embeddings": 4}
    text = dict(**shared, linear_num_value_heads=4, linear_value_head_dim=16, rope_parameters=multimodal,
                tie_word_embeddings=True)
    write_from_transformers(
        root / "qwen3.5", Qwen3_5ForConditionalGeneration(Qwen3_5Config(text_config=text, vision_config=vision, tie_word_embeddings=True)),
        {"mtp.norm.weight": torch.zeros(48, dtype=torch.bfloat16), "mtp.fc.weight": torch.zeros(48, 96, dtype=torch.bfloat16)})
    kinds = ["full_attention", "linear_attention"]
    write_from_transformers(root / "qwen3.5-text", Qwen3_5ForCausalLM(Qwen3_5TextConfig(
        **shared | dict(num_hidden_layers=2, layer_types=kinds, linear_num_key_heads=1), linear_num_value_heads=1,
        linear_value_head_dim=16, rope_parameters=rope | {"partial_rotary_factor": 0.5}, tie_word_embeddings=False)))
    linear = {"full_attn_layers": [], "kda_layers": [1, 2], "head_dim": 16, "num_heads": 2, "short_conv_kernel_size": 4}
    write_from_transformers(root / "kimi-linear", KimiLinearForCausalLM(KimiLinearConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        linear_attn_config=linear, first_k_dense_replace=2, tie_word_embeddings=False, **IDS)))
    write_fla(root / "fla-gated-deltanet", "GatedDeltaNetForCausalLM", "gated_deltanet", num_v_heads=4, use_gate=True,
              expand_v=0.5)
    write_fla(root / "fla-kda", "KDAForCausalLM", "kda", safe_gate=True, lower_bound=-5, allow_neg_eigval=True)


if __name__ == "__main__":
    main()
