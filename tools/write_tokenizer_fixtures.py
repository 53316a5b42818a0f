#!/usr/bin/env python3
# Writes tests/data/tokenizer: small tokenizer.json files and what the Python package `tokenizers` makes of many texts.
# The Qwen3 file is a cut of the real one: all rules and added tokens, the first merges only.
import argparse
import copy
import json
import random
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = """The quick brown fox jumps over the lazy dog. It's what we've seen: they're sure that I'd go, you'll stay.
HypeNet turns a Transformer into a hybrid; linear attention keeps a state, softmax attention keeps a cache.
def main(argv: list[str]) -> int:\n    for i in range(10):\n        print(f"{i:>3} {argv[0]!r}")\n    return 0\n
#include <vector>\nstd::vector<int> v{1, 2, 3};\n\tif (v.size() != 3u) throw std::runtime_error("no");\n
Der Überfluß an Äpfeln; où êtes-vous allés ? ¿Dónde está la señora Núñez? Příliš žluťoučký kůň úpěl ďábelské ódy.
Съешь же ещё этих мягких французских булок. Η ταχεία αλεπού πηδά. שלום עולם. مرحبا بالعالم ١٢٣. नमस्ते दुनिया १२३.
你好，世界。今天天气很好！ これは日本語の文章です。カタカナも。 안녕하세요 세계. สวัสดีชาวโลก. Xin chào thế giới.
"""


def texts() -> list[bytes]:
    """Texts that differ in every way that a tokenizer may get wrong; the last ones are no UTF-8."""
    plain = [
        "", " ", "  ", "\n", "\r\n\r\n", "a", " a", "a ", "   a   b   ", "\t\tx\n\n\n y \n", " " * 200, "\n" * 67 + "x",
        *WORDS.split("\n"), WORDS,
        "1234567890 12 1 3.14159 1,000,000 ½ Ⅻ ٣ ०१२ x2y", "can't CAN'T 'sS'LLama 'ſ K\u212ay \u017fecond",
        "👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇫🇷 ❤️ ☃", "\x00\x01\x07\x1b[31mred\x1b[0m\x7f\x80\x9f", "\u0085a\u180eb\u200bc\u200dd\u00a0e\u3000f\ufeffg\ufffdh",
        "e\u0301 é A\u030a Å \u212b \u2126 \u1100\u1161\u11a8 각 \u0915\u093c \u0958 q\u0307\u0323 \u1e0b\u0323 n\u0303o",
        "\u0344 \u0f73 \U0001d15e \ufb1d \uf900 \U0002f800", "a\u0300\u0301\u0302\u0303" * 20, "ﬀ ﬁ ① ⅔ ²",
        "a" * 3000, "ab" * 2000, "é" * 1500, "日" * 999, "=" * 1001 + "-" * 77, "the" * 700, "x" + " " * 500 + "y",
        "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "a<|endoftext|>b <|endoftext|> c<|endoftext|",
        "<|endoftext|><|endoftext|>  <|im_end|>", "<think>\nno\n</think>\n\n<tool_call>{}</tool_call><|fim_prefix|>",
        "http://a.b/c?d=e&f=%20#g user@host $HOME C:\\x\\y", "CamelCaseWord snake_case_word SCREAMING __init__",
        "zwj\u200dzwnj\u200c \u202eright to left\u202c \u2028 \u2029", "\U0010ffff\ue000\U000f0000",
    ]
    rng = random.Random(1)
    blocks = [(0x20, 0x7E), (0, 0x24F), (0x300, 0x36F), (0x370, 0x6FF), (0x900, 0xDFF), (0x1100, 0x11FF), (0x1E00, 0x206F),
              (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF)]
    for _ in range(40):
        low, high = rng.choice(blocks)
        plain.append("".join(chr(rng.randint(low, high)) + rng.choice(["", "", " ", "a", "1"]) for _ in range(20)))
    broken = [b"\xff", b"a\x80b", b"\xc3", b"x\xe2\x82", b"\xe2\x82 \xe2\x28\xa1", b"\xf0\x9f\x98", b"\xf0\x9f\x98\x80\xf0\x9f",
              b"\xc0\xaf \xe0\x80\xaf \xf0\x80\x80\xaf", b"\xed\xa0\x80 \xed\xbf\xbf", b"\xf4\x90\x80\x80 \xf5\x80", b"\xfe\xfe\xff\xff",
              b"caf\xe9 na\xefve", bytes(range(128, 256)), b"ok \xe4\xbd\xa0\xe4\xbd"]
    broken += [bytes(rng.randrange(256) for _ in range(30)) for _ in range(10)]
    return [text.encode() for text in plain] + broken


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def cases(tokenizer: Tokenizer, inputs: list[bytes]) -> list[dict]:
    rows = []
    for data in inputs:
        text = data.decode("utf-8", errors="replace")
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        source = {"text": text} if is_utf8(data) else {"hex": data.hex()}
        rows.append({**source, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                     "plain": tokenizer.decode(ids, skip_special_tokens=True)})
    return rows


def write(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n", encoding="utf-8")


def load(definition: dict) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(definition))


def cut(definition: dict, merges: int) -> dict:
    """The tokenizer with its first merges only; added tokens move down behind the smaller vocabulary."""
    small = copy.deepcopy(definition)
    model = small["model"]
    model["merges"] = model["merges"][:merges]
    parts = [merge if isinstance(merge, list) else merge.split(" ") for merge in model["merges"]]
    kept = set(pre_tokenizers.ByteLevel.alphabet()) | {a + b for a, b in parts}
    entries = sorted((entry for entry in model["vocab"] if entry in kept), key=model["vocab"].get)
    model["vocab"] = {entry: i for i, entry in enumerate(entries)}
    for i, token in enumerate(small["added_tokens"]):
        token["id"] = len(entries) + i
    return small


def trained(pre_tokenizer: dict, vocab_size: int, added_tokens: list[dict], **rest) -> dict:
    """A small BPE over WORDS with the given rules."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        [WORDS] * 4, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False))
    definition = json.loads(tokenizer.to_str())
    definition["pre_tokenizer"] = pre_tokenizer
    definition["decoder"] = byte_level(use_regex=True)
    definition["added_tokens"] = [{**token, "id": len(definition["model"]["vocab"]) + i} for i, token in enumerate(added_tokens)]
    definition.update(rest)
    return definition


def byte_level(use_regex: bool, add_prefix_space: bool = False) -> dict:
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": use_regex}


def split(pattern: dict, behavior: str = "Isolated", invert: bool = False) -> dict:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def sequence(*parts: dict) -> dict:
    return {"type": "Sequence", "pretokenizers": list(parts)}


def digits(individual: bool) -> dict:
    return {"type": "Digits", "individual_digits": individual}


def added(content: str, **flags) -> dict:
    token = {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {**token, **flags}


def llama3_like() -> dict:
    tokens = [added("<|begin_of_text|>"), added("<|endoftext|>"), added("<|im_start|>"), added("<|im_end|>")]
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}},
                                                         {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<|begin_of_text|>": {"id": "<|begin_of_text|>", "ids": [0], "tokens": ["<|begin_of_text|>"]}}}
    definition = trained(sequence(split({"Regex": LLAMA3_PATTERN}), byte_level(use_regex=False)), 700, tokens,
                         post_processor={"type": "Sequence", "processors": [byte_level(use_regex=True), template]})
    model = definition["model"]
    model["merges"] = [" ".join(merge) for merge in model["merges"]]
    # Entries that no merge leads to: only ignore_merges finds them.
    for entry in ["Transformer", "Ġhybrid", "zzqx"]:
        model["vocab"].setdefault(entry, len(model["vocab"]))
    for i, token in enumerate(definition["added_tokens"]):
        token["id"] = len(model["vocab"]) + i
    model["ignore_merges"] = True
    return definition


def smollm2_like() -> dict:
    return trained(sequence(digits(True), byte_level(use_regex=True)), 600, [added("<|endoftext|>"), added("<|im_start|>"), added("<|im_end|>")])


def variants() -> list[dict]:
    """Rules to put into the SmolLM2-like tokenizer, each with texts that show what they do."""
    tail = byte_level(use_regex=False)
    dashes = ["a--b-c---", "--a b--", "-", "a", "---", "x-- -y"]
    rules = []
    for behavior in ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            for pattern in [{"String": "-"}, {"Regex": "-+"}, {"Regex": r"\s|\w"}]:
                rules.append((f"{behavior} {invert} {pattern}", {"pre_tokenizer": sequence(split(pattern, behavior, invert), tail)}, dashes))
    words = ["12 345 67a8", "It's  12\n\n3 ١٢ ½x", "the the", " the", "a\u0301\u212a"]
    rules += [
        ("digits together", {"pre_tokenizer": sequence(digits(False), tail)}, words),
        ("digits one by one", {"pre_tokenizer": sequence(digits(True), tail)}, words),
        ("ByteLevel alone", {"pre_tokenizer": byte_level(True)}, words),
        ("prefix space", {"pre_tokenizer": byte_level(True, add_prefix_space=True)}, words + ["", "a<|endoftext|>b"]),
        ("prefix space for each piece", {"pre_tokenizer": sequence(digits(True), byte_level(False, add_prefix_space=True))}, words),
        ("nested sequences", {"pre_tokenizer": sequence(sequence(digits(True)), sequence(split({"String": "the"}), tail))}, words),
        ("special characters in a string", {"pre_tokenizer": sequence(split({"String": "a.b|c"}, "Removed"), tail)}, ["xa.b|cy", "axb a.b c"]),
        ("empty matches", {"pre_tokenizer": sequence(split({"Regex": "x*"}), tail)}, ["axxb", "", "xx", "thé"]),
        ("line ends", {"pre_tokenizer": sequence(split({"Regex": r"^\S+|\S+$"}, "Removed"), tail)}, ["a b c\nd e f\n", "a\n\nb c"]),
        ("white space in classes", {"pre_tokenizer": sequence(split({"Regex": r"[^\S\n]+|[\s\d]+x|\S+"}, "Removed"), tail)}, ["a \u180e\u0085\n 1x", "\u2028 1 x"]),
        ("normalizer sequence", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}}, ["e\u0301", "\u1100\u1161"]),
        ("empty normalizer sequence", {"normalizer": {"type": "Sequence", "normalizers": []}}, ["e\u0301"]),
    ]
    flags = ["a [X] b", "a[X]b", " [X]  [X] \n[X]", "_[X] é[X]é -[X]- ①[X] ⓐ[X]", "[X][X]", "[X]", "\u200d[X]\u3000 x", "[X]] [[X]"]
    for name in ["single_word", "lstrip", "rstrip"]:
        rules.append((name, {"added_tokens": [added("[X]", **{name: True})]}, flags))
    rules += [
        ("all flags", {"added_tokens": [added("[X]", single_word=True, lstrip=True, rstrip=True, special=False)]}, flags),
        ("longest of several", {"added_tokens": [added("ab"), added("abcd"), added("b"), added("cde", special=False)]}, ["abcde", "abcbcde", "xabab cd"]),
        ("normalized tokens", {"normalizer": {"type": "NFC"}, "added_tokens": [added("\u1ed1", normalized=True), added("o\u0302", special=False)]},
         ["xo\u0302\u0301y \u1ed1 \u00f4\u0301", "o\u0302 \u00f4", "o\u0301\u0302"]),
        ("tokens that are entries", {"added_tokens": [added("the", special=False), added("\u0120a")]}, ["the then \u0120a a"]),
        ("tokens outside the byte alphabet", {"added_tokens": [added("<｜eos｜>"), added("two words"), added("\u00e9")]}, ["x<｜eos｜>two words\u00e9"]),
    ]
    return [{"name": name, "patch": patch, "texts": inputs} for name, patch, inputs in rules]


def variant_cases(base: dict) -> list[dict]:
    result = []
    vocab = base["model"]["vocab"]
    for variant in variants():
        patch = variant["patch"]
        new = 0
        for token in patch.get("added_tokens", []):
            token["id"] = vocab.get(token["content"], len(vocab) + new)
            new += token["content"] not in vocab
        tokenizer = load({**base, **patch})
        result.append({"name": variant["name"], "patch": patch, "cases": cases(tokenizer, [text.encode() for text in variant["texts"]])})
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="write the tokenizer fixtures")
    parser.add_argument("qwen3", type=Path, help="Qwen3's tokenizer.json")
    parser.add_argument("tiny", type=Path, help="models/tiny-teacher/tokenizer.json")
    parser.add_argument("out", type=Path, help="tests/data/tokenizer")
    parser.add_argument("--merges", type=int, default=6000, help="of Qwen3's, to keep")
    arguments = parser.parse_args()

    definitions = {
        "qwen3-cut": cut(json.loads(arguments.qwen3.read_text(encoding="utf-8")), arguments.merges),
        "llama3-like": llama3_like(),
        "smollm2-like": smollm2_like(),
    }
    for name, definition in definitions.items():
        write(arguments.out / name / "tokenizer.json", definition)
        write(arguments.out / name / "cases.json", cases(load(definition), texts()))
    write(arguments.out / "tiny-teacher" / "cases.json", cases(Tokenizer.from_file(str(arguments.tiny)), texts()))
    write(arguments.out / "variants.json", variant_cases(definitions["smollm2-like"]))


if __name__ == "__main__":
    main()
