#!/usr/bin/env python3
"""What `hypenet quantize` writes, read by the package compressed-tensors and by transformers: the same numbers and logits.

    tests/e2e/quantise_test.py PROGRAM MODEL

Runs in .venv/tests, which scripts/setup --tests makes. Without it it exits with 77, a skip; in CI it fails.
"""
import json
import sys
import tempfile
import unittest
from pathlib import Path

import lent_torch

PROGRAM, MODEL = sys.argv[1:3]

lent_torch.enter()

import torch  # noqa: E402
from compressed_tensors.compressors import BaseCompressor  # noqa: E402
from compressed_tensors.quantization import QuantizationConfig  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

TEXT = Path(MODEL).parent.parent / "data/valid.jsonl.gz"
FORMS = {"int8": [], "int8 in groups": ["--group", 32], "fp8": [], "int4": ["--group", 32],
         "int4 with zeros": ["--group", 32, "--asymmetric"],
         "int4 nearest": ["--group", 32, "--method", "nearest"], "int4 awq": ["--group", 32, "--method", "awq"],
         "fp8 gptq": ["--method", "gptq"], "int8 awq gptq": ["--group", 32, "--method", "awq-gptq"]}
LARGEST_CHANGE = {"int8": 0.002, "int8 in groups": 0.002, "fp8": 0.01, "int4": 0.05, "int4 with zeros": 0.05,
                  "int4 nearest": 0.1, "int4 awq": 0.06, "fp8 gptq": 0.01, "int8 awq gptq": 0.002}  # of perplexity


def hypenet(*arguments):
    return lent_torch.run_program(PROGRAM, *arguments)


class QuantiseTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folders = {}
        for name, options in FORMS.items():
            cls.folders[name] = out = Path(WORK, name.replace(" ", "-"))
            hypenet("quantize", MODEL, "--to", name.split()[0], *options, "--data", TEXT, "--context", 128, "--windows", 16,
                    "--out", out)

    def scheme_and_modules(self, folder):
        """compressed-tensors' reading of config.json, and the tensors of each quantised module."""
        config = json.loads((folder / "config.json").read_text())["quantization_config"]
        parsed = QuantizationConfig.model_validate(config)
        modules = {}
        for name, tensor in load_file(folder / "model.safetensors").items():
            module, key = name.rsplit(".", 1)
            modules.setdefault(module, {})[key] = tensor
        return parsed, {name: tensors for name, tensors in modules.items() if "weight_scale" in tensors}

    def expanded(self, folder):
        """The numbers as hypenet reads them, in bfloat16."""
        out = Path(WORK, folder.name + "-expanded")
        if not out.exists():
            hypenet("export", folder, "--folder", out)
        return load_file(out / "model.safetensors")

    def test_compressed_tensors_reads_the_numbers_that_hypenet_reads(self):
        for name, folder in self.folders.items():
            parsed, modules = self.scheme_and_modules(folder)
            scheme = parsed.config_groups["group_0"]
            compressor = BaseCompressor.get_value_from_registry(parsed.format)
            expected = self.expanded(folder)
            self.assertEqual(len(modules), 8 * 7, name)
            for module, tensors in modules.items():
                tensors["weight_scale"] = tensors["weight_scale"].float()
                found = compressor.decompress(tensors, scheme)["weight"]
                self.assertTrue(torch.equal(found.to(torch.bfloat16), expected[module + ".weight"]), f"{name}: {module}")

    def test_perplexity_rises_by_little(self):
        changes = {}
        for name, folder in self.folders.items():
            report = json.loads((folder / "report.json").read_text())
            changes[name] = report["perplexity_after"] / report["perplexity_before"] - 1
            self.assertLess(abs(changes[name]), LARGEST_CHANGE[name], name)
            self.assertLess(report["perplexity_before"], 60)
            self.assertLess(report["kl"], 2 * LARGEST_CHANGE[name], name)
        print("changes of perplexity:", {name: f"{100 * change:.2f} %" for name, change in changes.items()})
        self.assertLess(changes["int4"], changes["int4 nearest"])

    @torch.no_grad()
    def test_transformers_gives_hypenets_logits(self):
        ids = torch.randint(1, 4096, (1, 40), generator=torch.Generator().manual_seed(1))
        out = Path(WORK, "logits.safetensors")
        for name, folder in self.folders.items():
            if name == "int4 with zeros":  # compressed-tensors 0.20.1 makes room for zeros that are not packed
                continue
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            hypenet("logits", folder, "--ids", ",".join(map(str, ids[0].tolist())), "--out", out)
            expected = load_file(out)["logits"]
            with self.subTest(name):
                self.assertGreater(expected.abs().max().item(), 1)
                self.assertLess((model(ids).logits[0] - expected).abs().max().item(), 1e-3)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="hypenet-quantise-") as WORK:
        unittest.main(argv=sys.argv[:1])
