"""Texts to token ids and back, and conversations to what the model reads."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Union, overload

from hypenet._checks import ids_of, listed_of, messages_of, path_of, text_of, texts_of
from hypenet._library import native

Messages = Union[str, Sequence[Mapping[str, Any]]]


class Tokenizer:
    """The tokenizer of a model folder or GGUF file. Threads may share it.

    Raises hypenet.Error where the files are missing or not supported.
    """

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        self._native = native.Tokenizer.load(path_of(path, "path"))

    @classmethod
    def _of(cls, side: Any) -> Tokenizer:
        tokenizer = cls.__new__(cls)
        tokenizer._native = side
        return tokenizer

    @overload
    def encode(self, text: str) -> list[int]: ...
    @overload
    def encode(self, text: Sequence[str]) -> list[list[int]]: ...
    def encode(self, text: Union[str, Sequence[str]]) -> Union[list[int], list[list[int]]]:
        """Token ids of a text, or of each of a list. Special tokens in it become their ids; nothing is put before or
        after."""
        if isinstance(text, str):
            return self._native.encode_all([text_of(text, "text")])[0]
        return self._native.encode_all(texts_of(listed_of(text, "text", "texts, or one text"), "text"))

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of token ids (or a tensor [T]); incomplete UTF-8 becomes U+FFFD. Raises hypenet.Error for an id that
        the tokenizer does not have."""
        return self._native.decode(ids_of(ids, "ids"), bool(skip_special_tokens))

    def token_bytes(self, id: int) -> bytes:
        """The raw bytes of one token. Raises hypenet.Error as decode does."""
        return self._native.token_bytes(ids_of([id], "id")[0])

    def token_id(self, token: str) -> Union[int, None]:
        """The id of a token as the vocabulary writes it, like "<|im_end|>"; None for another."""
        return self._native.token_id(text_of(token, "token"))

    def is_special(self, id: int) -> bool:
        """Whether decode(skip_special_tokens=True) leaves it out."""
        return self._native.is_special(ids_of([id], "id")[0])

    def __len__(self) -> int:
        return self.vocab_size

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return self._native.vocab_size

    @property
    def bos_token_id(self) -> Union[int, None]:
        return self._native.bos_id

    @property
    def eos_token_id(self) -> Union[int, None]:
        return self._native.eos_id

    @property
    def stop_token_ids(self) -> list[int]:
        """What ends an answer to a text: eos_token_id of the folder's files."""
        return self._native.stop_ids(False)

    @property
    def chat_template(self) -> Union[str, None]:
        """The template's text; None where the folder has none."""
        return self._native.chat_template_text or None

    def apply_chat_template(
        self, messages: Messages, *, tools: Union[Sequence[Mapping[str, Any]], None] = None,
        add_generation_prompt: bool = False, continue_final_message: bool = False, tokenize: bool = True,
        specials_in_messages: bool = False, **variables: Any,
    ) -> Union[list[int], str]:
        """A conversation as token ids, or with tokenize=False as text, as transformers' method of this name gives it.

        messages is a list of dicts with role and content, or a user's one message as text; variables are further ones
        of the template (enable_thinking=False). In ids, special tokens in messages are plain text unless
        specials_in_messages is true. Raises hypenet.Error where there is no template and where it refuses.
        """
        options = {"add_generation_prompt": bool(add_generation_prompt),
                   "continue_final_message": bool(continue_final_message), **variables}
        if tools is not None:
            options["tools"] = [dict(tool) for tool in tools]
        turns = messages_of(messages)
        if not tokenize:
            return self._native.render(turns, options)
        return self._native.encode_chat(turns, options, bool(specials_in_messages))
