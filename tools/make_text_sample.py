#!/usr/bin/env python3
"""Writes the embedded text sample (data/) from a folder that holds train.jsonl.gz and valid.jsonl.

Of every book cut into modules each k-th module is taken, spread over the book; whole novels are taken whole.
The same input gives the same bytes.

    tools/make_text_sample.py FOLDER [--every 4] [--out data]
"""

import argparse
import collections
import gzip
import json
import pathlib


def is_novel(document):
    return document["source"].startswith("standardebooks/")


def choose(lines, every):
    """The novels, and each `every`-th module of every book."""
    seen = collections.Counter()
    for line in lines:
        document = json.loads(line)
        index = seen[document["source"]]
        seen[document["source"]] += 1
        if is_novel(document) or index % every == 0:
            yield line


def write_gzip(path, lines):
    """No name and no time in the gzip header, so that the file depends on its text alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        for line in lines:
            out.write(line.rstrip(b"\n") + b"\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("data"))
    arguments = parser.parse_args()
    with gzip.open(arguments.source / "train.jsonl.gz") as train:
        write_gzip(arguments.out / "train.jsonl.gz", choose(train, arguments.every))
    with open(arguments.source / "valid.jsonl", "rb") as valid:
        write_gzip(arguments.out / "valid.jsonl.gz", valid)


if __name__ == "__main__":
    main()
