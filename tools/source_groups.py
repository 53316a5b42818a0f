#!/usr/bin/env python3
"""Which sources can be compiled as one: those within which no name of a file's own means two things.

    tools/source_groups.py MOST FILE ...     prints each file with the number of its group, MOST files a group at most
"""
import re
import sys
from pathlib import Path


def own_names(file):
    """What a source defines for itself alone: the names at the left edge of its unnamed namespaces."""
    names = set()
    for inside in re.findall(r"^namespace \{\n(.*?)^\}  // namespace$", Path(file).read_text(), re.DOTALL | re.MULTILINE):
        names.update(re.findall(r"^(?:struct|class|enum class|using) (\w+)(?: =| \{| :|;| final)", inside, re.MULTILINE))
        for constants in re.findall(r"^(?:constexpr|const) [^;]*", inside, re.MULTILINE):
            names.update(re.findall(r"\b(k[A-Z]\w*)(?:\[\w*\])*(?: =|\{|$)", constants))
        names.update(re.findall(r"^(?!struct|class|enum|using)\w[\w:<>,&*\[\] ]*? [&*]?(\w+)\(", inside, re.MULTILINE))
    return names


def groups_of(files, most):
    """The files in as few groups as their names allow, each into the first that takes it."""
    groups = []
    for file in files:
        names = own_names(file)
        for taken, sources in groups:
            if not taken & names and len(sources) < most:
                taken |= names
                sources.append(file)
                break
        else:
            groups.append((names, [file]))
    return [sources for _, sources in groups]


if __name__ == "__main__":
    for number, sources in enumerate(groups_of(sys.argv[2:], int(sys.argv[1]))):
        for source in sources:
            print(f"{number} {source}")
