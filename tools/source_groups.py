#!/usr/bin/env python3
"""Which sources can be compiled as one: those among which no name of a file's own means another thing too.

    tools/source_groups.py MOST FILE ...     prints each file with the number of its group, MOST files a group at most
"""
import functools
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def names_in(text):
    """The names that are defined or declared at the left edge."""
    names = set(re.findall(r"^(?:struct|class|enum(?: class)?|using) (\w+)(?: =| \{| :|;| final)", text, re.MULTILINE))
    names.update(re.findall(r"^TORCH_MODULE\((\w+)\)", text, re.MULTILINE))
    for constants in re.findall(r"^(?:inline )?(?:constexpr|const) [^;]*", text, re.MULTILINE):
        names.update(re.findall(r"\b(k[A-Z]\w*)(?:\[\w*\])*(?: =|\{|$)", constants))
    for enumerators in re.findall(r"^enum (?!class)[^{;]*\{([^}]*)\}", text, re.MULTILINE):
        names.update(re.findall(r"\bk[A-Z]\w*", enumerators))
    return names | set(re.findall(r"^(?!struct|class|enum|using)\w[\w:<>,&*\[\] ]*? [&*]?(\w+)\(", text, re.MULTILINE))


def own_names(file):
    """What a source defines for itself alone: in its unnamed namespaces, and whatever other folders define too."""
    text = file.read_text()
    if file.parent.name in ("cuda", "no_cuda"):
        return names_in(text)
    insides = re.findall(r"^namespace \{\n(.*?)^\}  // namespace$", text, re.DOTALL | re.MULTILINE)
    return set().union(*map(names_in, insides))


@functools.lru_cache(maxsize=None)
def headers_of(file):
    """The project's own headers that a file includes, directly or not."""
    headers = set()
    for name in re.findall(r'^#include "(.*)"', file.read_text(), re.MULTILINE):
        header = next((root / name for root in (ROOT / "src", ROOT) if (root / name).is_file()), None)
        if header is not None:
            headers |= {header} | headers_of(header)
    return headers


@functools.lru_cache(maxsize=None)
def names_of_header(header):
    return names_in(header.read_text())


def groups_of(files, most):
    """The files in as few groups as their names allow, each into the first that takes it."""
    groups = []
    for file in files:
        own = own_names(Path(file))
        seen = set().union(*map(names_of_header, headers_of(Path(file))))
        for group_own, group_seen, sources in groups:
            if len(sources) < most and not own & (group_own | group_seen) and not seen & group_own:
                group_own |= own
                group_seen |= seen
                sources.append(file)
                break
        else:
            groups.append((own, seen, [file]))
    return [sources for _, _, sources in groups]


if __name__ == "__main__":
    for number, sources in enumerate(groups_of(sys.argv[2:], int(sys.argv[1]))):
        for source in sources:
            print(f"{number} {source}")
