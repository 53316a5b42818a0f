"""Commands and options that the pages name are the program's: `hypenet X --y` stands in the help of hypenet X.

    tests/e2e/pages_commands_test.py PROGRAM [ROOT]
"""
import functools
import re
import subprocess
import sys
from pathlib import Path

COMMAND = re.compile(r"(?:build(?:-cpu)?/)?\bhypenet(?:-cuda)? ((?:bench|data) [a-z]+|[a-z]+)((?: +[^\n`|;&]*)?)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
ALONE = re.compile(r"`(--[a-z][a-z0-9-]*)[^`\n]*`")  # an option in the text, of any command
PAGES = ["README.md", "CONTRIBUTING.md", "docs/**/*.md"]
OTHER_PROGRAMS = ["scripts/*", "tools/*", "tests/e2e/*.py", "bench/peers/*"]


def listed(shown):
    """Subcommands in a help text."""
    return re.findall(r"^  ([a-z-]+)  ", shown.partition("Subcommands:")[2], re.MULTILINE)


def main():
    program, root = sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).resolve().parents[2])

    @functools.lru_cache(None)
    def help_of(*words):
        return subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=False).stdout

    every = set()
    for name in listed(help_of()):
        for words in [(name,), *((name, inner) for inner in listed(help_of(name)))]:
            every |= set(OPTION.findall(help_of(*words)))
    for pattern in OTHER_PROGRAMS:
        for file in root.glob(pattern):
            every |= set(OPTION.findall(file.read_text(encoding="utf-8"))) if file.is_file() else set()

    complaints, count = [], 0
    for page in sorted(file for pattern in PAGES for file in root.glob(pattern)):
        text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
        place = page.relative_to(root)
        for match in COMMAND.finditer(text):
            options = OPTION.findall(match[2])
            if not options:
                continue  # prose, as in "hypenet turns"
            count += 1
            words = match[1].split()
            known = set(OPTION.findall(help_of(*words)))
            complaints += [f"{place}: hypenet {match[1]} has no {option}" for option in options if option not in known]
        complaints += [f"{place}: {option} is an option of nothing" for option in ALONE.findall(text) if option not in every]
    assert count > 50, f"expected commands in the pages, found {count}"
    print("\n".join(complaints) if complaints else f"pages: {count} commands")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
