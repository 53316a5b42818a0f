#!/usr/bin/env python3
# Compares random regular expressions on random texts with the Python package `tokenizers`: pieces must be equal wherever
# hypenet reads the expression. Prints every difference, and what was refused by reason.
#     ninja -C build-cpu split_lines && tools/compare_patterns.py build-cpu/tests/split_lines --expressions 10000
import argparse
import collections
import json
import random
import re
import signal
import subprocess
from pathlib import Path

from tokenizers import Regex, pre_tokenizers

LETTERS = list("aaabbsStkKfilnoq013 _-'.!\n\r\t") + list("éÉßſ\u212a\u0130ıŉﬁ日あ한١½Ⅻ²\u0301\u200d\u00a0\u0085\u180e\u2028\u3000٠ǅǆǄσςΣ") + [
    "\U0001fa77", "\U0001d2c0", "\U0001F600", "\u3001", "\ufeff", "\u200b", "\ufffd", "\U0001e900", "\U0001e922", "ⓐ", "Ⓐ", "ᏸ", "Ᏸ", "\x00", "\x1b", "\x7f"]
PROPERTIES = ("L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co Cn LC Letter Number "
              "Punctuation Symbol Mark Separator Other Han Hani Hiragana Katakana Latin Latn Greek Cyrillic Arabic Hangul Thai Common Inherited Zyyy "
              "Alphabetic White_Space Emoji Extended_Pictographic Lowercase Uppercase Any Assigned ASCII alnum alpha blank cntrl digit graph "
              "lower print punct space upper word xdigit Ideographic ID_Start XID_Continue In_Basic_Latin In_Hiragana Nonsense").split()
POSIX = "alnum alpha ascii blank cntrl digit graph lower print punct space upper xdigit word nonsense".split()


class Grammar:
    """Random expressions; `odd` is how often something unusual comes."""

    def __init__(self, rng: random.Random, odd: float):
        self.rng, self.odd = rng, odd

    def is_odd(self) -> bool:
        return self.rng.random() < self.odd

    def expression(self, depth: int = 3) -> str:
        count = 1 if self.rng.random() < 0.6 else self.rng.randint(1, 3)
        return "|".join(self.branch(depth) for _ in range(count))

    def branch(self, depth: int) -> str:
        count = 0 if self.is_odd() and self.rng.random() < 0.3 else self.rng.randint(1, 4)
        return "".join(self.repeated(depth) for _ in range(count))

    def repeated(self, depth: int) -> str:
        text = self.atom(depth)
        if self.rng.random() < 0.4:
            text += self.quantifier()
            while self.is_odd() and self.rng.random() < 0.5:
                text += self.quantifier()
        return text

    def quantifier(self) -> str:
        plain = self.rng.choice(["*", "+", "?"])
        if not self.is_odd():
            return plain
        low, high = self.rng.randint(0, 3), self.rng.randint(0, 3)
        return self.rng.choice([plain + "?", plain + "+", f"{{{low}}}", f"{{{low},}}", f"{{,{high}}}", f"{{{low},{high}}}", "{,}", "{", "{x}",
                                f"{{{low}}}?", f"{{{low},{high}}}?", f"{{{low},{high}}}+", f"{{{low}}}+", f"{{,{high}}}?", f"{{{low},}}+", "}"])

    def atom(self, depth: int) -> str:
        kind = self.rng.random()
        if depth > 0 and kind < 0.25:
            return self.group(depth - 1)
        if kind < 0.45:
            return self.bracket(2)
        if kind < 0.6:
            return self.rng.choice([self.escape_class(), self.escape_class(), "."])
        if self.is_odd():
            return self.oddity()
        return self.literal()

    def literal(self) -> str:
        character = self.rng.choice(LETTERS)
        return "\\" + character if character in "\\.[]{}()*+?^$|-" else character

    def escape_class(self) -> str:
        if self.rng.random() < 0.5:
            return "\\" + self.rng.choice("wWsSdDhH")
        name = self.rng.choice(PROPERTIES)
        if self.is_odd():
            name = "".join(self.rng.choice([c.upper(), c.lower(), c, c + self.rng.choice("_- ")]) for c in name)
        if self.is_odd() and self.rng.random() < 0.3:
            return "\\" + self.rng.choice("pP") + self.rng.choice("LNMPSZCx")
        return "\\" + self.rng.choice("pppP") + "{" + self.rng.choice(["", "", "", "^"]) + name + "}"

    def character(self) -> str:
        if self.is_odd():
            return self.rng.choice(["\\x41", "\\x{61}", "\\x{3042}", "\\u3042", "\\u0073", "\\o{141}", "\\t", "\\n", "\\r", "\\f", "\\v", "\\e", "\\a",
                                    "\\012", "\\0", "\\x", "\\_", "\\y", "\\q", "\\E", "\\x{1F600}", "\\x7f", "\\/", "\\'", "\\<"])
        return self.literal()

    def bracket(self, depth: int) -> str:
        text = "[" + self.rng.choice(["", "", "^"])
        if self.is_odd() and self.rng.random() < 0.2:
            text += self.rng.choice("]-&")
        for _ in range(self.rng.randint(1, 4)):
            kind = self.rng.random()
            if kind < 0.35:
                text += self.character()
            elif kind < 0.5:
                text += self.rng.choice(["a-z", "A-Z", "0-9", "\\x00-\\x7f", "あ-ん", "!-/", " -~", "q-s", "J-L", "é-ſ", "\\x{1F600}-\\x{1FAFF}"])
            elif kind < 0.75:
                text += self.escape_class()
            elif kind < 0.85:
                text += "[:" + self.rng.choice(["", "", "^"]) + self.rng.choice(POSIX) + ":]"
            elif depth > 0 and self.is_odd():
                text += self.rng.choice(["", "&&"]) + self.bracket(depth - 1)
            elif self.is_odd():
                text += self.rng.choice(["&&", "-", "--", "b-a", "\\b", "[:", "&", "^", "\\d-", "a-b-c", "\\-"])
        return text + "]"

    def group(self, depth: int) -> str:
        opening = self.rng.choice(["(?:", "(?:", "("])
        if self.is_odd():
            opening = self.rng.choice(["(?>", "(?=", "(?!", "(?<=", "(?<!", "(?i:", "(?i:", "(?m:", "(?x:", "(?i)", "(?-i:", "(?mi-x:", "(?s:", "(?<n>", "(?'n'",
                                       "(?#", "(?~", "(?W:", "(?P<n>", "(?("])
        closing = "" if opening == "(?i)" else ")"
        return opening + self.expression(depth) + closing

    def oddity(self) -> str:
        return self.rng.choice(["^", "$", "\\A", "\\z", "\\Z", "\\G", "\\b", "\\B", "\\R", "\\N", "\\O", "\\X", "\\K", "\\y", "\\Y", "\\1", "\\k<n>", "\\g<n>",
                                "\\Q", "(?i)", "(?m)", "(?x)", "(?s)", "{", "}", "]", ")", "(", "#", " ", "\\8", "\\10", "(?#c)", "(*FAIL)",
                                self.character(), self.character(), self.character()])


def random_text(rng: random.Random) -> str:
    text = ""
    for _ in range(rng.randint(0, 14)):
        kind = rng.random()
        if kind < 0.85:
            text += rng.choice(LETTERS) * rng.choice([1, 1, 1, 2, 3])
        else:
            code = rng.choice([rng.randrange(0x80), rng.randrange(0x3000), rng.randrange(0x10000), rng.randrange(0x20000), rng.randrange(0x110000)])
            text += chr(code) if not 0xD800 <= code <= 0xDFFF else "x"
    return text


class Timeout(Exception):
    pass


def expected(pattern: str, behavior: str, texts: list[str]) -> dict:
    def stop(*_):
        raise Timeout

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(5)
    try:
        splitter = pre_tokenizers.Split(Regex(pattern), behavior)
        return {"pieces": [[piece for piece, _ in splitter.pre_tokenize_str(text)] for text in texts]}
    except Timeout:
        return {"error": "timeout"}
    except BaseException as error:  # the wheel's panics are no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return {"error": str(error)}
    finally:
        signal.alarm(0)


def reason(error: str) -> str:
    found = re.search(r"found (.*?) (before character|of a|in |\()", error)
    return re.sub(r"(property|class) \S+", r"\1", found[1]) if found else error[:60]


def main() -> None:
    parser = argparse.ArgumentParser(description="compare random expressions with tokenizers")
    parser.add_argument("program", help="build-cpu/tests/split_lines")
    parser.add_argument("--expressions", type=int, default=1000)
    parser.add_argument("--texts", type=int, default=20, help="for each expression")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--odd", type=float, default=0.15, help="how often something unusual comes")
    parser.add_argument("--freeze", type=Path, help="write the equal ones here, as a fixture")
    arguments = parser.parse_args()

    rng = random.Random(arguments.seed)
    counts, refused, differences, kept = collections.Counter(), collections.Counter(), 0, []
    program = subprocess.Popen([arguments.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    for _ in range(arguments.expressions):
        pattern = Grammar(rng, rng.choice([0, arguments.odd, arguments.odd * 2])).expression()
        behavior = rng.choice(["isolated", "isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"])
        texts = [random_text(rng) for _ in range(arguments.texts)]
        if not pattern:
            continue
        question = {"pattern": pattern, "behavior": behavior, "texts": texts}
        program.stdin.write(json.dumps(question) + "\n")
        program.stdin.flush()
        found, wanted = json.loads(program.stdout.readline()), expected(pattern, behavior, texts)
        kind = ("refused by both" if "error" in found else "read here alone") if "error" in wanted else "refused here alone" if "error" in found else "read by both"
        counts[kind] += 1
        if kind == "refused here alone":
            refused[reason(found["error"])] += 1
        elif kind == "read here alone":
            refused["READ HERE ALONE: " + wanted["error"][:70]] += 1
            if wanted["error"] != "timeout":
                print("read here alone:", json.dumps(pattern, ensure_ascii=False), wanted["error"])
        elif kind == "read by both":
            wrong = [(t, f, w) for t, f, w in zip(texts, found["pieces"], wanted["pieces"]) if f != w]
            differences += len(wrong)
            for text, f, w in wrong[:1]:
                print(f"DIFFERENT {json.dumps(pattern, ensure_ascii=False)} {behavior} on {text!r}: tokenizers {w}, hypenet {f}")
            kept.append({**question, **wanted})
    print(dict(counts), "pairs", counts["read by both"] * arguments.texts, "different", differences)
    for what, count in refused.most_common():
        print(f"{count:6} {what}")
    if arguments.freeze:
        arguments.freeze.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


if __name__ == "__main__":
    main()
