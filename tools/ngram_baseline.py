#!/usr/bin/env python3
"""Held-out perplexity of an n-gram model on token ids: the number that the embedded teacher has to beat.

Interpolated modified Kneser-Ney (Chen and Goodman 1999, with a discount each for counts 1, 2 and 3 or more, at every
order, and the uniform distribution below the unigrams). Needs numpy and tokenizers, which `make build` does not install.

    tools/ngram_baseline.py --train data/train.jsonl.gz --valid data/valid.jsonl.gz [--order 5] [--window 256]

Documents are joined with the end token between them, as `hypenet data tokenize` does. Every token but the first is
predicted: once from all the text before it, and once with the history cut at windows of --window tokens, as the
teacher is measured.
"""
import argparse
import gzip
import json
import math
import time

import numpy as np
from tokenizers import Tokenizer


def read_texts(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def token_stream(path, tokenizer, end):
    ids = []
    for encoded in tokenizer.encode_batch(read_texts(path)):
        ids.extend(encoded.ids)
        ids.append(end)
    return np.array(ids, dtype=np.int64)


class Order:
    """All n-grams of one length, sorted by key = (index of the n-gram's first n-1 tokens one order below) * V + last token."""

    def __init__(self, keys, counts, contexts, vocabulary):
        self.keys, self.counts = keys, counts
        context_of = keys // vocabulary
        buckets = np.minimum(counts, 3)
        discounts = np.array([0.0, *self.discounts(counts)])
        self.discounted = (counts - discounts[buckets]).astype(np.float64)
        self.total = np.bincount(context_of, counts, contexts)
        self.reserved = np.bincount(context_of, discounts[buckets], contexts)  # mass left to the order below, times total

    @staticmethod
    def discounts(counts):
        """The discounts of counts 1, 2 and 3 or more, from the number of n-grams seen once to four times."""
        n1, n2, n3, n4 = (max(1, int((counts == c).sum())) for c in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        return [min(c, max(0.0, c - (c + 1) * y * more / these))
                for c, these, more in ((1, n1, n2), (2, n2, n3), (3, n3, n4))]

    def find(self, context, token, vocabulary):
        """The index of each n-gram, or -1."""
        key = context * vocabulary + token
        place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        return np.where((context >= 0) & (self.keys[place] == key), place, -1)


def train(stream, order, vocabulary):
    """The orders 1 to `order`. All but the highest count the different tokens that an n-gram was seen after."""
    unique, at, counts = np.unique(stream, return_inverse=True, return_counts=True)
    keys, suffixes = [unique], []  # at[i]: index of the n-gram that ends at token i
    for n in range(2, order + 1):
        # The n-gram that ends at token i; the shorter arrays leave out the first tokens of the stream.
        key = at[:-1] * vocabulary + stream[n - 1:]
        unique, first, inverse, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
        suffixes.append(at[1:][first])  # the (n-1)-gram without its first token
        keys.append(unique)
        at = inverse
    orders = []
    for n in range(1, order + 1):
        if n < order:  # at least one: what stands at the very start of the stream was seen after nothing
            counts_n = np.maximum(np.bincount(suffixes[n - 1], minlength=len(keys[n - 1])), 1)
        else:
            counts_n = counts
        orders.append(Order(keys[n - 1], counts_n, 1 if n == 1 else len(keys[n - 2]), vocabulary))
    return orders


def log_probabilities(orders, stream, vocabulary, window):
    """log P(token | history) of every token but the first; `window` cuts the history, 0 leaves it whole."""
    targets = np.arange(1, len(stream))
    history = targets if window == 0 else (targets - 1) % window + 1
    probability = np.full(len(targets), 1.0 / vocabulary)
    found = np.zeros(len(stream), dtype=np.int64)  # index of the n-gram that ends at token i; -1 when it was never seen
    for n, order in enumerate(orders, 1):
        context = np.zeros(len(stream), dtype=np.int64)
        if n > 1:
            context[0], context[1:] = -1, found[:-1]
        found = order.find(context, stream, vocabulary)
        here, which = context[1:], found[1:]
        total = np.where(here >= 0, order.total[here], 0.0)
        used = (total > 0) & (history >= n - 1)
        seen = np.where(which >= 0, order.discounted[which], 0.0)
        mixed = (seen + order.reserved[here] * probability) / np.where(used, total, 1.0)
        probability = np.where(used, mixed, probability)
    return np.log(probability)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--valid", nargs="+", required=True)
    parser.add_argument("--tokenizer", default="models/tiny-teacher/tokenizer.json")
    parser.add_argument("--end", default="<|endoftext|>")
    parser.add_argument("--order", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--window", type=int, default=256)
    options = parser.parse_args()

    began = time.time()
    tokenizer = Tokenizer.from_file(options.tokenizer)
    vocabulary, end = tokenizer.get_vocab_size(), tokenizer.token_to_id(options.end)
    train_ids = np.concatenate([token_stream(path, tokenizer, end) for path in options.train])
    valid_ids = np.concatenate([token_stream(path, tokenizer, end) for path in options.valid])
    print(f"{len(train_ids)} training tokens, {len(valid_ids)} held-out tokens, {vocabulary} entries "
          f"({time.time() - began:.0f} s)")
    for order in options.order:
        began = time.time()
        orders = train(train_ids, order, vocabulary)
        whole, cut = (math.exp(-log_probabilities(orders, valid_ids, vocabulary, window).mean())
                      for window in (0, options.window))
        print(f"order {order}: perplexity {whole:.2f} with the whole history, {cut:.2f} in windows of {options.window} "
              f"({time.time() - began:.0f} s)")


if __name__ == "__main__":
    main()
