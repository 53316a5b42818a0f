#!/usr/bin/env python3
"""Sets the items of `hypenet eval --log-samples` beside those of run_harness.py.

    tools/harness/compare_predictions.py OURS THEIRS [--out comparison.json]     files or folders of JSON lines
For each task that both have: documents, the share whose requests are the same text, the share with equal predictions
(arg max of the choices for acc, by length for acc_norm; the greedy flag; the generated text), each metric of both and
their difference in the harness's standard errors, the largest difference of a log-likelihood and the sums of all
(which decide perplexities).
"""
import argparse
import json
import math
import pathlib

METRICS = ("acc", "acc_norm", "contains", "all")


def read_samples(path):
    """{task: {doc_id: line}}"""
    tasks = {}
    for file in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
        for line in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            tasks.setdefault(line["task"], {})[line["doc_id"]] = line
    return tasks


def requests(line):
    """Texts and what ends a generation; the harness also says that it does not sample."""
    kept = ("until", "max_gen_toks")
    return [[{key: part[key] for key in kept} if isinstance(part, dict) else part for part in arguments]
            for arguments in line["arguments"]]


def log_likelihoods(line):
    """One number a request; none for what is generated."""
    values = [response[0] if isinstance(response, list) else response for response in line["resps"]]
    return [] if isinstance(values[0], str) else values


def first_maximum(values):
    return values.index(max(values))


def predictions(line):
    """{metric: what was predicted}"""
    sums = log_likelihoods(line)
    if not sums:
        return {"text": line["resps"]}
    if len(sums) == 1:
        response = line["resps"][0]
        return {"acc": response[1]} if isinstance(response, list) and len(response) > 1 else {}
    found = {"acc": first_maximum(sums)}
    if "acc_norm" in line:
        lengths = [len(arguments[1].removeprefix(" ")) for arguments in line["arguments"]]
        found["acc_norm"] = first_maximum([value / length for value, length in zip(sums, lengths)])
    return found


def mean_and_error(lines, metric):
    values = [float(line[metric]) for line in lines]
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


def compare_metric(ours, theirs, metric):
    (our_mean, _), (their_mean, error) = mean_and_error(ours, metric), mean_and_error(theirs, metric)
    difference = our_mean - their_mean
    return {"ours": our_mean, "harness": their_mean, "error": error,
            "difference_in_errors": difference / error if error > 0 else (0.0 if difference == 0 else math.inf)}


def compare_task(ours, theirs):
    places = sorted(set(ours) & set(theirs))
    pairs = [(ours[place], theirs[place]) for place in places]
    guesses = [(predictions(a), predictions(b)) for a, b in pairs]
    kinds = guesses[0][1].keys()
    differences = [abs(x - y) for a, b in pairs for x, y in zip(log_likelihoods(a), log_likelihoods(b))]
    return {
        "documents": len(places), "only_ours": len(ours) - len(places), "only_harness": len(theirs) - len(places),
        "same_requests": sum(requests(a) == requests(b) for a, b in pairs) / len(pairs),
        "equal_predictions": {kind: sum(a[kind] == b[kind] for a, b in guesses) / len(pairs) for kind in kinds},
        "metrics": {metric: compare_metric([ours[place] for place in places], [theirs[place] for place in places], metric)
                    for metric in METRICS if metric in pairs[0][0] and metric in pairs[0][1]},
        "largest_difference_of_log_likelihood": max(differences, default=None),
        "sums_of_log_likelihoods": [sum(sum(log_likelihoods(pair[side])) for pair in pairs) for side in (0, 1)],
    }


def describe(task, result):
    yield (f"{task}: {result['documents']} documents ({result['only_ours']} ours alone, "
           f"{result['only_harness']} the harness's alone), same requests {result['same_requests']:.2%}")
    for kind, share in result["equal_predictions"].items():
        yield f"  equal predictions ({kind}): {share:.2%}"
    for metric, values in result["metrics"].items():
        yield (f"  {metric}: ours {values['ours']:.4f}, harness {values['harness']:.4f} ± {values['error']:.4f}, "
               f"difference {values['difference_in_errors']:+.2f} standard errors")
    if result["largest_difference_of_log_likelihood"] is not None:
        our_sum, their_sum = result["sums_of_log_likelihoods"]
        yield (f"  log-likelihoods: largest difference {result['largest_difference_of_log_likelihood']:.4g}, "
               f"sum {our_sum:.3f}, harness {their_sum:.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours", type=pathlib.Path)
    parser.add_argument("theirs", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    ours, theirs = read_samples(options.ours), read_samples(options.theirs)
    results = {task: compare_task(ours[task], theirs[task]) for task in theirs if task in ours}
    if not results:
        parser.error(f"no task in both: {sorted(ours)} and {sorted(theirs)}")
    for task, result in results.items():
        print("\n".join(describe(task, result)))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
