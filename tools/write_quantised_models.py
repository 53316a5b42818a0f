#!/usr/bin/env python3
"""Writes tests/data/quantised-models: small models of tests/data/models with quantised linear layers, and the logits of transformers.

    tools/write_quantised_models.py tests/data/models tests/data/quantised-models

The layers are packed by compressed-tensors (0.20.1); transformers (5.24) opens the folders by their quantization_config, expands the
weights to their scales' type, bfloat16, and computes in float32. Packages: torch, safetensors, transformers, compressed-tensors.
"""
import json
import sys
from pathlib import Path

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, CompressedTensorsConfig


def scales_of(weight, args):
    groups = weight.float().unflatten(1, (-1, args.group_size or weight.shape[1]))
    if args.type == "float":
        return (groups.abs().amax(2) / 448).to(torch.bfloat16), None
    if args.symmetric:
        return (groups.abs().amax(2) / (2 ** (args.num_bits - 1) - 1)).to(torch.bfloat16), None
    low, high = groups.amin(2).clamp_max(0), groups.amax(2).clamp_min(0)
    scale = ((high - low) / 15).to(torch.bfloat16)
    return scale, (torch.round(-low / scale.float()).clamp(0, 15) - 8).to(torch.int8)


def write(source, folder, form, **weights):
    args = QuantizationArgs(**weights)
    activations = None
    if form != "pack-quantized":
        activations = QuantizationArgs(num_bits=8, type=args.type, strategy="token", dynamic=True)
    scheme = QuantizationScheme(targets=["Linear"], weights=args, format=form, input_activations=activations)
    compressor = BaseCompressor.get_value_from_registry(form)
    tensors = {}
    for name, weight in load_file(source / "model.safetensors").items():
        if "_proj.weight" not in name:
            tensors[name] = weight
            continue
        scale, zero = scales_of(weight, args)
        state = {"weight": weight.float(), "weight_scale": scale, **({} if zero is None else {"weight_zero_point": zero})}
        for key, value in compressor.compress(state, scheme).items():
            tensors[name.removesuffix("weight") + key] = value.contiguous().clone()
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed",
                                     "config_groups": {"group_0": scheme.model_dump()}, "ignore": ["lm_head"]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with safe_open(source / "io.safetensors", "pt") as io:
        ids, plain = io.get_tensor("ids"), io.get_tensor("logits")
    dense = CompressedTensorsConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, quantization_config=dense).eval().float()
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    print(folder.name, "logits of order", float(logits.std()), "off from the plain model by", float((logits - plain).abs().max()))
    save_file({"ids": ids, "logits": logits.contiguous()}, folder / "io.safetensors")


def main():
    models, out = Path(sys.argv[1]), Path(sys.argv[2])
    write(models / "llama3", out / "llama3-pack", "pack-quantized", num_bits=4, type="int", strategy="group", group_size=16, symmetric=False)
    write(models / "qwen2", out / "qwen2-int", "int-quantized", num_bits=8, type="int", strategy="channel")
    write(models / "qwen3-tied", out / "qwen3-float", "float-quantized", num_bits=8, type="float", strategy="channel")


main()
