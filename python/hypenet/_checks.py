"""What callers hand over, as the compiled module takes it; what is wrong is said in one line."""
from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

Ids = Sequence[int]
Prompt = Union[str, Ids]


def kind_of(value: object) -> str:
    return f"{type(value).__name__} {value!r:.40}" if isinstance(value, (int, float, bool)) else type(value).__name__


def text_of(value: object, name: str) -> str:
    """Text that UTF-8 can hold. Raises TypeError, ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected text, found {kind_of(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: expected Unicode text, found half a surrogate pair at {error.start}") from None
    return value


def texts_of(value: object, name: str) -> list[str]:
    """A list of texts; one text is a list of one. Raises TypeError, ValueError."""
    if value is None:
        return []
    if isinstance(value, str):
        return [text_of(value, name)]
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise TypeError(f"{name}: expected text or a list of texts, found {kind_of(value)}")
    return [text_of(item, name) for item in value]


def _listed(value: object) -> object:
    """Tensors and arrays as lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def ids_of(value: object, name: str) -> list[int]:
    """Token ids: a list of integers, or a tensor [T]. Raises TypeError, ValueError."""
    value = _listed(value)
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: expected token ids, found {kind_of(value)}")
    value = list(value)
    for item in value:
        if isinstance(item, bool) or not hasattr(item, "__index__"):
            raise TypeError(f"{name}: expected token ids, which are integers, found {kind_of(item)}")
    try:
        return array("i", value).tolist()
    except OverflowError:
        raise ValueError(f"{name}: expected token ids below 2147483648, found {max(value, key=abs)}") from None


def is_one_prompt(prompts: object) -> bool:
    """Whether it is text or one list of ids, and no list of prompts."""
    prompts = _listed(prompts)
    if isinstance(prompts, str):
        return True
    return isinstance(prompts, Sequence) and len(prompts) > 0 and hasattr(prompts[0], "__index__")


def prompts_of(prompts: object) -> list[Prompt]:
    """A list of prompts, each text or ids. Raises TypeError, ValueError."""
    prompts = _listed(prompts)
    if is_one_prompt(prompts):
        prompts = [prompts]
    if not isinstance(prompts, Iterable) or isinstance(prompts, (bytes, Mapping)):
        raise TypeError(f"prompts: expected text, token ids or a list of them, found {kind_of(prompts)}")
    return [text_of(prompt, "prompts") if isinstance(prompt, str) else ids_of(prompt, "prompts") for prompt in prompts]


def integer_of(value: object, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an integer, found {kind_of(value)}")
    number = value.__index__()
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name}: expected an integer of 64 bits, found {number}")
    return number


def number_of(value: object, name: str) -> float:
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: expected a number, found {kind_of(value)}")
    return float(value)


def path_of(value: object, name: str) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name}: expected a path, found {kind_of(value)}")
    return os.fspath(value)


def paths_of(value: object, name: str) -> list[str]:
    """A list of paths; one path is a list of one."""
    if value is None:
        return []
    if isinstance(value, (str, os.PathLike)):
        return [path_of(value, name)]
    if not isinstance(value, Iterable):
        raise TypeError(f"{name}: expected a path or a list of paths, found {kind_of(value)}")
    return [path_of(item, name) for item in value]


def bytes_of(value: object, name: str) -> int:
    """8_000_000_000, "8G" or "512M" (powers of 1024). Raises TypeError, ValueError."""
    if not isinstance(value, str):
        return integer_of(value, name)
    return integer_of(_bytes_in(value, name), name)


def _bytes_in(value: str, name: str) -> int:
    scale = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}.get(value[-1:].upper())
    try:
        return int(float(value[:-1]) * scale) if scale else int(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}: expected a number of bytes, or text like 8G or 512M, found {value!r}") from None


def listed_of(value: object, name: str, what: str) -> list[Any]:
    """Raises TypeError for what is no list of `what`."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: expected a list of {what}, found {kind_of(value)}")
    return list(value)


def messages_of(messages: object) -> list[dict[str, Any]]:
    """A conversation; text is a user's one message. Raises TypeError."""
    if isinstance(messages, str):
        return [{"role": "user", "content": text_of(messages, "messages")}]
    if not isinstance(messages, Iterable) or isinstance(messages, (bytes, Mapping)):
        raise TypeError(f"messages: expected a list of dicts with role and content, found {kind_of(messages)}")
    listed = list(messages)
    for message in listed:
        if not isinstance(message, Mapping):
            raise TypeError(f"messages: expected dicts with role and content, found {kind_of(message)}")
    return [dict(message) for message in listed]
