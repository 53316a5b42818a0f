#!/usr/bin/env python3
"""Writes tests/data/harness/authors (first records of published files) and tests/data/harness/hub (rows made up here).

    tools/harness/write_data.py DATA       DATA: a folder with the authors' files, as in local_tasks.AUTHORS
The made-up rows have the columns and types of the hub's data sets, and what is awkward in those: marks of WikiHow,
labels from 1 to 5, white space at ends, letters whose case takes care, one document with a single word.
"""
import gzip
import pathlib
import shutil
import sys

import local_tasks
import pyarrow
import pyarrow.parquet

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/data/harness"
RECORDS = 8

TEXTS, LABELS = pyarrow.list_(pyarrow.string()), pyarrow.list_(pyarrow.string())
CHOICES = pyarrow.struct([("text", TEXTS), ("label", LABELS)])


def choices(*texts, labels="ABCDE"):
    return {"text": list(texts), "label": list(labels[:len(texts)])}


def arc(number, question, answer, *texts, labels="ABCDE"):
    return {"id": f"made_up_{number}", "question": question, "choices": choices(*texts, labels=labels),
            "answerKey": answer}


def hellaswag(number, label, activity, ctx_a, ctx_b, *endings):
    return {"ind": number, "activity_label": activity, "ctx_a": ctx_a, "ctx_b": ctx_b, "ctx": f"{ctx_a} {ctx_b}".strip(),
            "endings": list(endings), "source_id": f"made_up~{number}", "split": "val", "split_type": "indomain",
            "label": label}


def winogrande(answer, sentence, option1, option2):
    return {"sentence": sentence, "option1": option1, "option2": option2, "answer": answer}


def openbookqa(number, stem, answer, *texts):
    return {"id": f"made-up-{number}", "question_stem": stem, "choices": choices(*texts), "answerKey": answer}


def mmlu(question, answer, *texts):
    return {"question": question, "subject": "astronomy", "choices": list(texts), "answer": answer}


ARC_TEST = [
    arc(1, "Which of these floats on water?", "2", "a stone", "a cork", "a key", labels="12345"),
    arc(2, "What does a thermometer measure?", "E", "length", "mass", "time", "force", "temperature"),
    arc(3, " A kettle whistles.  Why? ", "A", "Steam leaves it.", "It is café-coloured.", "It is cold.", "It is new."),
]
ARC_TRAIN = [arc(10 + i, f"How many legs have {i} spiders?", "ABCD"[i % 4], *(str(8 * (i - i % 4 + d)) for d in range(4)))
             for i in range(1, 7)]
HELLASWAG_TEST = [
    hellaswag(4, "1", "Baking bread", "A baker opens an oven. She takes out a loaf.", "the ÉLAN of the baker",
              "burns the loaf.", "is plain [laughs] to see.", " [title] ends here.", "grows  wings   slowly."),
    hellaswag(5, "0", "Home and Garden", "[header] How to sweep a floor [title] Take a broom. [step] Hold it [well",
              "", "Sweep [substeps] gently.", "Sleep.", "Sing.", "[unclosed"),
    hellaswag(6, "3", "Sport", "  Two teams meet.", "élan MAKES players run", "away.", "home.", "up.", "down."),
]
HELLASWAG_TRAIN = [hellaswag(20 + i, str(i % 4), "Counting", f"A child counts to {i}.", "it STOPS", "there.", "then.",
                             "here. [title] Enough", "never.") for i in range(5)]
PIQA_TEST = [{"goal": "Open a jar", "sol1": "turn the lid ", "sol2": "turn the  jar upside down", "label": 0},
             {"goal": "dresser", "sol1": "a", "sol2": "b", "label": 1}]
PIQA_TRAIN = [{"goal": f"Tie knot {i}", "sol1": "use a rope", "sol2": "use a spoon", "label": i % 2} for i in range(5)]
WINOGRANDE_TEST = [winogrande("2", "The cup would not fit the shelf because the _ was too low.", "cup", "shelf"),
                   winogrande("1", "_ thanked Ben, for Ann had been helped by him_ .", "Ann", "Ben")]
WINOGRANDE_TRAIN = [winogrande("12"[i % 2], f"Box {i} held ball {i} although the _ was small.", "box", "ball")
                    for i in range(5)]
OPENBOOKQA_TEST = [openbookqa(1, "Frogs begin their lives as", " C", "eggs of birds", "seeds", "tadpoles", "stones"),
                   openbookqa(2, "A magnet attracts ", "A", "iron", "wood", "paper", "glass")]
OPENBOOKQA_TRAIN = [openbookqa(10 + i, f"{i} and one are", "ABCD"[i % 4], *(str(i + 1 + d) for d in range(4)))
                    for i in range(5)]
MMLU_TEST = [mmlu("  Which planet is nearest to the Sun?\n", 3, "Mars", "Earth", "Venus", "Mercury"),
             mmlu("What is a light year?", 0, "a distance", "a time", "a speed", " a mass ")]
MMLU_DEV = [mmlu(f"Which is star {i}?", i % 4, "Vega", "Deneb", "Altair", "Sirius") for i in range(5)]
LAMBADA = [{"text": "The door stood open, and she walked  through the door"}, {"text": "alone"},
           {"text": "\"You came,\" he said, and again, \"you came"}, {"text": "Rain fell. More rain fell on the town"}]
RECALL = [{"doc_id": "a", "key": "device", "value": "Pump (No. 7) ", "text": "Device: Pump (No. 7) is new.\nDevice:"},
          {"doc_id": "b", "key": "maker", "value": "Ålesund AS", "text": "  Maker: ålesund as, Norway.\nMaker: \n"}]
PAGE = (" \n = A Made @-@ up Page = \n \n The so @-@ called \" page \" ( made up ) is [ short ] , about 1 @,@ 000 bytes ; "
        "the cats ' home 's { roof } is at 20 ° C . Is it ? Yes ! \n \n = = Part = = \n \n = = = Piece = = = \n "
        "It was ' quoted ' : N times .  Twice  . \n")


def table(rows, **types):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return pyarrow.table({name: pyarrow.array(values, types.get(name)) for name, values in columns.items()})


def write(path, rows, **types):
    file = OUT / "hub" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table(rows, **types), file, row_group_size=2)


def write_hub():
    for split, rows in (("test", ARC_TEST), ("train", ARC_TRAIN)):
        write(f"ai2_arc/ARC-Easy/{split}-00000-of-00001.parquet", rows, choices=CHOICES)
    # Two shards: read one after the other.
    write("hellaswag/data/validation-00000-of-00002.parquet", HELLASWAG_TEST[:2], ind=pyarrow.int32(), endings=TEXTS)
    write("hellaswag/data/validation-00001-of-00002.parquet", HELLASWAG_TEST[2:], ind=pyarrow.int32(), endings=TEXTS)
    write("hellaswag/data/train-00000-of-00001.parquet", HELLASWAG_TRAIN, ind=pyarrow.int32(), endings=TEXTS)
    for split, piqa, winograd in (("validation", PIQA_TEST, WINOGRANDE_TEST), ("train", PIQA_TRAIN, WINOGRANDE_TRAIN)):
        write(f"piqa/plain_text/{split}-00000-of-00001.parquet", piqa)
        write(f"winogrande/winogrande_xl/{split}-00000-of-00001.parquet", winograd)
    for split, rows in (("test", OPENBOOKQA_TEST), ("train", OPENBOOKQA_TRAIN)):
        write(f"openbookqa/main/{split}-00000-of-00001.parquet", rows, choices=CHOICES)
    for split, rows in (("test", MMLU_TEST), ("dev", MMLU_DEV)):
        write(f"mmlu/astronomy/{split}-00000-of-00001.parquet", rows, choices=TEXTS, answer=pyarrow.int64())
    write("lambada_openai/default/test-00000-of-00001.parquet", LAMBADA)
    for name in ("based-fda", "based-swde-v2", "based-squad"):
        write(f"{name}/data/validation-00000-of-00001.parquet", RECALL)
    write("wikitext_document_level/wikitext-2-raw-v1/test-00000-of-00001.parquet", [{"page": PAGE}])


def first_lines(path, count):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [line for line, _ in zip(lines, range(count))]


def write_authors(data):
    for task, (_, pattern, _) in local_tasks.AUTHORS.items():
        source = sorted(data.glob(pattern))[0]
        file = OUT / "authors" / source.relative_to(data)
        file.parent.mkdir(parents=True, exist_ok=True)
        if task == "wikitext":
            lines = source.read_text(encoding="utf-8").split("\n")
            second = next(i for i, line in enumerate(lines) if i > 1 and line.startswith(" = ") and line[3] != "=")
            file.write_text("\n".join(lines[:second + 6]) + "\n", encoding="utf-8")
            continue
        text = "".join(first_lines(source, RECORDS))
        if file.suffix == ".gz":
            with open(file, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as out:
                out.write(text.encode())
        else:
            file.write_text(text, encoding="utf-8")
    labels = "piqa/valid-labels.lst"
    (OUT / "authors" / labels).write_text("".join(first_lines(data / labels, RECORDS)))


if __name__ == "__main__":
    shutil.rmtree(OUT / "hub", ignore_errors=True)
    write_hub()
    write_authors(pathlib.Path(sys.argv[1]))
