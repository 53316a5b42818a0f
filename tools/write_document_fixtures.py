#!/usr/bin/env python3
"""Writes tests/data/documents/*.parquet with pyarrow: a good file of two row groups, two that
must be refused, strings of every type, and nested columns. README.md there says what is not from here."""

import pathlib

import pyarrow
import pyarrow.parquet

folder = pathlib.Path(__file__).parent.parent / "tests/data/documents"


def write(name, text):
    table = pyarrow.table({"id": list(range(len(text))), "text": text})
    pyarrow.parquet.write_table(table, folder / name, row_group_size=2)


write("good.parquet", pyarrow.array(["one", "zwei é", "line\nthree"]))
write("large.parquet", pyarrow.array(["one", "two"], pyarrow.large_string()))
write("null.parquet", pyarrow.array(["one", "two", None]))
write("numbers.parquet", pyarrow.array([1, 2, 3]))

words = ["one", "zwei é", None, "one"]
pyarrow.parquet.write_table(
    pyarrow.table(
        {
            "text": pyarrow.array(words).dictionary_encode(),
            "large": pyarrow.array(words, pyarrow.large_string()).dictionary_encode(),
            "view": pyarrow.array(words, pyarrow.string_view()),
            "bytes": pyarrow.array([word and word.encode() for word in words], pyarrow.binary_view()),
            "ints": pyarrow.array([7, 8, 7, None]).dictionary_encode(),
        }
    ),
    folder / "strings.parquet",
)
nested = {"text": [{"body": "one", "id": 1}], "lines": [["a", "b"]], "title": ["x"]}
pyarrow.parquet.write_table(pyarrow.table(nested), folder / "nested.parquet")
