"""lm-evaluation-harness's tasks on local files: its own task definitions, with data in the columns that they expect.

The data folder is one that `hypenet eval --data-dir` takes: data sets of the hub by their own files, or the authors'
archives (ARC-V1 JSON lines, PIQA's labels in a file of their own, wiki.test.raw ...), which are rewritten.
"""
import gzip
import json
from pathlib import Path

import datasets
import lm_eval
from lm_eval.tasks import TaskManager, get_task_dict

DEFINITIONS = Path(lm_eval.__file__).parent / "tasks"

# task -> (the harness's definition, hub data set, its configuration's folder, {split: split of the files})
HUB = {
    "arc_easy": ("arc/arc_easy.yaml", "ai2_arc", "ARC-Easy", ("test", "train")),
    "arc_challenge": ("arc/arc_challenge.yaml", "ai2_arc", "ARC-Challenge", ("test", "train")),
    "hellaswag": ("hellaswag/hellaswag.yaml", "hellaswag", "data", ("validation", "train")),
    "piqa": ("piqa/piqa.yaml", "piqa", "plain_text", ("validation", "train")),
    "winogrande": ("winogrande/default.yaml", "winogrande", "winogrande_xl", ("validation", "train")),
    "openbookqa": ("openbookqa/openbookqa.yaml", "openbookqa", "main", ("test", "train")),
    "mmlu_astronomy": ("mmlu/default/mmlu_astronomy.yaml", "mmlu", "astronomy", ("test", "dev")),
    "lambada_openai": ("lambada/lambada_openai.yaml", "lambada_openai", "default", ("test",)),
    "wikitext": ("wikitext/wikitext.yaml", "wikitext_document_level", "wikitext-2-raw-v1", ("test",)),
}
RECALL = {"fda": ("fda", "FDA", "based-fda"), "swde": ("swde", "SWDE", "based-swde-v2"),
          "squad_completion": ("squad_completion", "SQUADCompletion", "based-squad")}


def read_lines(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def arc_rows(path):
    for row in read_lines(path):
        choices = row["question"]["choices"]
        yield {"id": row["id"], "question": row["question"]["stem"], "answerKey": row["answerKey"],
               "choices": {"text": [c["text"] for c in choices], "label": [c["label"] for c in choices]}}


def hellaswag_rows(path):
    """Texts that are already one context: cut so that the harness's own processing puts them together again."""
    for row in read_lines(path):
        activity, context = row["ctx"].split(": ", 1)
        yield {"activity_label": activity, "ctx_a": context, "ctx_b": "", "endings": row["endings"],
               "label": str(row["label"])}


def piqa_rows(path):
    labels = path.with_name(path.stem + "-labels.lst").read_text().split()
    for row, label in zip(read_lines(path), labels, strict=True):
        yield {**row, "label": int(label)}


def wikitext_pages(text):
    """The pages of a raw file as EleutherAI/wikitext_document_level has them: a heading of the first level begins one."""
    page = []
    for line in text.split("\n"):
        heading = line.replace("= = =", "===").replace("= =", "==").strip()
        if heading.startswith("= ") and heading.endswith(" ="):
            if "\n".join(page).strip():
                yield {"page": "\n".join(page)}
            page = []
        page.append(line)
    yield {"page": "\n".join(page)}


# task -> (split, file under the data folder, rows of it in the hub's columns)
AUTHORS = {
    "arc_easy": ("test", "arc/ARC-Easy-Test.jsonl", arc_rows),
    "arc_challenge": ("test", "arc/ARC-Challenge-Test.jsonl", arc_rows),
    "hellaswag": ("validation", "hellaswag/hellaswag_val.jsonl*", hellaswag_rows),
    "piqa": ("validation", "piqa/valid.jsonl", piqa_rows),
    "winogrande": ("validation", "winogrande/winogrande_dev.jsonl", read_lines),
    "wikitext": ("test", "wikitext-2/wiki.test.raw", lambda path: wikitext_pages(path.read_text(encoding="utf-8"))),
}


def hub_files(data, name, folder, splits):
    files = {split: sorted(map(str, (data / name / folder).glob(f"{split}-*.parquet"))) for split in splits}
    return {split: found for split, found in files.items() if found}


def write_authors_rows(data, work, task):
    """{split: files} of JSON lines under `work`; nothing where the data folder has no such file."""
    split, pattern, rows = AUTHORS.get(task, (None, None, None))
    found = sorted(data.glob(pattern)) if pattern else []
    if not found:
        return {}
    path = work / f"{task}.jsonl"
    with open(path, "w", encoding="utf-8") as out:
        for row in rows(found[0]):
            out.write(json.dumps(row) + "\n")
    return {split: [str(path)]}


def write_definition(work, task, definition, files):
    """A definition that includes the harness's and reads local files. Splits without files are said not to exist."""
    own = DEFINITIONS / definition
    kind = "parquet" if next(iter(files.values()))[0].endswith(".parquet") else "json"
    lines = {"include": str(own), "task": task, "dataset_path": kind, "dataset_name": None,
             "dataset_kwargs": {"data_files": files}}
    for key, split in (("training_split", "train"), ("validation_split", "validation"), ("test_split", "test")):
        if split not in files:
            lines[key] = None
    (work / f"{task}.yaml").write_text(json.dumps(lines, indent=1))  # JSON is YAML


def recall_task(task, files):
    """The harness's class, reading local files."""
    module, name, _ = RECALL[task]
    base = getattr(__import__(f"lm_eval.tasks.{module}.task", fromlist=[name]), name)

    def download(self, *_, **__):
        self.dataset = datasets.load_dataset("parquet", data_files=files)

    made = type(name, (base,), {"download": download})()
    made.config.task = task
    return made


def load(data, work, tasks, shots=0):
    """{task: the harness's task object}, ready to build requests, for those of `tasks` whose data is there."""
    data, work = Path(data), Path(work)
    work.mkdir(parents=True, exist_ok=True)
    made, defined = {}, []
    for task in tasks:
        if task in RECALL:
            if files := hub_files(data, RECALL[task][2], "data", ("validation",)):
                made[task] = recall_task(task, files)
            continue
        definition, name, folder, splits = HUB[task]
        if files := hub_files(data, name, folder, splits) or write_authors_rows(data, work, task):
            write_definition(work, task, definition, files)
            defined.append(task)
    made.update(get_task_dict(defined, TaskManager(include_path=str(work), include_defaults=False)) if defined else {})
    for task in made.values():
        task.set_config(key="num_fewshot", value=shots)
        task.set_fewshot_seed(seed=1234)
    return {task: made[task] for task in tasks if task in made}
