#!/usr/bin/env python3
"""Writes tests/data/store/python.safetensors with Python's safetensors: one small tensor of every type we read."""

import pathlib

import torch
from safetensors.torch import save_file

TYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
}

tensors = {name: torch.arange(6).reshape(2, 3).to(dtype) for name, dtype in TYPES.items()}
tensors["BOOL"] = torch.tensor([True, False, True])
tensors["scalar"] = torch.tensor(0.1)
tensors["empty"] = torch.empty(0, 4)
folder = pathlib.Path(__file__).parent.parent / "tests/data/store"
save_file(tensors, folder / "python.safetensors", metadata={"format": "pt", "note": "written by Python"})
