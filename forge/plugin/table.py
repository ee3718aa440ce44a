"""Tables on disk: Arrow files, whose bytes hang on nothing but their rows, and which are mapped rather than read."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import polars as pl

TABLE = "rows.arrow"
"""The member that makes an artifact a table."""

REJECTS = "rejects.arrow"
"""The member that holds what a source could not use."""

BATCH = 4_096
"""Rows of a record batch of a table's file."""

MAPPED_FROM = 32 << 20
"""Bytes of a file from which on mapping it gains more than the import of pyarrow takes."""

_SPAN = 64 << 20
"""Bytes of a file that are mapped at once."""


def write_rows(frame: pl.DataFrame, folder: Path) -> int:
    """Make *folder* a table of *frame*'s rows and return how many; the same frame gives the same bytes."""
    write_parts(iter([frame]), frame.schema, folder)
    return frame.height


def write_parts(parts: Iterator[pl.DataFrame], schema: pl.Schema, folder: Path) -> None:
    """Make *folder* a table of the rows of *parts*, frames of one *schema*, while they come.

    The same rows give the same bytes, wherever they are cut.
    """
    import polars as pl
    from polars.io.plugins import register_io_source

    folder.mkdir(parents=True, exist_ok=True)
    # One source that gives a batch at a time: a plan of many frames takes the square of their number to run.
    source = register_io_source(lambda *_pushed_down: _batches(parts, schema), schema=schema)
    # A path is opened twice, and cut to nothing the second time: ext4 then has the file written before it is closed.
    with (folder / TABLE).open("wb", buffering=0) as file:
        # strings without the views into buffers that depend on how threads shared the work
        source.sink_ipc(file, compression="uncompressed", compat_level=pl.CompatLevel.oldest(), record_batch_size=BATCH)


def _batches(parts: Iterator[pl.DataFrame], schema: pl.Schema) -> Iterator[pl.DataFrame]:
    """Cut *parts* anew, into frames of the rows of a batch."""
    import polars as pl

    # What is nested is copied: a slice of a list would have the whole column converted with it.
    copied = pl.all().gather(pl.int_range(pl.len()))
    left = pl.DataFrame(schema=schema)
    for part in parts:
        rows = pl.concat([left, part], rechunk=False) if left.height else part
        whole = rows.height - rows.height % BATCH
        for start in range(0, whole, BATCH):
            yield rows.slice(start, BATCH).rechunk().select(copied)
        left = rows.slice(whole)
    yield left.rechunk().select(copied)


def read_rows(folder: Path, first: int = 0, count: int | None = None) -> pl.LazyFrame:
    """Return the table in *folder*, or *count* of its rows from the *first* on, read lazily.

    A large table is mapped: Polars' own reader copies all that it reads, into memory that is made anew each time.
    """
    import polars as pl
    from polars.io.plugins import register_io_source

    path = folder / TABLE
    if path.stat().st_size >= MAPPED_FROM and not _too_wide(schema := pl.read_ipc_schema(path)):
        return register_io_source(_Mapped(str(path), first, count), schema=schema, is_pure=True)
    rows = scan_rows(folder)
    return rows.slice(first, count) if first or count is not None else rows


def scan_rows(folder: Path) -> pl.LazyFrame:
    """Return the table in *folder* by Polars' own reader, which is told what a plan needs: a height, a slice."""
    import polars as pl

    return pl.scan_ipc(folder / TABLE)


@attrs.frozen
class _Mapped:
    """Hold which rows of a file are read when a plan runs: what Polars calls an IO source."""

    path: str
    first: int
    count: int | None

    def __call__(
        self, columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield the first *rows* of *columns* for which *predicate* holds, some megabytes at a time.

        Each time the file is mapped anew: what was read of it no longer counts as memory once nobody needs it.
        """
        del batch
        info = os.stat(self.path)
        edges = _edges(self.path, info.st_ino, info.st_mtime_ns)
        stop = min(self.first + n if (n := self.count) is not None else edges[-1], edges[-1])
        stop = stop if rows is None else min(stop, self.first + rows)
        step = max(BATCH, _SPAN * edges[-1] // info.st_size // BATCH * BATCH)
        for start in range(self.first, stop, step):
            frame = self._read(edges, start, min(start + step, stop), columns)
            yield frame if predicate is None else frame.filter(predicate)

    def _read(self, edges: tuple[int, ...], start: int, stop: int, columns: list[str] | None) -> pl.DataFrame:
        import polars as pl
        import pyarrow as pa

        begin = bisect_right(edges, start) - 1
        with pa.memory_map(self.path) as file, pa.ipc.open_file(file) as reader:
            table = pa.Table.from_batches(reader.get_batch(i) for i in range(begin, bisect_left(edges, stop)))
        table = table.slice(start - edges[begin], stop - start)
        frame = pl.from_arrow(table if columns is None else table.select(columns), rechunk=False)
        return cast("pl.DataFrame", frame)


@lru_cache(maxsize=8)
def _edges(path: str, inode: int, changed: int) -> tuple[int, ...]:
    """Return with which rows the record batches of a file begin, and where the last one ends."""
    del inode, changed
    import pyarrow as pa

    with pa.memory_map(path) as file, pa.ipc.open_file(file) as reader:
        heights = (reader.get_batch(i).num_rows for i in range(reader.num_record_batches))
        return tuple(accumulate(heights, initial=0))


def _too_wide(schema: Mapping[str, Any]) -> bool:
    """Say whether some integers have more bits than pyarrow knows of."""
    return any("Int128" in str(kind) for kind in schema.values())
