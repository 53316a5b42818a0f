#!/usr/bin/env python3
# Speed of the Python package `tokenizers` on one thread, on the documents that tokenizer_bench takes:
#   tokenizers_bench.py MODEL_FOLDER TEXT.jsonl [MEGABYTES]
import json
import os
import sys
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer  # noqa: E402  (reads the environment when it is imported)

ROUNDS = 5


def read_documents(path: Path, size: int) -> list[str]:
    """The text fields of the first lines that hold `size` bytes of text."""
    documents, total = [], 0
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if total >= size:
                break
            documents.append(json.loads(line)["text"])
            total += len(documents[-1].encode())
    return documents


def best_seconds(action) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        action()
        seconds.append(time.process_time() - started)
    return min(seconds)


def main() -> None:
    folder, path = Path(sys.argv[1]), Path(sys.argv[2])
    megabytes = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    started = time.process_time()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    load = time.process_time() - started
    documents = read_documents(path, megabytes * 1_000_000)
    size = sum(len(document.encode()) for document in documents)
    # encode_batch_fast leaves out offsets, so it is the faster of the library's calls.
    batches = {
        "encode": lambda: [tokenizer.encode(document, add_special_tokens=False) for document in documents],
        "encode_batch_fast": lambda: tokenizer.encode_batch_fast(documents, add_special_tokens=False),
    }
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(documents, add_special_tokens=False)]
    batches["decode"] = lambda: [tokenizer.decode(row, skip_special_tokens=False) for row in ids]
    print(f"{len(documents)} documents, {size} bytes, {sum(map(len, ids))} tokens; load {load * 1000:.0f} ms")
    for name, action in batches.items():
        print(f"{name}: {size / best_seconds(action) / 2**20:.2f} MiB/s")


if __name__ == "__main__":
    main()
