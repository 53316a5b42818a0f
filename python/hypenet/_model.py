"""A model for inference: hypenet.load() and what it returns."""
from __future__ import annotations

import atexit
import inspect
import os
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Optional, Union, overload

from hypenet import _checks
from hypenet._checks import Ids, Prompt
from hypenet._library import check_not_forked, native
from hypenet._measures import Scores, score
from hypenet._stream import AsyncStream, Completion, Stream
from hypenet._tokenizer import Messages, Tokenizer

if TYPE_CHECKING:
    import torch

_OPEN: weakref.WeakSet[Model] = weakref.WeakSet()
_SAMPLING = ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"]


def _close_all() -> None:
    for model in list(_OPEN):
        model.close()


atexit.register(_close_all)


def _print_note(text: str) -> None:
    import warnings  # noqa: PLC0415
    warnings.warn(text, stacklevel=4)


def load(
    path: Union[str, os.PathLike[str]], *, device: str = "cpu", dtype: str = "auto", threads: int = 0,
    memory: Union[int, str] = 0, context: int = 0, max_sequences: int = 0, keep_prompts: bool = True,
    attn_logits_scaling: Union[str, float, None] = None, activations: str = "int8", cache_type: str = "auto",
) -> Model:
    """Opens a model folder or a GGUF file.

    device: "cpu", "cuda" or "cuda:N". dtype: "float32", "bfloat16", "float64" or a torch.dtype; "auto" is bfloat16 on
    a GPU, and on a CPU the type that most weights are stored in (float32 for float16).
    threads: CPU threads of the process; 0 is OMP_NUM_THREADS, what torch was told, or one a physical core.
    memory: bytes for caches and states ("8G"); 0 is 4 GiB, or what a GPU has free but a tenth.
    context: tokens of prompt and answer at most; 0 is what the memory holds.
    max_sequences: answers side by side; 0 is 16 on a CPU, 64 on a GPU. Others wait.
    keep_prompts: a prompt goes on from what is kept of earlier ones with the same beginning.
    attn_logits_scaling: in place of config.json's: "hype 500", a number, or "none".
    activations: how rows meet packed weights on a CPU, "int8" (rounded, fast) or "float".
    cache_type: of keys and values on a CPU, "float32" or "bfloat16"; "auto" is bfloat16 where weights are, or are packed.

    Raises hypenet.Error: what is no such folder or file, a device that is not there, and the like, in one line each.
    What is worth knowing (weights that are rounded) comes as a warning.
    """
    check_not_forked("load")
    options = native.LoadOptions()
    options.folder = _checks.path_of(path, "path")
    options.device = _checks.text_of(str(device), "device")
    options.dtype = _checks.text_of(str(dtype), "dtype")
    options.activations = _checks.text_of(activations, "activations")
    options.cache_type = _checks.text_of(cache_type, "cache_type")
    options.threads = _checks.integer_of(threads, "threads")
    options.memory = _checks.bytes_of(memory, "memory")
    options.context = _checks.integer_of(context, "context")
    options.max_sequences = _checks.integer_of(max_sequences, "max_sequences")
    options.keeps_prompts = bool(keep_prompts)
    if attn_logits_scaling is not None:
        options.attn_logits_scaling = str(attn_logits_scaling)
    return Model(native.Model(options, _print_note))


class Model:
    """A model on a thread of its own; hypenet.load() makes it. Any thread may call it, and what they ask runs side by
    side: what an answer is does not depend on the others. `with` closes it at the end of the block."""

    def __init__(self, native_model: Any) -> None:
        self._native = native_model
        self._tokenizer = Tokenizer._of(native_model.tokenizer)
        _OPEN.add(self)

    # --- what it is ---

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def path(self) -> Path:
        return Path(self._native.folder)

    @property
    def device(self) -> str:
        return self._native.device

    @property
    def dtype(self) -> str:
        """Of its weights: "float32", "bfloat16" ..."""
        return self._native.dtype

    @property
    def config(self) -> dict[str, Any]:
        """config.json in HypeNet's keys."""
        return self._native.config

    @property
    def vocab_size(self) -> int:
        """V: rows of the embedding, numbers of a position's logits."""
        return self._native.vocab_size

    @property
    def max_length(self) -> int:
        """Tokens that the model was made for (max_position_embeddings); more are read, too."""
        return self._native.made_for

    @property
    def num_parameters(self) -> int:
        return self._native.parameters

    def __repr__(self) -> str:
        if not self._native.is_open:
            return f"<hypenet.Model {str(self.path)!r}, closed>"
        return (f"<hypenet.Model {str(self.path)!r}, {self.num_parameters:,} parameters, {self.dtype} on "
                f"{self.device}>")

    # --- its end ---

    def close(self) -> None:
        """Frees the model; answers under way end with hypenet.Error. A second time does nothing."""
        self._native.close()

    @property
    def is_closed(self) -> bool:
        """Also in a fork of the process that loaded it: load the model there."""
        return not self._native.is_open

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("model: cannot be pickled: load it in each process")

    # --- answers ---

    @overload
    def generate(self, prompts: Union[str, Ids], *, stream: Literal[False] = ..., **settings: Any) -> Completion: ...
    @overload
    def generate(self, prompts: Sequence[Prompt], *, stream: Literal[False] = ...,
                 **settings: Any) -> list[Completion]: ...
    @overload
    def generate(self, prompts: Union[Prompt, Sequence[Prompt]], *, stream: Literal[True], **settings: Any) -> Stream: ...
    def generate(
        self, prompts: Any, *, max_tokens: int = 128, temperature: float = 0, seed: int = 0,
        stop: Union[str, Sequence[str], None] = None, stream: bool = False, top_k: Optional[int] = None,
        top_p: Optional[float] = None, min_p: Optional[float] = None, repetition_penalty: Optional[float] = None,
        presence_penalty: Optional[float] = None, frequency_penalty: Optional[float] = None,
        logit_bias: Optional[Mapping[int, float]] = None, min_tokens: int = 0, top_logprobs: int = 0,
        ignore_eos: bool = False, skip_special_tokens: bool = True,
    ) -> Any:
        """Continues prompts: text or token ids (a list of int, a tensor [T]), one or a list of them.

        One prompt gives a Completion, a list gives a list, in its order. stream=True gives an iterator over Pieces of
        all answers as they come; dropping it ends them. They run side by side with those of other calls.

        max_tokens: of an answer at most (fewer where the context ends). temperature: 0 takes the likeliest token.
        seed: of the draws, the same for each prompt; a prompt, its settings and a seed give the same answer always.
        stop: texts before which an answer ends. logit_bias: id to what is added to its logit. min_tokens: before these
        no token ends an answer. top_logprobs: how many of the likeliest tokens are told in each place.
        ignore_eos: answers go on to max_tokens.

        Raises hypenet.Error for impossible settings, ids outside the vocabulary, a prompt that leaves no room for an
        answer and a closed model; TypeError and ValueError for what is none of these things; KeyboardInterrupt on
        Ctrl-C, which ends the answers.
        """
        call = Stream(self._native, *self._submit(prompts, locals()))
        if stream:
            return call
        answers = call.collect()
        return answers[0] if _checks.is_one_prompt(prompts) else answers

    @overload
    def agenerate(self, prompts: Union[str, Ids], *, stream: Literal[False] = ...,
                  **settings: Any) -> Coroutine[Any, Any, Completion]: ...
    @overload
    def agenerate(self, prompts: Sequence[Prompt], *, stream: Literal[False] = ...,
                  **settings: Any) -> Coroutine[Any, Any, list[Completion]]: ...
    @overload
    def agenerate(self, prompts: Union[Prompt, Sequence[Prompt]], *, stream: Literal[True],
                  **settings: Any) -> AsyncStream: ...
    def agenerate(self, prompts: Any, *, stream: bool = False, **settings: Any) -> Any:
        """generate() for asyncio: `await model.agenerate(...)`, or `async for piece in model.agenerate(...,
        stream=True)`. A task that is cancelled ends its answers."""
        given = _all_settings(settings)
        if stream:
            return AsyncStream(self._native, *self._submit(prompts, given))

        async def collect() -> Any:
            answers = await AsyncStream(self._native, *self._submit(prompts, given)).collect()
            return answers[0] if _checks.is_one_prompt(prompts) else answers

        return collect()

    @overload
    def chat(self, messages: Messages, *, stream: Literal[False] = ..., **settings: Any) -> Completion: ...
    @overload
    def chat(self, messages: Messages, *, stream: Literal[True], **settings: Any) -> Stream: ...
    def chat(
        self, messages: Messages, *, max_tokens: int = 1024, temperature: Optional[float] = None, seed: int = 0,
        stop: Union[str, Sequence[str], None] = None, stream: bool = False,
        tools: Optional[Sequence[Mapping[str, Any]]] = None, template: Optional[Mapping[str, Any]] = None,
        **settings: Any,
    ) -> Any:
        """The assistant's answer to a conversation: dicts with role and content, or a user's one message as text.

        What is not said of temperature, top_k and the like is as the folder's generation_config.json has it. template:
        further variables of the chat template ({"enable_thinking": False}). The rest is as in generate(). What was read
        of earlier turns is not read again. Raises hypenet.Error also where the folder has no chat template.
        """
        given = _all_settings({**settings, "max_tokens": max_tokens, "temperature": temperature, "seed": seed,
                               "stop": stop})
        options = dict(template or {})
        if tools is not None:
            options["tools"] = [dict(tool) for tool in tools]
        queue = self._native.submit_chat(_checks.messages_of(messages), options, _settings_of(given), _ends_of(given))
        call = Stream(self._native, queue, 1)
        return call if stream else call.collect()[0]

    def _submit(self, prompts: Any, given: Mapping[str, Any]) -> tuple[Any, int]:
        listed = _checks.prompts_of(prompts)
        settings, ends = _settings_of(given), _ends_of(given)
        return self._native.submit(listed, settings, ends), len(listed)

    # --- numbers ---

    def logits(self, ids: Any) -> torch.Tensor:
        """float32 logits of every position, on the model's device: [T, V] of token ids [T] (or a text), [B, T, V] of a
        list of B rows of one length, or a tensor [B, T]. The tensor is the one that was computed, no copy.

        Raises hypenet.Error for rows of several lengths and ids outside the vocabulary.
        """
        if isinstance(ids, str):
            ids = self.tokenizer.encode(_checks.text_of(ids, "ids"))
        rows = _checks.prompts_of(ids)
        if any(isinstance(row, str) for row in rows):
            raise TypeError("ids: expected token ids or one text, found a list of texts")
        logits = _tensor(self._native.logits(rows))
        return logits[0] if _checks.is_one_prompt(ids) else logits

    def score(self, pairs: Sequence[tuple[Prompt, Prompt]]) -> Scores:
        """The log-likelihood of each (context, continuation), both text or both token ids, as Scores: two tensors [N]
        on the CPU. See Scores. Pairs with the same beginning share its computation.

        Raises hypenet.Error where nothing is left to score.
        """
        return score(self._native, pairs)


def _tensor(capsule: Any) -> torch.Tensor:
    from torch.utils.dlpack import from_dlpack  # noqa: PLC0415
    return from_dlpack(capsule)


_DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(Model.generate).parameters.items()
             if parameter.kind is inspect.Parameter.KEYWORD_ONLY}


def _all_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in _DEFAULTS or name == "stream":
            raise TypeError(f"unexpected setting {name!r}; the settings are {', '.join(n for n in _DEFAULTS if n != 'stream')}")
    return {**_DEFAULTS, **given}


def _settings_of(given: Mapping[str, Any]) -> Any:
    settings = native.GenerateSettings()
    settings.sampling = {name: _checks.number_of(given[name], name) for name in _SAMPLING if given[name] is not None}
    seed = _checks.integer_of(given["seed"], "seed")
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, found {seed}")
    settings.seed = seed
    for name in ["max_tokens", "min_tokens", "top_logprobs"]:
        setattr(settings, name, _checks.integer_of(given[name], name))
    settings.ignore_eos = bool(given["ignore_eos"])
    bias = given["logit_bias"]
    if bias is not None and not isinstance(bias, Mapping):
        raise TypeError(f"logit_bias: expected a dict of token ids to numbers, found {_checks.kind_of(bias)}")
    settings.logit_bias = [(_checks.ids_of([id], "logit_bias")[0], _checks.number_of(value, "logit_bias"))
                           for id, value in (bias or {}).items()]
    return settings


def _ends_of(given: Mapping[str, Any]) -> Any:
    ends = native.AnswerOptions()
    ends.stop = _checks.texts_of(given["stop"], "stop")
    ends.skip_special_tokens = bool(given["skip_special_tokens"])
    return ends
