#!/usr/bin/env python3
# Writes tests/data/tokenizer/token_files.json: what the Python package `transformers` makes of texts for a tokenizer.json
# beside which other files name tokens, flags and special tokens.
import argparse
import json
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

TEXTS = ["a <x> b", "<x><y>  <z>", "the[PAD] ENTRY [UNK]\n[MASK] <s>", "<|endoftext|> <|im_start|> the then", "w<x>w <y> é<y>é", " <im> <aud>", "x<n>e\u0301"]
CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}


def added(content: str, **flags) -> dict:
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **flags}


def special(content: str, **flags) -> dict:
    return {"__type": "AddedToken", **added(content, **flags)}


# 603 is the first id behind the vocabulary and its three added tokens.
CASES = {
    "no config": {},
    "tokens in added_tokens_decoder": {"tokenizer_config.json": {"added_tokens_decoder": {"603": added("<x>"), "604": added("<y>", special=True)}}},
    "added_tokens_decoder out of order": {"tokenizer_config.json": {"added_tokens_decoder": {"604": added("<y>"), "603": added("<x>")}}},
    "flags of added_tokens_decoder": {"tokenizer_config.json": {"added_tokens_decoder": {
        "603": added("<x>", lstrip=True, rstrip=True), "604": added("<y>", single_word=True)}}},
    "added_tokens_decoder without flags": {"tokenizer_config.json": {"added_tokens_decoder": {"603": {"content": "<x>"}, "604": {"content": "<y>", "special": True}}}},
    "other flags for a token of tokenizer.json": {"tokenizer_config.json": {"added_tokens_decoder": {"601": added("<|im_start|>", lstrip=True, rstrip=True)}}},
    "a token that is an entry": {"tokenizer_config.json": {"added_tokens_decoder": {"THE": added("ENTRY")}}},
    "an id that is not the next": {"tokenizer_config.json": {"added_tokens_decoder": {"700": added("<x>")}}},
    "two tokens at swapped ids": {"tokenizer_config.json": {"added_tokens_decoder": {"601": added("<x>")}}},
    "pad, unk and mask tokens": {"tokenizer_config.json": {"mask_token": "[MASK]", "pad_token": "[PAD]", "unk_token": "[UNK]"}},
    "special tokens as objects": {"tokenizer_config.json": {"pad_token": special("[PAD]", lstrip=True), "bos_token": special("<s>")}},
    "a flag of added_tokens_decoder for a special token": {"tokenizer_config.json": {
        "added_tokens_decoder": {"603": added("[PAD]", lstrip=True)}, "pad_token": "[PAD]"}},
    "additional_special_tokens": {"tokenizer_config.json": {"additional_special_tokens": ["<x>", "<y>"]}},
    "extra_special_tokens as a list": {"tokenizer_config.json": {"extra_special_tokens": ["<y>", "<x>"]}},
    "extra_special_tokens as an object": {"tokenizer_config.json": {"extra_special_tokens": {"image_token": "<im>", "audio_token": "<aud>"}}},
    "tokens of its own": {"tokenizer_config.json": {"image_token": "<im>", "pad_token": "[PAD]"}},
    "all kinds at once": {"tokenizer_config.json": {"additional_special_tokens": ["<z>"], "image_token": "<im>", "pad_token": "[PAD]", "bos_token": "<s>",
                                                    "added_tokens_decoder": {"603": added("<x>")}}},
    "special_tokens_map": {"special_tokens_map.json": {"pad_token": "[PAD]", "additional_special_tokens": ["<x>"]}},
    "special_tokens_map with an object": {"special_tokens_map.json": {"pad_token": added("[PAD]", lstrip=True), "bos_token": {"content": "<s>", "lstrip": False,
                                          "rstrip": False, "normalized": False, "single_word": False}}},
    "special_tokens_map beside added_tokens_decoder": {"tokenizer_config.json": {"added_tokens_decoder": {"603": added("<x>")}},
                                                       "special_tokens_map.json": {"pad_token": "[PAD]"}},
    "special_tokens_map against tokenizer_config": {"tokenizer_config.json": {"pad_token": "<z>"}, "special_tokens_map.json": {"pad_token": "[PAD]"}},
    "added_tokens.json": {"added_tokens.json": {"<x>": 603, "<y>": 604}},
    "added_tokens.json with a special token": {"added_tokens.json": {"[PAD]": 604, "<x>": 603}, "tokenizer_config.json": {"pad_token": "[PAD]"}},
    "added_tokens.json beside added_tokens_decoder": {"added_tokens.json": {"<x>": 603}, "tokenizer_config.json": {"added_tokens_decoder": {"603": added("<y>")}}},
    "added_tokens.json of known tokens": {"added_tokens.json": {"<|im_start|>": 601}},
    "null tokens": {"tokenizer_config.json": {"bos_token": None, "pad_token": None, "extra_special_tokens": None}},
    "add_bos_token": {"tokenizer_config.json": {"add_bos_token": True, "add_eos_token": True, "bos_token": "<s>"}},
    "split_special_tokens": {"tokenizer_config.json": {"split_special_tokens": True}},
    "add_prefix_space": {"tokenizer_config.json": {"add_prefix_space": True}},
    "add_prefix_space false": {"tokenizer_config.json": {"add_prefix_space": False}},
    "a normalized token": {"tokenizer_config.json": {"added_tokens_decoder": {"603": added("<n>e\u0301", normalized=True)}}},
}


def run(base: dict, files: dict, texts: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.json").write_text(json.dumps(base))
        for name, content in {"tokenizer_config.json": {}, **files}.items():
            (Path(folder) / name).write_text(json.dumps({**CONFIG, **content} if name == "tokenizer_config.json" else content))
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
            return {"ids": ids, "plain": [tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False) for row in ids]}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"[:200]}


def main() -> None:
    parser = argparse.ArgumentParser(description="write the fixture of tokens outside tokenizer.json")
    parser.add_argument("base", type=Path, help="tests/data/tokenizer/smollm2-like/tokenizer.json")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    base = json.loads(arguments.base.read_text(encoding="utf-8"))
    vocab = base["model"]["vocab"]
    entry = next(entry for entry in vocab if len(entry) == 2 and entry.isascii() and entry.islower())
    text = json.dumps({"texts": TEXTS, "cases": CASES}).replace('"THE"', f'"{vocab[entry]}"').replace("ENTRY", entry)
    texts, cases = json.loads(text).values()
    rows = [{"name": name, "files": {"tokenizer_config.json": {}, **files}, "texts": texts, **run(base, files, texts)} for name, files in cases.items()]
    for row in rows:
        row["files"]["tokenizer_config.json"] = {**CONFIG, **row["files"]["tokenizer_config.json"]}
    arguments.out.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
