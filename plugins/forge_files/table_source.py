"""What the sources of JSON and text share: files one by one, records to rows, rejects by file and index."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import optional

import forge
from forge_files.columns import ColumnMap
from forge_files.gathering import Gathering
from forge_files.kinds import examine, learn
from forge_files.reading import Broken, known_encoding, may_be_unsound, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import polars as pl

    from forge_files.kinds import Kind

VALUE = "value"
"""The column of a record that is not an object."""


def _named(instance: TableSource, attribute: attrs.Attribute[str], value: str) -> None:
    if not value:
        raise ValueError(f"`{attribute.name}` must name a column")
    if instance.file_column == instance.index_column:
        raise ValueError(f"`file_column` and `index_column` both name the column `{value}`: give each its own")


@attrs.define
class Reading:
    """Hold what was read so far: the rows, which columns were met and, on demand, the kinds of records' *fields*."""

    gathering: Gathering
    mapping: ColumnMap
    fields: dict[str, Kind] | None = None


@attrs.frozen(kw_only=True)
class TableSource(abc.ABC):
    """Read files into rows; a subclass says what a file's text holds.

    *file_column* and *index_column* name columns for where a row comes from: the file's name below the fixed part of
    the glob, and the number of the record or line in it, from 1.
    """

    path: forge.Files
    encoding: str = attrs.field(default="auto", validator=known_encoding)
    file_column: str | None = attrs.field(default=None, validator=optional(_named))
    index_column: str | None = attrs.field(default=None, validator=optional(_named))
    most_rejects: float = forge.most_rejects()

    def read(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject | forge.Restart]:
        """Yield the rejects as they are met, then the rows, in the order of the files."""
        reading = Reading(Gathering(), self.mapping())
        for done, file in enumerate(self.path, start=1):
            try:
                yield from self.read_file(file, reading, run)
            except Broken as broken:
                yield forge.Reject(file.name, broken.reason, excerpt=broken.excerpt)
            reading.mapping.close(file.name)
            run.progress(done, len(self.path))
        yield from self.rest(reading, run)

    def rest(self, reading: Reading, run: forge.Run) -> Iterator[pl.DataFrame]:
        """Yield the rows that were not given yet, once all files are read; raises StepError for a column of none."""
        reading.mapping.check()
        for warning in reading.mapping.warnings():
            run.warn(warning)
        yield from reading.gathering.result()

    def read_file(self, file: forge.File, reading: Reading, run: forge.Run) -> Iterator[forge.Reject]:
        """Read one file into *reading* and yield the records that can't be used; raises Broken."""
        yield from self.read_text(text_of(file, self.encoding, run), file.name, reading)

    def read_text(self, text: str, name: str, reading: Reading, before: int = 0) -> Iterator[forge.Reject]:
        """Read the records of *text*, of which *before* stand before it in the file; raises Broken."""
        texts = may_be_unsound(text)
        for index, record in self.entries(text):
            try:
                examined(record, texts=texts)
                reading.gathering.add(self._row(record, reading.mapping, name, before + index))
                if reading.fields is not None:
                    learn(reading.fields, record)
            except Broken as broken:
                yield forge.Reject(name, broken.reason, before + index, broken.excerpt)

    def mapping(self) -> ColumnMap:
        """Return how records become rows."""
        return ColumnMap({})

    @abc.abstractmethod
    def entries(self, text: str) -> Iterable[tuple[int, Any]]:
        """Yield index and value of each record of a file; a Broken in the place of one that can't be read."""

    def _row(self, record: Any, mapping: ColumnMap, file: str, index: int) -> dict[str, Any]:
        row = mapping.row(record if isinstance(record, dict) else {VALUE: record}, file, index)
        where = {name: at for name, at in ((self.file_column, file), (self.index_column, index)) if name}
        if taken := where.keys() & row.keys():
            column = min(taken)
            raise forge.StepError(
                f"the records of `{file}` have a column `{column}` of their own",
                hint="give `file_column` and `index_column` other names",
            )
        return {**where, **row}


def examined(record: Any, *, texts: bool) -> None:
    """Raise Broken for a record that can't be used."""
    if isinstance(record, Broken):
        raise record
    try:
        examine(record, texts=texts)
    except Broken as broken:
        raise Broken(broken.reason, broken.excerpt or record) from None
