#!/usr/bin/env python3
"""Writes tests/data/quantised: a folder for each layout of quantised weights, with what other code reads from it.

    tools/write_quantised_fixtures.py tests/data/quantised

Each folder has config.json with a quantization_config alone, model.safetensors, and values.safetensors: every quantised matrix as float32.
compressed-tensors (0.20.1) packs and expands its own; groups out of order, which it no longer has, are taken by numpy. auto-gptq (0.7.1),
gptqmodel (7.7.0) and autoawq (0.2.9) pack and expand the folders that begin with autogptq, gptqmodel and autoawq. gptq and awq are packed
and expanded here word by word, by the same loops: rows that are no multiple of 32, a zero of 16. fp8 is by torch's own type.
Packages: these, with pip's --no-deps and what gptqmodel imports; torch, on a CPU; numpy, safetensors.
"""
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from safetensors.torch import save_file

LAYER = "model.layers.0."
SHAPES = {"self_attn.q_proj": (16, 64), "mlp.down_proj": (24, 32)}
random = np.random.default_rng(4)


def weights():
    for name, shape in SHAPES.items():
        yield LAYER + name, random.normal(0, 0.05, shape).astype(np.float32)


def write(folder, config, tensors, values):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {**tensors, "model.norm.weight": torch.ones(64, dtype=torch.bfloat16)}
    (folder / "config.json").write_text(json.dumps({"quantization_config": config}, indent=2) + "\n")
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    save_file({f"{name}.weight": value.to(torch.float32).contiguous() for name, value in values.items()}, folder / "values.safetensors")
    print(folder.name, {name: list(tensor.shape) for name, tensor in tensors.items()})


# --- compressed-tensors --------------------------------------------------------------------------------------------------------------

def scales_of(weight, args):
    """Scales [R, G] and zeros of the strategy, by largest numbers."""
    N, K = weight.shape
    rows, columns = {"tensor": (N, K), "channel": (1, K), "group": (1, args.group_size)}.get(args.strategy) or args.block_structure
    padded = torch.nn.functional.pad(weight, (0, -K % columns, 0, -N % rows))
    blocks = padded.reshape(padded.shape[0] // rows, rows, -1, columns)
    if args.type == "float":
        return (blocks.abs().amax((1, 3)) / 448).to(torch.bfloat16), None
    levels = 2 ** args.num_bits - 1
    if args.symmetric:
        return (blocks.abs().amax((1, 3)) / (levels // 2)).to(torch.bfloat16), None
    low, high = blocks.amin((1, 3)).clamp_max(0), blocks.amax((1, 3)).clamp_min(0)
    scale = ((high - low) / levels).to(torch.bfloat16)
    zero = torch.round(-low / scale.float()) - (levels + 1) // 2
    return scale, zero.clamp(-(levels + 1) // 2, levels // 2).to(torch.int8)


def compressed(folder, form, ignore=(), extra=None, **weights_args):
    args = QuantizationArgs(**weights_args)
    scheme = QuantizationScheme(targets=["Linear"], weights=args, format=form)
    compressor = BaseCompressor.get_value_from_registry(form)
    tensors, values = {}, {}
    for name, weight in weights():
        weight = torch.from_numpy(weight)
        if any(name.endswith(end) for end in ignore):
            tensors[f"{name}.weight"] = weight.to(torch.bfloat16)
            continue
        scale, zero = scales_of(weight, args)
        if args.strategy == "tensor":
            scale = scale.reshape(1)
        state = {"weight": weight, "weight_scale": scale, **({} if zero is None else {"weight_zero_point": zero})}
        packed = compressor.compress(state, scheme)
        values[name] = compressor.decompress(packed, scheme)["weight"]
        # The packages' product is rounded to the scales' type; ours is the number itself.
        wide = {key: value.float() if key == "weight_scale" else value for key, value in packed.items()}
        exact = compressor.decompress(wide, scheme)["weight"]
        assert torch.equal(exact.to(torch.bfloat16), values[name].to(torch.bfloat16)), name
        values[name] = exact
        tensors.update({f"{name}.{key}": value for key, value in packed.items()})
        tensors.update({f"{name}.{key}": value for key, value in (extra or {}).items()})
    config = {"quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed", "global_compression_ratio": 1.5,
              "config_groups": {"group_0": scheme.model_dump()}, "ignore": [f"re:.*{end}" for end in ignore], "kv_cache_scheme": None}
    write(folder, config, tensors, values)


def groups_out_of_order(folder):
    """As versions up to 0.12 wrote them with actorder "group": codes in the columns' own order, and weight_g_idx."""
    tensors, values = {}, {}
    args = QuantizationArgs(num_bits=4, type="int", strategy="group", group_size=16, symmetric=True)
    scheme = QuantizationScheme(targets=["Linear"], weights=args, format="pack-quantized")
    compressor = BaseCompressor.get_value_from_registry("pack-quantized")
    for name, weight in weights():
        K = weight.shape[1]
        order = random.permutation(K)
        sorted_weight = torch.from_numpy(weight[:, order])
        scale, _ = scales_of(sorted_weight, args)
        packed = compressor.compress({"weight": sorted_weight, "weight_scale": scale}, scheme)
        codes = torch.empty(weight.shape, dtype=torch.int8)
        codes[:, order] = unpack_from_int32(packed["weight_packed"], 4, weight.shape)
        group_of = np.empty(K, np.int32)
        group_of[order] = np.arange(K) // 16
        tensors[f"{name}.weight_packed"] = pack_to_int32(codes, 4)
        tensors[f"{name}.weight_scale"] = scale
        tensors[f"{name}.weight_shape"] = packed["weight_shape"]
        tensors[f"{name}.weight_g_idx"] = torch.from_numpy(group_of)
        values[name] = codes.float() * scale.float()[:, group_of]
    group = {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 16, "symmetric": True,
                                                "actorder": "group", "dynamic": False}}
    write(folder, {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": group}, "ignore": []},
          tensors, values)


# --- GPTQ, word by word --------------------------------------------------------------------------------------------------------------

def scales_and_zeros(weight, group_of, bits, sym):
    """Both [groups, N]: float16, int64."""
    groups, top = group_of.max() + 1, 2 ** bits - 1
    scales, zeros = np.empty((groups, len(weight)), np.float16), np.empty((groups, len(weight)), np.int64)
    for i in range(groups):
        part = weight[:, group_of == i]
        low, high = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
        if sym:
            scales[i], zeros[i] = 2 * np.abs(part).max(1) / top, (top + 1) // 2
        else:
            scales[i] = (high - low) / top
            zeros[i] = np.clip(np.round(-low / scales[i].astype(np.float32)), 1, top)
    return scales, zeros


def gptq(folder, bits, group_size, version, sym=True, act_order=False, dynamic=None, with_high_zero=False):
    tensors, values = {}, {}
    for name, weight in weights():
        module_bits = 8 if dynamic and name.endswith("down_proj") else bits
        N, K = weight.shape
        g = K if group_size == -1 else group_size
        groups = -(-K // g)
        group_of = (random.permutation(K) if act_order else np.arange(K)) // g
        top = 2 ** module_bits - 1
        scales, zeros = scales_and_zeros(weight, group_of, module_bits, sym)
        if with_high_zero:
            zeros[0, 0] = 16  # stored as 15, and not one that wraps to 0
        intweight = np.empty((K, N), np.uint32)
        for k in range(K):
            q = np.round(weight[:, k] / scales[group_of[k]].astype(np.float32)) + zeros[group_of[k]]
            intweight[k] = np.clip(q, 0, top)
        expanded = np.empty((N, K), np.float32)
        for k in range(K):
            expanded[:, k] = (intweight[k].astype(np.int64) - zeros[group_of[k]]) * scales[group_of[k]].astype(np.float32)
        values[name] = torch.from_numpy(expanded)
        # AutoGPTQ's pack: words along k, then zeros less 1 in words along n.
        in_word = 32 // module_bits
        qweight = np.zeros((K // in_word, N), np.uint32)
        for row in range(qweight.shape[0]):
            for j in range(in_word):
                qweight[row] |= intweight[row * in_word + j] << np.uint32(module_bits * j)
        stored = (zeros - 1 if version == "gptq" else zeros).astype(np.uint32)
        qzeros = np.zeros((groups, N // in_word), np.uint32)
        for column in range(qzeros.shape[1]):
            for j in range(in_word):
                qzeros[:, column] |= stored[:, column * in_word + j] << np.uint32(module_bits * j)
        for key, value in {"qweight": qweight.view(np.int32), "qzeros": qzeros.view(np.int32), "scales": scales,
                           "g_idx": group_of.astype(np.int32)}.items():
            tensors[f"{name}.{key}"] = torch.from_numpy(value)
        tensors[f"{name}.bias"] = torch.zeros(N, dtype=torch.float16)
    config = {"quant_method": "gptq", "bits": bits, "group_size": group_size, "desc_act": act_order, "sym": sym, "lm_head": False,
              "checkpoint_format": version, "damp_percent": 0.01, "true_sequential": True}
    if dynamic:
        config["dynamic"] = dynamic
        tensors["lm_head.weight"] = torch.ones(8, 64, dtype=torch.float16)
    write(folder, config, tensors, values)


# --- AWQ, word by word ---------------------------------------------------------------------------------------------------------------

def awq(folder, group_size):
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    tensors, values = {}, {}
    for name, weight in weights():
        N, K = weight.shape
        groups = weight.reshape(N, K // group_size, group_size)
        low, high = groups.min(2), groups.max(2)
        scales = ((high - low) / 15).astype(np.float16)  # [N, K / g]
        zeros = np.clip(np.round(-low / scales.astype(np.float32)), 0, 15).astype(np.int64)
        q = np.clip(np.round(groups / scales.astype(np.float32)[:, :, None]) + zeros[:, :, None], 0, 15).astype(np.int64)
        values[name] = torch.from_numpy(((q - zeros[:, :, None]) * scales.astype(np.float32)[:, :, None]).reshape(N, K).astype(np.float32))
        intweight, intzeros = q.reshape(N, K).T.astype(np.uint32), zeros.T.astype(np.uint32)  # [K, N], [K / g, N]
        qweight, qzeros = np.zeros((K, N // 8), np.uint32), np.zeros((K // group_size, N // 8), np.uint32)
        for column in range(N // 8):
            for i in range(8):
                qweight[:, column] |= intweight[:, column * 8 + order[i]] << np.uint32(i * 4)
                qzeros[:, column] |= intzeros[:, column * 8 + order[i]] << np.uint32(i * 4)
        for key, value in {"qweight": qweight.view(np.int32), "qzeros": qzeros.view(np.int32),
                           "scales": np.ascontiguousarray(scales.T)}.items():
            tensors[f"{name}.{key}"] = torch.from_numpy(value)
    write(folder, {"quant_method": "awq", "bits": 4, "group_size": group_size, "zero_point": True, "version": "gemm",
                   "modules_to_not_convert": None}, tensors, values)


# --- GPTQ and AWQ, by their packages -------------------------------------------------------------------------------------------------

def without_init(*names):
    """Lets parts of packages be imported whose own __init__ asks for a transformers of its time."""
    for name in names:
        module = types.ModuleType(name)
        module.__path__ = list(importlib.util.find_spec(name).submodule_search_locations)
        sys.modules[name] = module


def by_autogptq(linear, scales, zeros, group_of, config):
    from auto_gptq.nn_modules.qlinear.qlinear_cuda import QuantLinear
    N, K = linear.weight.shape
    # In float32 its product with the scales, which are those that are stored, is exact.
    module = QuantLinear(config["bits"], config["group_size"], K, N, bias=True, weight_dtype=torch.float32)
    module.pack(linear, scales.T, zeros.T, group_of)
    tensors = {key: value.half() if value.is_floating_point() else value for key, value in module.state_dict().items()}
    return tensors, module(torch.eye(K)).T


def by_gptqmodel(linear, scales, zeros, group_of, config):
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization import QuantizeConfig
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module, convert_gptq_v2_to_v1_format_module
    N, K = linear.weight.shape
    module = TorchLinear(config["bits"], config["group_size"], config["sym"], config["desc_act"], K, N, bias=True).eval()
    module.pack_original(linear, scales.T, zeros.T, group_of)  # pack compiles a kernel for the same
    if config["checkpoint_format"] == "gptq":
        convert_gptq_v2_to_v1_format_module(module, QuantizeConfig(bits=config["bits"]))
    tensors = {key: value.clone() for key, value in module.state_dict().items()}
    if config["checkpoint_format"] == "gptq":
        convert_gptq_v1_to_v2_format_module(module, config["bits"], torch.int32)
    module.scales = module.scales.float()  # as above
    return tensors, module.dequantize_weight().T


def by_autoawq(linear, scales, zeros, group_of, config):
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm
    tensors = WQLinear_GEMM.from_linear(linear, 4, config["group_size"], scales=scales, zeros=zeros).state_dict()
    return tensors, dequantize_gemm(tensors["qweight"], tensors["qzeros"], tensors["scales"].float(), 4, config["group_size"]).T


def by_package(folder, package, config, with_low_zeros=False):
    """A package gets what its quantiser would leave: a layer whose weights are codes times scales, in float32."""
    tensors, values = {}, {}
    for name, shape in {"self_attn.q_proj": (32, 64), "mlp.down_proj": (64, 32)}.items():
        name = LAYER + name
        weight = random.normal(0, 0.05, shape).astype(np.float32)
        K = shape[1]
        columns = random.permutation(K) if config.get("desc_act") else np.arange(K)
        group_of = columns // (K if config["group_size"] == -1 else config["group_size"])
        scales, zeros = scales_and_zeros(weight, group_of, config["bits"], config.get("sym", False))
        scales = scales.astype(np.float32)
        if with_low_zeros:
            zeros[:, ::3] = 0  # as of groups that have no number below 0
        codes = np.clip(np.round(weight.T / scales[group_of]) + zeros[group_of], 0, 2 ** config["bits"] - 1)
        linear = torch.nn.Linear(K, shape[0], bias="desc_act" in config)
        linear.weight.data = torch.from_numpy(((codes - zeros[group_of]) * scales[group_of]).astype(np.float32).T.copy())
        if linear.bias is not None:
            linear.bias.data.zero_()
        numbers = torch.from_numpy(scales), torch.from_numpy(zeros.astype(np.float32)), torch.from_numpy(group_of.astype(np.int32))
        with torch.no_grad():
            packed, expanded = package(linear, *numbers, config)
        assert torch.equal(expanded, linear.weight), name
        tensors.update({f"{name}.{key}": value for key, value in packed.items()})
        values[name] = expanded
    write(folder, config, tensors, values)


def autogptq_config(**keys):
    return {"bits": 4, "group_size": 16, "damp_percent": 0.01, "desc_act": False, "static_groups": False, "sym": True,
            "true_sequential": True, "quant_method": "gptq", "checkpoint_format": "gptq", **keys}


def gptqmodel_config(**keys):
    from gptqmodel.quantization import QuantizeConfig
    return {**QuantizeConfig(**keys).to_dict(), "meta": {"quantizer": ["gptqmodel:7.7.0"]}}


# --- fp8 -----------------------------------------------------------------------------------------------------------------------------

def fp8(folder, scale_type, block=None, rows=False, static=False):
    tensors, values = {}, {}
    shapes = {"self_attn.q_proj": (130, 8), "mlp.down_proj": (8, 130)} if block else SHAPES
    for name, shape in shapes.items():
        name = LAYER + name
        weight = torch.from_numpy(random.normal(0, 0.05, shape).astype(np.float32))
        N, K = weight.shape
        R, C = block or ((1, K) if rows else (N, K))
        scale = torch.empty(-(-N // R), -(-K // C))
        for i in range(scale.shape[0]):
            for j in range(scale.shape[1]):
                scale[i, j] = weight[i * R:(i + 1) * R, j * C:(j + 1) * C].abs().max() / 448
        scale = scale.to(scale_type)
        wide = scale.float().repeat_interleave(R, 0).repeat_interleave(C, 1)[:N, :K]
        codes = (weight / wide).to(torch.float8_e4m3fn)
        values[name] = codes.float() * wide
        tensors[f"{name}.weight"] = codes
        tensors[f"{name}.{'weight_scale_inv' if block else 'weight_scale'}"] = scale if block or rows else scale.reshape(())
        if static:
            tensors[f"{name}.input_scale"] = torch.tensor(0.02)
    config = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "static" if static else "dynamic"}
    if block:
        config["weight_block_size"] = block
    if static:
        tensors["model.layers.0.self_attn.k_scale"] = torch.tensor(0.5)
        tensors["model.layers.0.self_attn.v_scale"] = torch.tensor(0.25)
    write(folder, config, tensors, values)


def main():
    out = Path(sys.argv[1])
    pack = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 16}
    compressed(out / "pack", "pack-quantized", **pack)
    compressed(out / "pack-zeros", "pack-quantized", **pack, symmetric=False, ignore=["down_proj"])
    compressed(out / "pack-8", "pack-quantized", num_bits=8, type="int", strategy="channel")
    compressed(out / "pack-8-zeros", "pack-quantized", num_bits=8, type="int", strategy="group", group_size=32, symmetric=False)
    groups_out_of_order(out / "pack-order")
    compressed(out / "int", "int-quantized", num_bits=8, type="int", strategy="channel")
    compressed(out / "float-rows", "float-quantized", num_bits=8, type="float", strategy="channel")
    compressed(out / "float-one", "float-quantized", num_bits=8, type="float", strategy="tensor",
               extra={"input_scale": torch.tensor([0.5], dtype=torch.bfloat16)})
    compressed(out / "naive-blocks", "naive-quantized", num_bits=8, type="float", strategy="block", block_structure=[16, 24])
    gptq(out / "gptq", 4, 16, "gptq")
    gptq(out / "gptq-zeros", 4, 16, "gptq", sym=False, with_high_zero=True)
    gptq(out / "gptq-v2-order", 4, 16, "gptq_v2", sym=False, act_order=True)
    gptq(out / "gptq-8-dynamic", 4, -1, "gptq", dynamic={r"-:lm_head": {}, r".*\.down_proj": {"bits": 8, "group_size": -1}})
    awq(out / "awq", 16)
    fp8(out / "fp8-blocks", torch.bfloat16, block=[128, 128])
    fp8(out / "fp8-rows", torch.float32, rows=True)
    fp8(out / "fp8-static", torch.float32, static=True)
    without_init("auto_gptq", "awq")
    by_package(out / "autogptq", by_autogptq, autogptq_config())
    by_package(out / "autogptq-8-order", by_autogptq, autogptq_config(bits=8, group_size=32, desc_act=True, sym=False))
    by_package(out / "gptqmodel", by_gptqmodel, gptqmodel_config(bits=4, group_size=16, desc_act=False, sym=True))
    by_package(out / "gptqmodel-zeros", by_gptqmodel, gptqmodel_config(bits=4, group_size=16, desc_act=False, sym=False),
               with_low_zeros=True)
    by_package(out / "gptqmodel-v2-order", by_gptqmodel,
               gptqmodel_config(bits=4, group_size=16, desc_act=True, sym=False, format="gptq_v2"), with_low_zeros=True)
    by_package(out / "gptqmodel-8", by_gptqmodel, gptqmodel_config(bits=8, group_size=-1, desc_act=False, sym=True))
    by_package(out / "autoawq", by_autoawq, {"quant_method": "awq", "zero_point": True, "group_size": 16, "bits": 4, "version": "gemm",
                                             "modules_to_not_convert": None}, with_low_zeros=True)


main()
