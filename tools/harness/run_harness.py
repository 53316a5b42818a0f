#!/usr/bin/env python3
"""Runs lm-evaluation-harness on a local model folder and local data, and times the evaluation alone.

    tools/harness/run_harness.py MODEL DATA OUT --tasks a,b [--limit N] [--shots K] [--device cpu] [--dtype float32] [--batch 8]
Writes OUT/results.json (metrics, errors, seconds of each task: requests, forward passes and metrics, without loading
model or data) and OUT/TASK.jsonl, one line a document: gold, requests, answers and the values of its metrics.
Needs an environment of its own with tools/harness/requirements.txt.
"""
import argparse
import json
import pathlib
import tempfile
import time

import lm_eval
import local_tasks
import torch
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def sample(name, entry, metrics):
    return {"task": name, "doc_id": entry["doc_id"], "target": entry["target"],
            "arguments": [list(arguments) for arguments in entry["arguments"]],
            "resps": [response[0] if isinstance(response, (list, tuple)) and len(response) == 1 else response
                      for response in entry["resps"]],
            **{metric: entry[metric] for metric in metrics if metric in entry}}


def run(model, name, task, options):
    """The task's results and samples, and the seconds they took."""
    synchronize()
    start = time.perf_counter()
    found = evaluate(lm=model, task_dict={name: task}, limit=options.limit, log_samples=True, bootstrap_iters=1000)
    synchronize()
    seconds = time.perf_counter() - start
    results = found["results"][name]
    metrics = [key.split(",")[0] for key in results if "," in key and "_stderr" not in key]
    lines = [sample(name, entry, metrics) for entry in sorted(found["samples"][name], key=lambda one: one["doc_id"])]
    return results | {"seconds": seconds, "documents": len(lines)}, lines


def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "data", "out"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batch", default="8", help="rows of a batch, or auto")
    parser.add_argument("--max-length", type=int)
    options = parser.parse_args()
    model = HFLM(pretrained=str(options.model), device=options.device, dtype=options.dtype, batch_size=options.batch,
                 max_length=options.max_length)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(options).items()}
    results = {"harness": lm_eval.__version__, "torch": torch.__version__, "threads": torch.get_num_threads(),
               "settings": settings, "results": {}}
    with tempfile.TemporaryDirectory() as work:
        tasks = local_tasks.load(options.data, work, options.tasks.split(","), options.shots)
        for name, task in tasks.items():
            results["results"][name], lines = run(model, name, task, options)
            (options.out / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
            print(name, json.dumps(results["results"][name]), flush=True)


if __name__ == "__main__":
    main()
