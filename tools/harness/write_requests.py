#!/usr/bin/env python3
"""Writes the requests that lm-evaluation-harness makes of the first documents: tests/data/harness/requests/*.json.

    tools/harness/write_requests.py DATA TOKENIZER OUT [--shots K] [--limit N] [--tasks a,b]
Needs an environment of its own with tools/harness/requirements.txt.
"""
import argparse
import json
import pathlib
import tempfile

import lm_eval
import local_tasks
import transformers
from lm_eval.models.huggingface import HFLM


class TokenizerAlone(HFLM):
    """The harness's encoding without a model."""

    def __init__(self, folder):  # noqa: the base class would load a model
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.backend, self.add_bos_token, self.custom_prefix_token_id = "causal", False, None

    def pair(self, context, continuation):
        if context == "":
            return [self.prefix_token_id], self.tok_encode(continuation)
        return self._encode_pair(context, continuation)


def describe(request, encoder):
    if request.request_type == "loglikelihood":
        context, continuation = request.args
        ctx, cont = encoder.pair(context, continuation)
        return {"kind": "loglikelihood", "context": context, "continuation": continuation, "ctx": ctx, "cont": cont}
    if request.request_type == "loglikelihood_rolling":
        return {"kind": "rolling", "context": request.args[0]}
    context, settings = request.args
    return {"kind": "generate", "context": context, "until": settings["until"],
            "max_tokens": settings["max_gen_toks"], "ctx": encoder.tok_encode(context)}


def gold(task, document):
    """The place of the right choice, or the answer as text; nothing where the request says it."""
    kind = task.config.output_type if hasattr(task, "config") else None
    if kind in ("loglikelihood", "loglikelihood_rolling"):
        return None
    if kind == "multiple_choice" and task.multiple_input:
        return task.doc_to_text(document)
    return task.doc_to_target(document)


def requests_of(task, limit, encoder):
    task.build_all_requests(limit=limit, rank=0, world_size=1)
    documents = {}
    for request in sorted(task.instances, key=lambda one: (one.doc_id, one.idx)):
        entry = documents.setdefault(request.doc_id, {"gold": gold(task, request.doc), "requests": []})
        entry["requests"].append(describe(request, encoder))
    return list(documents.values())


def main():
    parser = argparse.ArgumentParser()
    for name in ("data", "tokenizer", "out"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--tasks", default=",".join([*local_tasks.HUB, *local_tasks.RECALL]))
    options = parser.parse_args()
    encoder = TokenizerAlone(options.tokenizer)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        tasks = local_tasks.load(options.data, work, options.tasks.split(","), options.shots)
        for name, task in tasks.items():
            documents = requests_of(task, options.limit, encoder)
            head = json.dumps({"harness": lm_eval.__version__, "task": name, "shots": options.shots})
            lines = ",\n".join(json.dumps(document, ensure_ascii=False) for document in documents)
            (options.out / f"{name}.json").write_text(f'{head[:-1]}, "documents": [\n{lines}\n]}}\n')
            print(name, len(documents))


if __name__ == "__main__":
    main()
