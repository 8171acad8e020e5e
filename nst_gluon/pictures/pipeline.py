"""Reading ahead and writing behind while the caller computes, a thread each; few items wait, so memory is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(source: Iterable[T], depth: int = 1) -> Iterator[T]:
    """The items of ``source`` in order, taken from it by a thread, up to ``depth`` of them before they are asked for.

    An error of ``source`` is raised here, in its place. When the caller stops early, what is being read is finished
    and no more is begun.
    """
    items = iter(source)
    with ThreadPoolExecutor(1, "ahead") as pool:
        waiting = deque(pool.submit(next, items, _END) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, items, _END))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)


class Behind:
    """Calls of ``function``, made by a thread in the order given; a call waits while ``depth`` are not done.

    A context manager: a clean exit waits for all calls. An error of ``function`` is raised by a later call or at the
    exit; up to ``depth`` - 1 calls after the one that failed may still be made. On any other error the calls that have
    not begun are dropped.
    """

    def __init__(self, function: Callable[..., object], depth: int = 1):
        self._function, self._depth = function, depth
        self._pool = ThreadPoolExecutor(1, "behind")
        self._waiting: deque[Future] = deque()

    def __call__(self, *arguments: object) -> None:
        while len(self._waiting) >= self._depth:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._function, *arguments))

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while kind is None and self._waiting:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)
