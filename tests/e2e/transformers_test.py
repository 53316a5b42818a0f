#!/usr/bin/env python3
"""What `hypenet export --transformers` writes, in transformers and peft: logits, cache, padding, generate, training.

    tests/e2e/transformers_test.py PROGRAM MODEL [--only WORD]

Runs in .venv/tests, which scripts/setup --tests makes. Without it it exits with 77, a skip; in CI it fails.
"""
import json
import sys
import tempfile
import unittest
from pathlib import Path

import lent_torch

PROGRAM, TEACHER = sys.argv[1:3]
TOLERANCE = 1e-4

lent_torch.enter()

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

LIGHTNING = "lightning-attn"
PLAIN = {  # as published: GQA in attention, gates and norms everywhere, s_t
    "architectures": ["HypeNetForCausalLM"], "model_type": "hypenet", "vocab_size": 4096, "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True,
    "attn_use_rope": False, "attn_use_qk_norm": True, "attn_use_output_gate": True, "attn_logits_scaling": "hype 20",
    "mixer_types": [LIGHTNING, "attn", LIGHTNING, "attn"], "lightning_nh": 4, "lightning_nkv": 4,
    "lightning_head_dim": 16, "eos_token_id": 0, "torch_dtype": "float32"}
OTHER = {  # all that a HypeNet may have instead
    **PLAIN, "tie_word_embeddings": False, "attention_bias": True, "attention_output_bias": True, "attn_use_rope": True,
    "attn_use_qk_norm": False, "attn_use_output_gate": False, "attn_logits_scaling": 1.5, "hidden_size": 48,
    "mixer_types": ["attn", LIGHTNING, LIGHTNING, "attn"], "num_attention_heads": 6, "lightning_nh": 6,
    "lightning_nkv": 3, "lightning_scale": "1/d", "lightning_use_output_norm": False,
    "lightning_use_output_gate": False, "lightning_use_qk_norm": False,
    "rope_scaling": {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 64}}
RECURRENT = {**PLAIN, "mixer_types": [LIGHTNING] * 4, "lightning_use_rope": False}
DELTA = {  # as conversions make them, and as they may be instead
    **PLAIN, "mixer_types": ["gdn", "attn", "kda", LIGHTNING], "gdn_nh": 4, "gdn_nkv": 4, "gdn_use_gate": True,
    "gdn_use_qk_norm": True, "gdn_use_rope": True, "kda_num_heads": 4, "kda_use_rope": True}
OTHER_DELTA = {
    **PLAIN, "mixer_types": ["kda", "gdn", "attn", "gdn"], "gdn_nh": 4, "gdn_nkv": 2, "gdn_activation": "silu",
    "gdn_allow_neg_eigval": False, "kda_num_heads": 2, "kda_use_qk_norm": False, "kda_allow_neg_eigval": True,
    "kda_lower_bound": -4.0, "kda_use_gate_bias": True}
HEADS = {"attn": ("num_attention_heads", "num_key_value_heads"), LIGHTNING: ("lightning_nh", "lightning_nkv"),
         "gdn": ("gdn_nh", "gdn_nkv"), "kda": ("kda_num_heads", "kda_num_heads")}
QK_NORM = {"attn": "attn_use_qk_norm", LIGHTNING: "lightning_use_qk_norm", "gdn": "gdn_use_qk_norm",
           "kda": "kda_use_qk_norm"}
DEFAULTS = {"lightning_use_qk_norm": True, "lightning_use_output_norm": True, "lightning_use_output_gate": True,
            "kda_use_qk_norm": True}


def hypenet(*arguments):
    return lent_torch.run_program(PROGRAM, *arguments)


class RandomWeights:
    """Weights, large enough that logits differ, under the names that docs/formats.md and docs/mixers.md list."""

    def __init__(self, config, seed):
        self.config, self.tensors, self.draw = {**DEFAULTS, **config}, {}, torch.Generator().manual_seed(seed)
        D, wide = config["hidden_size"], config["intermediate_size"]
        self.matrix("model.embed_tokens", config["vocab_size"], D)
        for i, mixer in enumerate(config["mixer_types"]):
            layer = f"model.layers.{i}"
            self.mixer(f"{layer}.self_attn", mixer)
            self.matrix(f"{layer}.mlp.gate_proj", wide, D)
            self.matrix(f"{layer}.mlp.up_proj", wide, D)
            self.matrix(f"{layer}.mlp.down_proj", D, wide)
            self.norm(f"{layer}.input_layernorm", D)
            self.norm(f"{layer}.post_attention_layernorm", D)
        self.norm("model.norm", D)
        if not config["tie_word_embeddings"]:
            self.matrix("lm_head", config["vocab_size"], D)

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.draw)

    def matrix(self, name, rows, columns, bias=False):
        self.tensors[name + ".weight"] = self.normal(rows, columns) / columns**0.5
        if bias:
            self.tensors[name + ".bias"] = self.normal(rows) * 0.1

    def norm(self, name, size):
        self.tensors[name + ".weight"] = 1 + 0.1 * self.normal(size)

    def mixer(self, name, mixer):
        config, D, d = self.config, self.config["hidden_size"], self.config["head_dim"]
        H, G = (config[key] for key in HEADS[mixer])
        for projection, rows in (("q_proj", H * d), ("k_proj", G * d), ("v_proj", G * d)):
            self.matrix(f"{name}.{projection}", rows, D, config.get("attention_bias"))
        self.matrix(f"{name}.o_proj", D, H * d, config.get("attention_output_bias"))
        if config.get(QK_NORM[mixer]):
            self.norm(f"{name}.q_norm", d)
            self.norm(f"{name}.k_norm", d)
        if mixer == "attn" and config["attn_use_output_gate"]:
            self.matrix(f"{name}.o_gate", H * d, D)
        if mixer == LIGHTNING and config["lightning_use_output_gate"]:
            self.matrix(f"{name}.z_proj", H * d, D)
        if mixer == LIGHTNING and config["lightning_use_output_norm"]:
            self.norm(f"{name}.o_norm", H * d)
        if mixer in ("gdn", "kda"):
            self.delta(name, mixer, H, d)

    def delta(self, name, mixer, H, d):
        D = self.config["hidden_size"]
        self.norm(f"{name}.o_norm", d)
        self.matrix(f"{name}.b_proj", H, D)
        self.tensors[f"{name}.A_log"] = self.normal(*([H] if mixer == "gdn" else [1, 1, H, 1]))
        self.tensors[f"{name}.dt_bias"] = self.normal(H if mixer == "gdn" else H * d) - 3
        if mixer == "gdn":
            self.matrix(f"{name}.a_proj", H, D)
            if self.config.get("gdn_use_gate"):
                self.matrix(f"{name}.g_proj", H * d, D)
            return
        for low, high in (("f_a_proj", "f_b_proj"), ("g_a_proj", "g_b_proj")):
            self.matrix(f"{name}.{low}", d, D)
            self.matrix(f"{name}.{high}", H * d, d, high == "g_b_proj" and self.config.get("kda_use_gate_bias"))


class Exported:
    """A model folder, the folder exported from it, and that folder's model in transformers."""

    def __init__(self, name, config=None):
        self.given, self.written = Path(WORK, name), Path(WORK, name + "-transformers")
        if config is None:
            self.given = TEACHER
        else:
            self.given.mkdir()
            (self.given / "config.json").write_text(json.dumps(config))
            save_file(RandomWeights(config, seed=len(name)).tensors, self.given / "model.safetensors")
            for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
                (self.given / file).write_bytes((Path(TEACHER) / file).read_bytes())
        hypenet("export", self.given, "--transformers", self.written)
        self.model = self.load()

    def load(self):
        return AutoModelForCausalLM.from_pretrained(self.written, trust_remote_code=True, dtype=torch.float32).eval()

    def logits(self, ids, folder=None):
        out = Path(WORK, "logits.safetensors")
        hypenet("logits", folder or self.given, "--ids", ",".join(map(str, ids)), "--out", out)
        return load_file(out)["logits"]


def random_ids(rows, tokens, seed=0):
    return torch.randint(1, 4096, (rows, tokens), generator=torch.Generator().manual_seed(seed))


class TransformersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folders = {name: Exported(name, config)
                       for name, config in (("plain", PLAIN), ("other", OTHER), ("recurrent", RECURRENT),
                                            ("delta", DELTA), ("other-delta", OTHER_DELTA))}

    def assert_close(self, found, expected, tolerance=TOLERANCE):
        self.assertEqual(found.shape, expected.shape)
        self.assertLess((found - expected).abs().max().item(), tolerance)

    def assert_near(self, found, expected):
        """By the roots of the mean squares: bfloat16 keeps 8 bits in each of many layers' products."""
        self.assertLess(((found.float() - expected).square().mean() / expected.square().mean()).sqrt().item(), 0.1)

    def test_logits_are_those_of_hypenet(self):
        for name, exported in self.folders.items():
            for tokens in (1, 64, 200):
                with self.subTest(name, tokens=tokens), torch.no_grad():
                    ids = random_ids(1, tokens)
                    expected = exported.logits(ids[0].tolist())
                    self.assertGreater(expected.abs().max().item(), 1)
                    self.assert_close(exported.model(ids).logits[0], expected)

    @torch.no_grad()
    def test_pieces_with_a_cache_are_the_whole(self):
        for name, exported in self.folders.items():
            ids, cache, found = random_ids(2, 150), None, []
            for begin, end in ((0, 3), (3, 4), (4, 5), (5, 80), (80, 81), (81, 150)):
                answer = exported.model(ids[:, begin:end], past_key_values=cache, use_cache=True)
                cache = answer.past_key_values
                found.append(answer.logits)
            with self.subTest(name):
                self.assertEqual(cache.get_seq_length(), 150)
                self.assert_close(torch.cat(found, 1), exported.model(ids).logits)

    @torch.no_grad()
    def test_padding_changes_nothing(self):
        ids = random_ids(3, 90)
        for name, exported in self.folders.items():
            alone = exported.model(ids).logits
            for side in ("left", "right"):
                for i, tokens in enumerate((90, 71, 5)):
                    row = slice(90 - tokens, 90) if side == "left" else slice(0, tokens)
                    padded, mask = torch.full((3, 90), 7), torch.zeros(3, 90, dtype=torch.long)
                    padded[:, row], mask[:, row] = ids[:, :tokens], 1
                    padded[0], mask[0] = ids[0], 1  # beside a row that is full
                    with self.subTest(name, side=side, tokens=tokens):
                        found = exported.model(padded, attention_mask=mask).logits
                        self.assertTrue(found.isfinite().all())
                        self.assert_close(found[1:, row], alone[1:, :tokens])
                        self.assert_close(found[0], alone[0])

    def test_generate_is_hypenets(self):
        exported = self.folders["plain"]
        tokenizer = AutoTokenizer.from_pretrained(exported.written, padding_side="left", trust_remote_code=True)
        prompts = ["The sun", "The old man sat by the door with his pipe, and the rain fell on the"]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True)
        settings = {"max_new_tokens": 30, "do_sample": False, "eos_token_id": None}
        found = exported.model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1]:]
        again = exported.model.generate(**inputs, **settings, use_cache=False)[:, inputs["input_ids"].shape[1]:]
        self.assertEqual(found.tolist(), again.tolist())
        for prompt, ids in zip(prompts, found.tolist()):
            answer = json.loads(hypenet("generate", exported.given, "--prompt", prompt, "--tokens", 30,
                                        "--temperature", 0, "--dtype", "float32", "--json"))
            self.assertEqual(answer["ids"], ids[:len(answer["ids"])])
            self.assertGreater(len(answer["ids"]), 5)

    def test_beams_carry_their_states(self):
        exported = self.folders["plain"]
        ids = random_ids(2, 20)
        settings = {"max_new_tokens": 12, "do_sample": False, "num_beams": 3, "eos_token_id": None, "pad_token_id": 0,
                    "attention_mask": torch.ones_like(ids)}
        found = exported.model.generate(ids, **settings)
        self.assertEqual(found.tolist(), exported.model.generate(ids, **settings, use_cache=False).tolist())

    def test_checkpointing_keeps_the_gradients(self):
        for name in ("other", "delta"):
            with self.subTest(name):
                self.check_gradients(self.folders[name].load().train())

    def check_gradients(self, model):
        ids, mask = random_ids(2, 100), torch.ones(2, 100, dtype=torch.long)
        mask[1, :30] = 0

        def gradients():
            model.zero_grad()
            model(ids, attention_mask=mask, labels=ids.where(mask == 1, -100)).loss.backward()
            return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

        expected = gradients()
        model.gradient_checkpointing_enable()
        self.assertTrue(all(layer.gradient_checkpointing for layer in model.model.layers))
        for name, gradient in gradients().items():
            self.assertGreater(gradient.abs().max().item(), 0, name)
            self.assertTrue(torch.equal(gradient, expected[name]), name)

    def test_training_goes_without_s_t(self):
        model, ids = self.folders["plain"].load(), random_ids(1, 60)
        scaled = model(ids).logits
        trained = model.train()(ids).logits
        model.config.attn_logits_scaling = None
        self.assert_close(trained, model.eval()(ids).logits, 1e-6)
        self.assertGreater((trained - scaled).abs().max().item(), 1e-3)

    def test_lora_learns_in_ten_steps(self):
        torch.manual_seed(0)
        model = get_peft_model(self.folders["plain"].load(), LoraConfig(
            r=4, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "z_proj", "o_gate"], task_type="CAUSAL_LM"))
        model.train()
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer, ids, losses = torch.optim.AdamW(trained, lr=1e-2), random_ids(4, 40), []
        for _ in range(10):
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        self.assertLess(losses[-1], 0.8 * losses[0], losses)
        merged, saved = model.merge_and_unload().eval(), Path(WORK, "tuned")
        merged.save_pretrained(saved)
        with torch.no_grad():
            self.assert_close(self.folders["plain"].logits(ids[0].tolist(), saved), merged(ids[:1]).logits[0])

    def test_prompts_in_pieces_and_answers_that_go_on(self):
        exported = self.folders["delta"]
        ids = random_ids(2, 50)
        settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        expected = exported.model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        found = exported.model.generate(ids, attention_mask=torch.ones_like(ids), prefill_chunk_size=16, **settings)
        self.assertEqual(found.tolist(), expected.tolist())
        first = exported.model.generate(ids, attention_mask=torch.ones_like(ids), **{**settings, "max_new_tokens": 4},
                                        return_dict_in_generate=True)
        rest = exported.model.generate(first.sequences, attention_mask=torch.ones_like(first.sequences),
                                       past_key_values=first.past_key_values, **{**settings, "max_new_tokens": 4})
        self.assertEqual(rest.tolist(), expected.tolist())

    def test_rates_stay_float32(self):
        model = AutoModelForCausalLM.from_pretrained(self.folders["delta"].written, trust_remote_code=True,
                                                     dtype=torch.bfloat16).eval()
        types = {name.split(".")[-1]: parameter.dtype for name, parameter in model.named_parameters()}
        self.assertEqual((types["A_log"], types["dt_bias"], types["weight"]),
                         (torch.float32, torch.float32, torch.bfloat16))
        ids = random_ids(1, 100)
        with torch.no_grad():
            self.assert_near(model(ids).logits, self.folders["delta"].model(ids).logits)

    @torch.no_grad()
    def test_autocast_leaves_the_recurrence_in_float32(self):
        exported, ids = self.folders["plain"], random_ids(1, 200)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            answer = exported.model(ids, use_cache=True)
        self.assertEqual(answer.past_key_values.layers[0].keys.dtype, torch.float32)
        self.assert_near(answer.logits, exported.model(ids).logits)

    def test_saved_again_it_is_the_same_here_and_there(self):
        for name, exported in self.folders.items():
            saved = Path(WORK, name + "-saved")
            exported.model.save_pretrained(saved)
            ids = random_ids(1, 70)
            with self.subTest(name), torch.no_grad():
                expected = exported.model(ids).logits[0]
                again = AutoModelForCausalLM.from_pretrained(saved, trust_remote_code=True, dtype=torch.float32).eval()
                self.assert_close(again(ids).logits[0], expected)
                self.assert_close(exported.logits(ids[0].tolist(), saved), expected)
                self.assert_close(exported.logits(ids[0].tolist(), exported.written), expected)

    def test_a_teacher_needs_no_code(self):
        exported = Exported("teacher")
        self.assertFalse((exported.written / "modeling_hypenet.py").exists())
        model = AutoModelForCausalLM.from_pretrained(exported.written, dtype=torch.float32)
        self.assertEqual(type(model).__name__, "Qwen3ForCausalLM")
        ids = random_ids(1, 70)
        with torch.no_grad():
            self.assert_close(model(ids).logits[0], exported.logits(ids[0].tolist()))

    def test_what_does_not_fit_is_refused_in_a_line(self):
        exported, ids = self.folders["plain"], random_ids(1, 8)
        for arguments, text in (
                ({"input_ids": ids, "attention_mask": torch.ones(1, 5)},
                 r"attention_mask: expected \[1, 8\], found \[1, 5\]"),
                ({}, "expected input_ids or inputs_embeds, found neither")):
            with self.assertRaisesRegex(ValueError, text):
                exported.model(**arguments)
        for settings, text in (({"cache_implementation": "static"}, "DynamicCache"),
                               ({"prompt_lookup_num_tokens": 3}, "assisted generation is not supported")):
            with self.assertRaisesRegex(ValueError, text):
                exported.model.generate(ids, max_new_tokens=5, **settings)
        with self.assertRaisesRegex(ValueError, "mixer_types: expected attn, lightning-attn, gdn, kda, found nha"):
            type(exported.model.config)(num_hidden_layers=1, mixer_types=["nha"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="hypenet-transformers-") as WORK:
        words = [word for option, word in zip(sys.argv[3:], sys.argv[4:]) if option == "--only"]
        unittest.main(argv=[sys.argv[0], *(f"-k={word}" for word in words)], verbosity=2)
