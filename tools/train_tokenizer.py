#!/usr/bin/env python3
# Trains the byte-level BPE tokenizer of a tiny teacher and writes it in Hugging Face's layout.
# Needs the Python package tokenizers; users of hypenet never run it.
import argparse
import gzip
import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def texts(path: Path, field: str):
    """The text field of every line of a .jsonl or .jsonl.gz file."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)[field]


def train(documents, vocab_size: int) -> Tokenizer:
    """A byte-level BPE; special tokens take the first ids, each digit stays a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="train a byte-level BPE tokenizer")
    parser.add_argument("text", type=Path, help=".jsonl or .jsonl.gz, one document a line")
    parser.add_argument("out", type=Path, help="model folder")
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--field", default="text")
    arguments = parser.parse_args()

    tokenizer = train(texts(arguments.text, arguments.field), arguments.vocab_size)
    if tokenizer.get_vocab_size() != arguments.vocab_size:
        raise SystemExit(f"vocabulary: expected {arguments.vocab_size}, got {tokenizer.get_vocab_size()}")

    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(arguments.out / "tokenizer.json"), pretty=False)
    end = SPECIAL_TOKENS[0]
    write_json(
        arguments.out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": None,
            "eos_token": end,
            "pad_token": end,
            "unk_token": None,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
        },
    )
    write_json(arguments.out / "generation_config.json", {"eos_token_id": tokenizer.token_to_id(end)})


if __name__ == "__main__":
    main()
