"""Work on a few items ahead of whoever wants the results, in threads."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    Item = TypeVar("Item")
    Result = TypeVar("Result")


def ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield what *function* makes of each item, in the items' order.

    *threads* threads work on the items, which are drawn where the results are wanted: never more than one beyond the
    number of threads is begun and not yielded. An error, of *function* or of *items*, is raised when its turn comes.
    """
    from concurrent.futures import Future, ThreadPoolExecutor  # brings logging along

    waiting: deque[Future[Result]] = deque()
    draw = iter(items)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        try:
            while True:
                try:
                    waiting.append(pool.submit(function, next(draw)))
                except StopIteration:
                    break
                except Exception as error:  # noqa: BLE001  # raised below, behind what was begun before
                    waiting.append(Future())
                    waiting[-1].set_exception(error)
                    break
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
