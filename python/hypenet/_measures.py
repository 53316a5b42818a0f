"""Log-likelihoods and tasks."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

from hypenet import _checks
from hypenet._checks import Prompt
from hypenet._library import native

if TYPE_CHECKING:
    import torch

    from hypenet._model import Model

Paths = Union[str, "os.PathLike[str]", Sequence[Union[str, "os.PathLike[str]"]]]
OnProgress = Callable[[int, int], None]


class Scores(NamedTuple):
    """Of pairs (context, continuation), in their order."""

    loglikelihoods: torch.Tensor
    """float64 [N]: nats, summed over the continuation's tokens."""
    greedy: torch.Tensor
    """bool [N]: whether each of those tokens was the model's first choice."""


def _side(value: Any, name: str) -> Prompt:
    return _checks.text_of(value, name) if isinstance(value, str) else _checks.ids_of(value, name)


def score(native_model: Any, pairs: Sequence[tuple[Prompt, Prompt]]) -> Scores:
    listed = []
    for pair in _checks.listed_of(pairs, "pairs", "pairs of context and continuation"):
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise TypeError(f"pairs: expected pairs of context and continuation, found {_checks.kind_of(pair)}")
        listed.append((_side(pair[0], "context"), _side(pair[1], "continuation")))
    from torch.utils.dlpack import from_dlpack  # noqa: PLC0415
    loglikelihoods, greedy = native.score(native_model, listed)
    return Scores(from_dlpack(loglikelihoods), from_dlpack(greedy))


def evaluate(
    model: Union[Model, str, os.PathLike[str]], tasks: Union[str, Sequence[str]], *, data: Optional[Paths] = None,
    limit: Optional[int] = None, shots: Optional[int] = None, max_length: int = 0, lengths: Sequence[int] = (4096,),
    samples: int = 500, seed: int = 42, task_version: int = 0, ruler_rule: str = "ruler", ll_dtype: str = "float32",
    batch: int = 0, log_samples: bool = False, on_progress: Optional[OnProgress] = None, **load_options: Any,
) -> dict[str, Any]:
    """What `hypenet eval` measures of tasks (docs/evaluation.md), as the dict that its results.json holds:
    results["results"]["arc_easy"]["acc,none"].

    model: an open one, or a path, which is opened by load(path, **load_options) and closed at the end. tasks: names of
    tasks and groups, or files of own items (.jsonl). data: folders that hold data sets' files; nothing is downloaded.
    The others are the command's options of the same names. log_samples adds "samples": a dict an item.
    on_progress is called with how many requests are answered, and of how many. The tasks text and recall and the
    needle grid are the command's alone.

    Raises hypenet.Error for an unknown task, a missing file and the like.
    """
    settings = native.TaskSettings()
    settings.tasks = _checks.texts_of(tasks, "tasks")
    settings.data = _checks.paths_of(data, "data")
    settings.limit = 0 if limit is None else _at_least_one(limit, "limit")
    settings.shots = None if shots is None else _checks.integer_of(shots, "shots")
    settings.lengths = [_at_least_one(length, "lengths") for length in _checks.listed_of(lengths, "lengths", "integers")]
    settings.samples = _at_least_one(samples, "samples")
    settings.seed = _checks.integer_of(seed, "seed")
    settings.task_version = _checks.integer_of(task_version, "task_version")
    settings.ruler_as_harness = _one_of(ruler_rule, "ruler_rule", "ruler", "harness") == "harness"
    answers = native.AnswerSettings()
    answers.max_length = _checks.integer_of(max_length, "max_length")
    answers.batch_tokens = _checks.integer_of(batch, "batch")
    answers.sums_in_bf16 = _one_of(ll_dtype, "ll_dtype", "float32", "bf16") == "bf16"
    settings.answers = answers
    settings.logs_samples = bool(log_samples)
    return _with_model(model, load_options, lambda opened: native.evaluate(opened, settings, on_progress))


def _with_model(model: Any, load_options: dict[str, Any], work: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    from hypenet._model import Model, load  # noqa: PLC0415: they know each other
    if isinstance(model, Model):
        if load_options:
            raise TypeError(f"evaluate: {', '.join(load_options)}: the model is open already")
        return work(model._native)
    with load(model, **load_options) as opened:
        return work(opened._native)


def _at_least_one(value: Any, name: str) -> int:
    number = _checks.integer_of(value, name)
    if number < 1:
        raise ValueError(f"{name}: expected at least 1, found {number}")
    return number


def _one_of(value: Any, name: str, first: str, second: str) -> str:
    if value not in (first, second):
        raise ValueError(f"{name}: expected {first} or {second}, found {value!r}")
    return value
