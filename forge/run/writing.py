"""Write a table in a thread of its own, beside the work that makes its rows or looks at them.

Where a step changes nothing of a large table, its input's file is its table: the same rows are the same bytes.
"""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any

from forge.plugin.table import BATCH, MAPPED_FROM, TABLE, read_rows, write_parts
from forge.run.tables import count_rows, spans_of
from forge.store.disk import NO_LINKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import polars as pl

_PATIENCE = 0.2
"""Seconds between two looks at whether the thread that writes still lives."""
_LOOK = 4 * BATCH
"""Rows that are compared at once: those of a table that changed differ among the first of them, as a rule."""


class TableWriter(threading.Thread):
    """Write the frames of one *schema* that it is given as the table of *folder*.

    *source* is the folder of the table that they are made of, where there is one alone. The end of the ``with`` block
    waits for the last of them, and raises what went wrong; ``kept`` says then whether the file is that of *source*.
    """

    def __init__(self, schema: pl.Schema, folder: Path, source: Path | None = None) -> None:
        super().__init__(name="table")
        self._schema = schema
        self._folder = folder
        self._source = source
        self.kept = False
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
            if self._source is not None and _may_stay(self._source, self._schema):
                self.kept = _write_or_keep(self._given(), self._schema, self._folder, self._source)
            else:
                write_parts(self._given(), self._schema, self._folder)
        except BaseException as failure:  # noqa: BLE001  # a panic in Polars too; raised where the frames come from
            self._failure = failure

    def _given(self) -> Iterator[pl.DataFrame]:
        while (frame := self._waiting.get()) is not None:
            yield frame


def _may_stay(source: Path, schema: pl.Schema) -> bool:
    """Say whether a table is worth comparing with *source*, and equal rows of both are equal bytes."""
    import polars as pl

    path = source / TABLE
    return (
        path.stat().st_size >= MAPPED_FROM
        and list(pl.read_ipc_schema(path).items()) == list(schema.items())
        and all(map(_is_exact, schema.values()))
    )


def _is_exact(kind: Any) -> bool:
    """Say whether equal values of a type are the same bytes: 0.0 equals -0.0, categories have an order of their own."""
    import polars as pl

    if isinstance(kind, pl.Struct):
        return all(_is_exact(field.dtype) for field in kind.fields)
    if isinstance(kind, pl.List | pl.Array):
        return _is_exact(kind.inner)
    return bool(kind.is_integer() or kind.is_temporal() or kind in (pl.String, pl.Boolean, pl.Binary, pl.Null))


def _write_or_keep(parts: Iterator[pl.DataFrame], schema: pl.Schema, folder: Path, source: Path) -> bool:
    """Make *folder* a table of the rows of *parts*, and say whether it is the file of *source*: they are its rows.

    Nothing is written as long as they are; from the first row on that is another one all are.
    """
    same = 0
    for part in parts:
        if not _stands(part, source, same):
            write_parts(chain(_first_of(source, same), [part], parts), schema, folder)
            return False
        same += part.height
    if same == count_rows(source) and _linked(source, folder):
        return True
    write_parts(_first_of(source, same), schema, folder)
    return False


def _stands(part: pl.DataFrame, source: Path, first: int) -> bool:
    """Say whether *source* has the rows of *part*, from its row *first* on."""
    return all(
        rows.equals(read_rows(source, first + start, rows.height).collect())
        for start in range(0, part.height, _LOOK)
        if (rows := part.slice(start, _LOOK)).height
    )


def _first_of(source: Path, rows: int) -> Iterator[pl.DataFrame]:
    """Yield the first *rows* of a table."""
    for start, count in spans_of(rows, (source / TABLE).stat().st_size) if rows else ():
        yield read_rows(source, start, count).collect()


def _linked(source: Path, folder: Path) -> bool:
    """Give the file of *source* a second name in *folder*, and say whether its disk can."""
    try:
        os.link(os.path.realpath(source / TABLE), folder / TABLE)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True
