"""Write a table in a thread of its own, beside the work that makes its rows or looks at them."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from forge.plugin.table import write_parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import polars as pl

_PATIENCE = 0.2
"""Seconds between two looks at whether the thread that writes still lives."""


class TableWriter(threading.Thread):
    """Write the frames of one *schema* that it is given as the table of *folder*.

    The end of the ``with`` block waits for the last of them, and raises what went wrong.
    """

    def __init__(self, schema: pl.Schema, folder: Path) -> None:
        super().__init__(name="table")
        self._schema = schema
        self._folder = folder
        self._waiting: queue.Queue[pl.DataFrame | None] = queue.Queue(1)
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.give(None)
        self.join()
        if self._failure is not None and fault is None:
            raise self._failure

    def give(self, frame: pl.DataFrame | None) -> bool:
        """Wait until *frame* can be taken, and say whether it was: not after a failure."""
        while self.is_alive():
            with suppress(queue.Full):
                self._waiting.put(frame, timeout=_PATIENCE)
                return True
        return False

    def run(self) -> None:
        """Write until None comes."""
        try:
            write_parts(self._given(), self._schema, self._folder)
        except BaseException as failure:  # noqa: BLE001  # a panic in Polars too; raised where the frames come from
            self._failure = failure

    def _given(self) -> Iterator[pl.DataFrame]:
        while (frame := self._waiting.get()) is not None:
            yield frame
