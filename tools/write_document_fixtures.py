#!/usr/bin/env python3
"""Writes tests/data/documents/*.parquet with pyarrow: a good file of two row groups, and two that must be refused."""

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
