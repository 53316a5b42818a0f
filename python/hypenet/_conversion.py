"""From a Transformer to a HypeNet."""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from hypenet import _checks
from hypenet._library import check_not_forked, native
from hypenet._measures import Paths

Path_ = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Progress:
    """What a conversion reports."""

    kind: str
    """"step" (of training), "work" (other work: tokenizing, sweeping, measuring) or "note" (text)."""
    stage: str
    done: int
    total: int
    text: str
    loss: float
    """Of a step: the mean since the last report."""
    learning_rate: float
    tokens_per_second: float
    seconds_left: float
    """Of the stage."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion ends with."""

    model: Path
    """The HypeNet's folder, or that of the step `until`."""
    report: Optional[Path]
    """report.html; None with `until`."""
    table: str
    """Teacher beside HypeNet, as the command prints it; empty with `until`."""
    results: Optional[dict[str, Any]]
    """results.json; None with `until`."""


def convert(
    recipe: Optional[Path_] = None, *, teacher: Optional[Path_] = None, data: Optional[Paths] = None,
    validation: Optional[Paths] = None, out: Optional[Path_] = None, resume: Optional[Path_] = None,
    device: str = "cpu", threads: int = 0, settings: Optional[Mapping[str, Any]] = None,
    until: Optional[str] = None, from_step: Optional[str] = None, text_field: Optional[str] = None,
    on_bad_document: Optional[str] = None, on_progress: Optional[Callable[[Progress], None]] = None,
) -> Conversion:
    """Converts a Transformer by HALO, as `hypenet convert` does (docs/halo.md): what is done already in `out` is not
    done again, so that the same call goes on after an interruption.

    recipe: a recipe file, or resume: the folder of an earlier run, which kept its own. teacher, data, validation and
    out: as in the command, in place of the recipe's. settings: keys of the recipe ({"select.layers": [1, 6]}).
    until and from_step: names of steps. on_progress is called on this thread; what it raises stops the conversion,
    which is saved, and so does Ctrl-C.

    Raises hypenet.Error in one line for all that fails.
    """
    check_not_forked("convert")
    call = native.ConvertSettings()
    for name, value in [("recipe", recipe), ("resume", resume), ("out", out), ("teacher", teacher)]:
        if value is not None:
            setattr(call, name, _checks.path_of(value, name))
    call.data = _checks.paths_of(data, "data")
    call.validation = _checks.paths_of(validation, "validation")
    for name, value in [("until", until), ("from_step", from_step), ("text_field", text_field),
                        ("on_bad_document", on_bad_document), ("device", str(device))]:
        if value is not None:
            setattr(call, name, _checks.text_of(value, name))
    call.threads = _checks.integer_of(threads, "threads")
    call.settings = [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
    report = None if on_progress is None else lambda native_report: on_progress(_progress_of(native_report))
    model, page, table, results = native.convert(call, report)
    return Conversion(Path(model), Path(page) if str(page) not in ("", ".") else None, table, results)


def _progress_of(report: Any) -> Progress:
    return Progress(kind=report.kind, stage=report.stage, done=report.done, total=report.total, text=report.text,
                    loss=report.loss, learning_rate=report.learning_rate,
                    tokens_per_second=report.tokens_per_second, seconds_left=report.seconds_left)


def select(scores: Path_, rule: str = "halo", keep: int = 0) -> list[int]:
    """The layers that stay attention, ascending, from a sweep's scores.csv: `hypenet select`.

    rule: halo, recall-drop, uniform, likelihood, kl, lazy or pilot. keep: how many; 0 is a quarter. Raises
    hypenet.Error for another rule and where the scores lack what it reads.
    """
    return native.select(_checks.path_of(scores, "scores"), _checks.text_of(rule, "rule"),
                         _checks.integer_of(keep, "keep"))
