"""Answers: whole, and piece by piece for loops and for asyncio."""
from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Optional


@dataclass(frozen=True)
class Completion:
    """An answer. str() of it is its text."""

    text: str
    ids: list[int]
    """Its tokens, without the one that ended it."""
    logprobs: list[float]
    """Of each token, nats, of the logits before temperature and filters."""
    finish_reason: str
    """"stop" (a stop string or token), "length", or "no token" (nothing was left to choose)."""
    top_logprobs: list[list[tuple[int, float]]] = field(default_factory=list, repr=False)
    """The likeliest (id, logprob) in each token's place, where top_logprobs asked for them."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Piece:
    """What comes at a time: a token with the text that became certain by it, or an answer's end."""

    text: str
    """Never a part of a character; may be empty."""
    id: Optional[int]
    """None where only text that was held back comes, or the end."""
    logprob: float
    index: int
    """Which of the call's prompts it answers."""
    finish_reason: Optional[str]
    """None while the answer goes on."""
    top_logprobs: list[tuple[int, float]] = field(default_factory=list, repr=False)


def _piece_of(native: Any) -> Piece:
    return Piece(text=native.text, id=native.id if native.id >= 0 else None, logprob=native.logprob,
                 index=native.index, finish_reason=native.finish or None, top_logprobs=native.top)


class _Building:
    """Puts pieces together."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.tops: list[list[tuple[int, float]]] = []
        self.finish = ""

    def add(self, native: Any) -> None:
        self.texts.append(native.text)
        if native.id >= 0:
            self.ids.append(native.id)
            self.logprobs.append(native.logprob)
            top = native.top
            if top:
                self.tops.append(top)
        self.finish = native.finish

    def completion(self) -> Completion:
        return Completion("".join(self.texts), self.ids, self.logprobs, self.finish, self.tops)


class _Call:
    """The answers of one call: whoever drops it ends what still runs."""

    def __init__(self, model: Any, queue: Any, count: int) -> None:
        self._model, self._queue, self._count = model, queue, count

    def close(self) -> None:
        """Ends the answers that still run. Nothing further comes."""
        if self._queue is not None:
            queue, self._queue = self._queue, None
            self._model.cancel(queue)

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # noqa: BLE001, S110: at the interpreter's end there may be nothing left to tell
            pass


class Stream(_Call, Iterator[Piece]):
    """An iterator over the pieces of a call's answers, as they come. close(), the end of a with block and the garbage
    collector end answers that still run."""

    def __init__(self, model: Any, queue: Any, count: int) -> None:
        super().__init__(model, queue, count)
        self._pieces: list[Any] = []

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Piece:
        while not self._pieces:
            if self._queue is None:
                raise StopIteration
            self._pieces = self._take()
            if not self._pieces:
                self._queue = None
                raise StopIteration
            self._pieces.reverse()
        return _piece_of(self._pieces.pop())

    def _take(self) -> list[Any]:
        queue = self._queue
        try:
            return queue.take()
        except BaseException:  # Ctrl-C, too
            if self._queue is None:  # closed by another thread
                return []
            self.close()
            raise

    def collect(self) -> list[Completion]:
        """Waits for the rest: an answer a prompt, in their order."""
        building = [_Building() for _ in range(self._count)]
        while self._queue is not None:
            pieces = self._take()
            for piece in pieces:
                building[piece.index].add(piece)
            if not pieces:
                self._queue = None
        return [answer.completion() for answer in building]

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._pieces = []
        self.close()


class AsyncStream(_Call, AsyncIterator[Piece]):
    """The same for asyncio: `async for piece in ...`. A task that is cancelled ends its answers."""

    def __init__(self, model: Any, queue: Any, count: int) -> None:
        super().__init__(model, queue, count)
        self._pieces: list[Any] = []
        self._is_awaited = False

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Piece:
        while not self._pieces:
            if self._queue is None:
                raise StopAsyncIteration
            self._pieces = await self._wait()
            if not self._pieces:
                self._queue = None
                raise StopAsyncIteration
            self._pieces.reverse()
        return _piece_of(self._pieces.pop())

    async def _wait(self) -> list[Any]:
        """The engine's thread writes to a file that the loop watches; Python's lock is none of its business."""
        if self._is_awaited:
            raise RuntimeError("stream: another task waits for it: each task takes a stream of its own")
        queue, loop = self._queue, asyncio.get_running_loop()
        file = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        has_news = asyncio.Event()
        self._is_awaited = True
        try:
            loop.add_reader(file, has_news.set)
            queue.notify(file)
            await has_news.wait()
            if self._queue is None:  # closed by another task
                return []
            return queue.take_at_once()
        except BaseException:  # asyncio.CancelledError, too
            self.close()
            raise
        finally:
            self._is_awaited = False
            queue.notify(-1)
            loop.remove_reader(file)
            os.close(file)

    async def collect(self) -> list[Completion]:
        """Waits for the rest: an answer a prompt, in their order."""
        building = [_Building() for _ in range(self._count)]
        while self._queue is not None:
            pieces = await self._wait()
            for piece in pieces:
                building[piece.index].add(piece)
            if not pieces:
                self._queue = None
        return [answer.completion() for answer in building]

    async def aclose(self) -> None:
        """Ends the answers that still run."""
        self.close()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pieces = []
        self.close()
