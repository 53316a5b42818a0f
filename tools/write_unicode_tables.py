#!/usr/bin/env python3
# Writes src/text/unicode_{categories,scripts,blocks,properties,case}.cpp: the character classes of Oniguruma as the Python package
# `tokenizers` matches them, asked character by character, and which characters Unicode 9 had, whose tables it normalises by.
import argparse
import re
import subprocess
from collections import defaultdict
from multiprocessing import Pool
from pathlib import Path

from tokenizers import Regex, pre_tokenizers

STEP = 61
# In the long stretches of ideographs, Hangul, private use and nothing, one character in 61 is asked first.
UNIFORM = [(0x3400, 0x4DB0), (0x4E00, 0x9FF0), (0xAC00, 0xD7A0), (0xE000, 0xF8F0), (0x17000, 0x187F0), (0x20000, 0x2A6D0), (0x2A700, 0x2B730),
           (0x2B740, 0x2B810), (0x2B820, 0x2CEA0), (0x2CEB0, 0x2EBE0), (0x30000, 0x31340), (0x31350, 0x323A0), (0x323B0, 0x3FFF0)]
UNIFORM += [(plane << 16, (plane << 16) + 0xFFF0) for plane in (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16)] + [(0xE0200, 0xEFFF0)]
UNIFORM.sort()
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
CATEGORIES = "c cc cf cn co cs l lc ll lm lo lt lu m mc me mn n nd nl no p pc pd pe pf pi po ps s sc sk sm so z zl zp zs".split()
POSIX = "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit".split()
PROPERTIES = "cwcf cwcm ahex ideo emod math dash".split()
LEFT_OUT = {"InCB"}  # no set of characters


def matched(expression: str, codes: list[int], text: str) -> list[int]:
    """The code points of the text that the expression matches, one at a time."""
    rest = pre_tokenizers.Split(Regex(f"(?:{expression})+"), "removed").pre_tokenize_str(text)
    found, at = [], 0
    for _, (begin, end) in rest:
        found += codes[at:begin]
        at = end
    return found + codes[at:]


def asked_first() -> list[int]:
    codes, at = [], 0
    for first, last in UNIFORM + [(0x110000, 0x110000)]:
        codes += [code for code in range(at, first) if not 0xD800 <= code <= 0xDFFF] + list(range(first, last, STEP))
        at = last
    return codes


CODES = asked_first()
TEXT = "".join(map(chr, CODES))


def ranges(codes: list[int]) -> list[tuple[int, int]]:
    result = []
    for code in codes:
        # The surrogates, which no text has, would cut a range in two.
        if result and (code == result[-1][1] + 1 or (result[-1][1], code) == (0xD7FF, 0xE000)):
            result[-1] = (result[-1][0], code)
        else:
            result.append((code, code))
    return result


def number(value: int) -> str:
    """Five bits a digit, the lowest first; all but the last have the sixth bit set."""
    digits = ""
    while value >= 32:
        digits += DIGITS[value % 32 + 32]
        value //= 32
    return digits + DIGITS[value]


def packed(spans: list[tuple[int, int]]) -> str:
    """For each range how far it begins behind the last one's end, and how many more than one it has."""
    text, at = "", 0
    for first, last in spans:
        text += number(first - at) + number(last - first)
        at = last + 1
    return text


def loose(name: str) -> str:
    return re.sub("[ _-]", "", name).lower()


def ask(expression: str) -> tuple[tuple[int, int], ...]:
    try:
        found = set(matched(expression, CODES, TEXT))
        for a, b in zip(CODES, CODES[1:]):
            between = [] if b == a + 1 or (a, b) == (0xD7FF, 0xE000) else list(range(a + 1, b))
            if between and (a in found) != (b in found):
                found.update(matched(expression, between, "".join(map(chr, between))))
            elif between and a in found:
                found.update(between)
        return tuple(ranges(sorted(found)))
    except Exception as error:  # the wheel knows fewer names than the list
        print(f"left out: {expression}: {error}")
        return ()


def case_groups(cased: list[int]) -> list[list[int]]:
    """Characters that (?i) takes for one another; a class in brackets must say the same as a character alone."""
    text = "".join(chr(code) + "\0" for code in cased)
    codes = [part for code in cased for part in (code, 0)]
    groups = set()
    for code in cased:
        alone = [c for c in matched(rf"(?i:\x{{{code:x}}})", codes, text) if c]
        assert alone == [c for c in matched(rf"(?i:[\x{{{code:x}}}])", codes, text) if c], hex(code)
        if len(alone) > 1:
            groups.add(tuple(alone))
    assert len({code for group in groups for code in group}) == sum(map(len, groups)), "groups overlap"
    return sorted(map(list, groups))


def long_folds(cased: list[int]) -> dict[int, str]:
    """Characters that (?i) takes for several others."""
    folds = {code: chr(code).casefold() for code in cased if len(chr(code).casefold()) > 1}
    for code, text in folds.items():
        pieces = pre_tokenizers.Split(Regex(rf"(?i:\x{{{code:x}}})"), "isolated").pre_tokenize_str(text)
        assert len(pieces) == 1, hex(code)
    return folds


def assigned_in_9() -> tuple[tuple[int, int], ...]:
    script = r'for (0..0x10FFFF) { next if $_ >= 0xD800 && $_ <= 0xDFFF; print "$_\n" if chr($_) =~ /\p{In=9.0}/ }'
    lines = subprocess.run(["perl", "-e", script], capture_output=True, text=True, check=True).stdout.split()
    return tuple(ranges([int(line) for line in lines]))


def literals(text: str, indent: str) -> str:
    width = 98 - len(indent)
    return "\n".join(f'{indent}"{text[i:i + width]}"' for i in range(0, len(text), width))


def file(what: str, body: str) -> str:
    return (f"// {what}\n// Written by tools/write_unicode_tables.py; text/unicode_table.cpp reads it.\n"
            '#include "text/unicode_table.h"\n\nnamespace hypenet::unicode_table {\n\n// clang-format off\n'
            f"{body}// clang-format on\n\n}}  // namespace hypenet::unicode_table\n")


def sets_source(array: str, sets: dict[tuple, list[str]]) -> str:
    rows = []
    for spans, names in sorted(sets.items(), key=lambda item: item[1]):
        head, data = f'    {{"{" ".join(sorted(names))}",', packed(list(spans))
        short = f'{head} "{data}"}},\n'
        rows.append(short if len(short) <= 101 else f"{head}\n" + literals(data, "     ") + "},\n")
    return f"constexpr PackedSet {array}List[] = {{\n" + "".join(rows) + f"}};\nconst std::span<const PackedSet> {array} = {array}List;\n"


def case_source(groups: list[list[int]], folds: dict[int, str]) -> str:
    text, last = "", 0
    for group in groups:
        text += number(group[0] - last) + number(len(group) - 2)
        text += "".join(number(b - a) for a, b in zip(group, group[1:]))
        last = group[0]
    rows = "".join(f'    {{{code:#x}, U"' + "".join(f"\\x{ord(c):x}" for c in fold) + '"},\n' for code, fold in sorted(folds.items()))
    return ("const std::string_view kCaseGroups =\n" + literals(text, "    ") + ";\n\n"
            "constexpr LongFold kLongFoldsList[] = {\n" + rows + "};\nconst std::span<const LongFold> kLongFolds = kLongFoldsList;\n")


def kind_of(names: list[str]) -> str:
    if any(name in CATEGORIES for name in names):
        return "categories"
    if all(name.startswith("in") and name != "inherited" for name in names):
        return "blocks"
    is_property = any(name in PROPERTIES or name[0] in "[\\=" for name in names)
    return "scripts" if not is_property and any(len(name) == 4 for name in names) else "properties"


def write_sets(answers: dict[str, tuple], out: Path) -> None:
    sets = defaultdict(list)
    for name, spans in answers.items():
        if spans or name == "cs":
            sets[spans].append(name)
    kinds = defaultdict(dict)
    for spans, names in sets.items():
        kinds[kind_of(names)][spans] = names
    for kind, what in (("categories", "General categories"), ("scripts", "Scripts"), ("blocks", "Blocks"),
                       ("properties", "Binary properties and POSIX classes")):
        text = file(f"{what} of Unicode 16.", sets_source(f"k{kind.capitalize()}", kinds[kind]))
        (out / f"unicode_{kind}.cpp").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="write the Unicode tables of src/text")
    parser.add_argument("names", type=Path, help="Oniguruma's doc/UNICODE_PROPERTIES: the names to ask for")
    parser.add_argument("out", type=Path, help="src/text")
    arguments = parser.parse_args()

    names = [name for name in arguments.names.read_text(encoding="utf-8").splitlines()[1:] if name and name not in LEFT_OUT]
    expressions = {loose(name): rf"\p{{{name}}}" for name in names + POSIX} | {f"[:{name}:]": f"[[:{name}:]]" for name in POSIX}
    expressions |= {rf"\\{letter}": rf"\{letter}" for letter in "wsdh"}
    with Pool() as pool:
        answers = dict(zip(expressions, pool.map(ask, expressions.values(), chunksize=4)))
    answers["=9"] = assigned_in_9()
    write_sets(answers, arguments.out)
    cased = sorted({code for name in ("cased", "cwcf", "cwcm") for a, b in answers[name] for code in range(a, b + 1)})
    text = file("Letters that (?i) takes for one another, and for several.", case_source(case_groups(cased), long_folds(cased)))
    (arguments.out / "unicode_case.cpp").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
