#!/usr/bin/env python3
"""Writes tests/data/ruler: what RULER's own scripts and NLTK make of small texts.

    tools/ruler/write_fixtures.py RULER/scripts/data TESTS_DATA

RULER is a checkout of github.com/NVIDIA/RULER; its scripts run in a copy, on the texts below in place of Paul Graham's
essays, SQuAD and HotpotQA. Needs nltk 3.9.2, wonderwords 2.2.0, numpy, scipy, tokenizers or transformers.
"""
import gzip
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TOKENIZER = ROOT / "models" / "tiny-teacher"
TRAINING = slice(20_000, 80_000)  # characters of the novel that Punkt learns from
ESSAYS = slice(100_000, 117_000)
PARAGRAPHS = slice(130_000, 200_000)

NEEDLES = {
    "niah_single_1": "--type_haystack noise --type_needle_k words --type_needle_v numbers",
    "niah_single_2": "--type_haystack essay --type_needle_k words --type_needle_v numbers",
    "niah_single_3": "--type_haystack essay --type_needle_k words --type_needle_v uuids",
    "niah_multikey_1": "--type_haystack essay --type_needle_k words --type_needle_v numbers --num_needle_k 4",
    "niah_multikey_2": "--type_haystack needle --type_needle_k words --type_needle_v numbers",
    "niah_multikey_3": "--type_haystack needle --type_needle_k uuids --type_needle_v uuids",
    "niah_multivalue": "--type_haystack essay --type_needle_k words --type_needle_v numbers --num_needle_v 4",
    "niah_multiquery": "--type_haystack essay --type_needle_k words --type_needle_v numbers --num_needle_q 4",
}
# Script, its settings, RULER's name of the task's texts.
TASKS = {name: ("niah.py", settings, "niah") for name, settings in NEEDLES.items()} | {
    "ruler_vt": ("variable_tracking.py", "--num_chains 1 --num_hops 4", "variable_tracking"),
    "ruler_cwe": ("common_words_extraction.py", "--freq_cw 30 --freq_ucw 3 --num_cw 10", "common_words_extraction"),
    "ruler_fwe": ("freq_words_extraction.py", "--alpha 2.0", "freq_words_extraction"),
    "ruler_qa_squad": ("qa.py", "--dataset squad", "qa"),
    "ruler_qa_hotpot": ("qa.py", "--dataset hotpotqa", "qa"),
}
# RULER's scripts never end when the smallest prompt is too long: 500 words of an essay need more than 1024 tokens.
CASES = [("niah_single_1", 512, 3), ("niah_single_1", 4096, 3), ("niah_single_2", 2048, 3), ("niah_single_2", 4096, 3),
         ("niah_single_2", 12288, 1), ("niah_single_3", 4096, 3), ("niah_multikey_1", 4096, 3),
         ("niah_multikey_2", 512, 3), ("niah_multikey_2", 4096, 3), ("niah_multikey_3", 2048, 3),
         ("niah_multikey_3", 8192, 2), ("niah_multivalue", 4096, 3), ("niah_multiquery", 4096, 3),
         ("ruler_vt", 1024, 3), ("ruler_vt", 4096, 3), ("ruler_cwe", 2048, 3), ("ruler_cwe", 4096, 3),
         ("ruler_fwe", 1024, 3), ("ruler_fwe", 4096, 2), ("ruler_qa_squad", 4096, 4), ("ruler_qa_squad", 32768, 1),
         ("ruler_qa_hotpot", 4096, 4)]

HARD_TEXTS = [
    "Mr. Wells met Mrs. Elphinstone in St. George's. She said hello. (He did not.) Then they left...and then? No!",
    "It was 5 p.m. on Friday. The U.S. Army came at 6. A.m. is morning. J. Bach wrote 2. and No. 3. of them.",
    'He asked: "Why?" She said "Because!" and left. "Fine." He went. \'Yes.\' -- "No."--he said.',
    "One.Two. Three . Four ?! Five!!! Six. . . Seven.... Eight", "  leading and trailing.  Spaces here. \n\n",
    "Line one.\nLine two begins here. 3.14 is pi. e.g. this one, i.e. that one. Vol. 2, p. 7. etc. The end",
    "Über alles. Älter. été. Été fini. Ça va? Oui. naïve co. Then St. Albans. We went on. it was late.",
    "", "No end", "?", ". . foo. Bar", "A. B. C. Delta. a. b. c. delta. The cow. st. Albans. A list: 1. one 2. two 3. Three.",
    "He left at 10. The end. -- and so on. -5. Then 1,000. it went. (See p. 5.) [Note.] {Done.} *Star.* Ok.",
    "First sentence.\u00a0Second one. Third\u2003sentence. Tab.\tNext. \u201cQuoted.\u201d After. It\u2019s. Fine.",
]


def novel():
    lines = gzip.open(ROOT / "data" / "valid.jsonl.gz", "rt", encoding="utf-8")
    return next(doc["text"] for doc in map(json.loads, lines) if "war-of-the-worlds" in doc["source"])


def write(path, data, indent=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


def squad(paragraphs):
    """Articles of 20 paragraphs in SQuAD's layout; every fifth question has no answer."""
    articles, number = [], 0
    for begin in range(0, 60, 20):
        entries = []
        for text in paragraphs[begin:begin + 20]:
            questions = []
            for place in (1, 3):
                number += 1
                words = text.split()
                answers = [{"text": words[place]}, {"text": " ".join(words[place:place + 2])}]
                is_impossible = number % 5 == 0
                questions.append({"question": f"Which word is number {place + 1} of text {number}?", "id": str(number),
                                  "answers": [] if is_impossible else answers, "is_impossible": is_impossible})
            entries.append({"context": text, "qas": questions})
        articles.append({"title": f"Article {begin}", "paragraphs": entries})
    return {"version": "v2.0", "data": articles}


def hotpot(paragraphs):
    """Questions with ten titled texts each, cut into sentences at their periods."""
    choose = random.Random(7)
    records = []
    for number in range(12):
        context = []
        for place in choose.sample(range(len(paragraphs)), 10):
            pieces = [piece + "." for piece in paragraphs[place].split(".") if piece]
            context.append([f"Text {place}", pieces])
        records.append({"_id": str(number), "question": f"What does text {number} say?", "answer": f"answer {number}",
                        "context": context})
    return records


def train_punkt(text, folder):
    from nltk.tokenize import punkt
    trainer = punkt.PunktTrainer()
    trainer.INCLUDE_ALL_COLLOCS = True
    trainer.train(text)
    parameters = trainer.get_params()
    parameters.abbrev_types |= {"mr", "dr", "u.s", "p.m", "a.m", "e.g", "i.e", "etc", "vol", "p", "no"}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    punkt.save_punkt_params(parameters, dir=str(folder))
    for name in ("abbrev_types.txt", "sent_starters.txt", "collocations.tab", "ortho_context.tab"):  # sets have no order
        lines = sorted((folder / name).read_text(encoding="utf-8").splitlines())
        (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def run(ruler, work, task, length, samples):
    script, settings, name = TASKS[task]
    sys.path.insert(0, str(ruler / "synthetic"))
    from constants import TASKS as texts
    command = [sys.executable, script, "--save_dir", str(work), "--save_name", task, "--tokenizer_path", str(TOKENIZER),
               "--tokenizer_type", "hf", "--max_seq_length", str(length), "--num_samples", str(samples),
               "--tokens_to_generate", str(texts[name]["tokens_to_generate"]), *settings.split(),
               "--template", texts[name]["template"] + texts[name]["answer_prefix"]]
    subprocess.run(command, cwd=ruler / "synthetic", check=True)
    lines = (work / task / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    return [describe(json.loads(line)) for line in lines]


def describe(sample):
    prompt = sample["input"] + sample.get("answer_prefix", "")
    return {"sha256": hashlib.sha256(prompt.encode()).hexdigest(), "bytes": len(prompt.encode()),
            "tokens": sample["length"], "references": sample["outputs"], "head": prompt[:300], "tail": prompt[-300:]}


def main():
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    text = novel()
    paragraphs = [line for line in text[PARAGRAPHS].split("\n") if 20 <= len(line.split()) <= 90][:60]
    data = target / "ruler"
    train_punkt(text[TRAINING], data / "punkt_tab" / "english")
    write(data / "PaulGrahamEssays.json", {"text": text[ESSAYS]})
    write(data / "squad.json", squad(paragraphs))
    write(data / "hotpotqa.json", hotpot(paragraphs))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "nltk" / "tokenizers").mkdir(parents=True)
        shutil.copytree(data / "punkt_tab", work / "nltk" / "tokenizers" / "punkt_tab")
        import nltk
        nltk.data.path.insert(0, str(work / "nltk"))
        sentences = [{"text": text, "sentences": nltk.sent_tokenize(text)} for text in
                     HARD_TEXTS + [" ".join(text[ESSAYS].split()), text[100_000:104_000]]]
        write(data / "sentences.json", sentences, indent=1)
        ruler = work / "ruler"
        shutil.copytree(source, ruler)
        (ruler / "synthetic" / "sitecustomize.py").write_text(
            f"import nltk\nnltk.data.path.insert(0, {str(work / 'nltk')!r})\n")
        for name in ("PaulGrahamEssays.json", "squad.json", "hotpotqa.json"):
            shutil.copy(data / name, ruler / "synthetic" / "json" / name)
        os.environ["PYTHONPATH"] = str(ruler / "synthetic")
        cases = [{"task": task, "length": length, "samples": run(ruler, work, task, length, samples)}
                 for task, length, samples in CASES]
        write(data / "samples.json", cases, indent=1)


if __name__ == "__main__":
    main()
