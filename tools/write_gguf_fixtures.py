#!/usr/bin/env python3
"""Writes the GGUF files of tests/data/gguf with the Python package gguf (0.19.0), which ggml's authors publish.

    tools/write_gguf_fixtures.py tests/data/models tests/data/gguf

blocks.gguf: for each type of blocks a tensor NAME and NAME.values, what the package expands it to. The blocks of the small types are the
package's own of random numbers, those of the K types random bytes, as it writes none; their scales are set to ordinary numbers.
The others are models of tests/data/models as llama.cpp's converter writes them: matrices BF16, vectors F32, a Llama's rows of q and k in
pairs. llama3 is in two shards.
"""
import argparse
import json
import math
from pathlib import Path

import gguf
import numpy as np

SMALL = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16"]
# Bytes of a block, and where its float16 numbers stand.
K_TYPES = {"Q2_K": (84, [80, 82]), "Q3_K": (110, [108]), "Q4_K": (144, [0, 2]), "Q5_K": (176, [0, 2]), "Q6_K": (210, [208])}
LAYERS = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
          "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
          "mlp.down_proj": "ffn_down", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
OTHERS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_blocks(path):
    random = np.random.default_rng(20)
    writer = gguf.GGUFWriter(path, "blocks")
    for name in SMALL + list(K_TYPES):
        kind = gguf.GGMLQuantizationType[name]
        if name in K_TYPES:
            size, halves = K_TYPES[name]
            blocks = random.integers(0, 256, (3, size), dtype=np.uint8)
            for at in halves:
                blocks[:, at:at + 2] = random.normal(0, 0.02, (3, 1)).astype(np.float16).view(np.uint8)
        else:
            blocks = gguf.quants.quantize(random.normal(0, 1, (3, 64)).astype(np.float32), kind)
        writer.add_tensor(name, blocks, raw_dtype=kind)
        writer.add_tensor(f"{name}.values", gguf.quants.dequantize(blocks, kind).astype(np.float32))
    finish(writer)


def read_safetensors(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    for name, about in header.items():
        if name == "__metadata__":
            continue
        begin, end = about["data_offsets"]
        bits = np.frombuffer(data[8 + size + begin:8 + size + end], np.uint16).astype(np.uint32) << 16
        assert about["dtype"] == "BF16", name
        yield name, bits.view(np.float32).reshape(about["shape"])


def stored_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem in OTHERS:
        return f"{OTHERS[stem]}.{kind}"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{LAYERS[rest]}.{kind}"


def in_pairs(weight, heads):
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def rope_divisors(config):
    rope = config["rope_parameters"]
    size = config["head_dim"]
    low, high = (rope["original_max_position_embeddings"] / rope[f"{x}_freq_factor"] for x in ("low", "high"))
    divisors = []
    for i in range(size // 2):
        length = 2 * math.pi * rope["rope_theta"] ** (2 * i / size)
        if length < high:
            divisors.append(1)
        elif length > low:
            divisors.append(rope["factor"])
        else:
            share = (rope["original_max_position_embeddings"] / length - rope["low_freq_factor"]) / (
                rope["high_freq_factor"] - rope["low_freq_factor"])
            divisors.append(1 / ((1 - share) / rope["factor"] + share))
    return np.array(divisors, np.float32)


def write_model(folder, path, shard_tensors=0):
    config = json.loads((folder / "config.json").read_text())
    kind = config["model_type"]
    writer = gguf.GGUFWriter(path, kind, split_max_tensors=shard_tensors)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    if kind != "qwen2":  # the others leave no doubt either, but newer files say it
        writer.add_key_length(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if config["rope_parameters"]["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_divisors(config))
    for name, values in read_safetensors(folder / "model.safetensors"):
        heads = {"q": "num_attention_heads", "k": "num_key_value_heads"}.get(name.split(".")[-2][0] if "_proj.weight" in name else "")
        if kind == "llama" and heads and ".self_attn." in name:
            values = in_pairs(values, config[heads])
        if values.ndim == 1:
            writer.add_tensor(stored_name(name), np.ascontiguousarray(values))
        else:
            bf16 = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(stored_name(name), gguf.quants.quantize(np.ascontiguousarray(values), bf16), raw_dtype=bf16)
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_blocks(arguments.out / "blocks.gguf")
    for name in ("qwen2", "qwen3-tied"):
        write_model(arguments.models / name, arguments.out / f"{name}.gguf")
    write_model(arguments.models / "llama3", arguments.out / "llama3.gguf", shard_tensors=12)


if __name__ == "__main__":
    main()
