"""JSON and JSON Lines as sources."""

from __future__ import annotations

import copy
import re
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal

import attrs

import forge
from forge_files.columns import MISSING, ColumnMap, find, is_optional, missing, paths_in, placed, plain
from forge_files.gathering import Gathering, Unsettled
from forge_files.json_blocks import NotInBlocks, blocks, decode_block, is_worth
from forge_files.json_text import JsonReader, NotFinite
from forge_files.reading import Broken, count_lines, decode, lines_of
from forge_files.table_source import VALUE, Reading, TableSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from forge_files.kinds import Kind

_PEEK = 1 << 18  # bytes of the first file that are looked at before a build
_ENOUGH = 20  # records among which a column should be met


def _columns_are_there(instance: FilesJson | FilesJsonl, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Look at the head of the first file, so that a misspelt column is told before anything runs."""
    del attribute
    if not value or not instance.path:
        return
    with instance.path[0].path.open("rb") as stream:
        head = stream.read(_PEEK)
        whole = not stream.read(1)
    try:
        text = decode(head if whole else head[: head.rfind(b"\n") + 1] or head, instance.encoding)
        records = [r for _, r in islice(instance.entries(text), _ENOUGH) if not isinstance(r, Broken)]
    except (Broken, LookupError, TypeError, ValueError):
        return  # the build rejects the file by name, another validator the parameter that is wrong
    if len(records) < _ENOUGH and not (whole and len(instance.path) == 1 and records):
        return  # too little to say
    records = [r if isinstance(r, dict) else {VALUE: r} for r in records]
    for column, path in value.items():
        if not is_optional(path) and all(find(record, path) is MISSING for record in records):
            raise missing(
                column, path, paths_in(records), f"the first {len(records)} records of `{instance.path[0].name}`"
            )


_LIST, _OBJECT = "one JSON list of objects", "one JSON object over several lines"
_OBJECTS = "JSON objects over several lines each"
_OPENS = re.compile(r"\s*[\[{]")
_LONG_LIST, _LONG_OBJECT = re.compile(r"\s*\[\s*\{"), re.compile(r"\s*\{[ \t]*[\r\n]+[ \t]+\"")


class NoLines(ValueError):
    """Say that a file is JSON, and no JSON Lines."""

    hint = 'read it by `use = "files.json"`'


def _holds_lines(instance: FilesJsonl, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Look at the head of the first file: one list of objects, or objects over several lines, are no JSON Lines."""
    del attribute
    if not value:
        return
    with value[0].path.open("rb") as stream:
        head = stream.read(_PEEK)
        whole = not stream.read(1)
    try:
        text = decode(head if whole else head[: head.rfind(b"\n") + 1] or head, instance.encoding)
    except (Broken, LookupError):
        return  # the build rejects the file by name, another validator the parameter that is wrong
    told = _told_as_json(text, instance) if whole else _begun_as_json(text)
    if told:
        raise NoLines(f"`{value[0].name}` holds {told}, and no record a line")


def _told_as_json(text: str, instance: FilesJsonl) -> str:
    """Say what one value a whole file is; nothing where its lines may be records."""
    if not _OPENS.match(text):
        return ""
    try:
        value = JsonReader(instance.not_finite).value(text)
    except Broken:
        return _OBJECTS if _LONG_OBJECT.match(text) else ""
    if isinstance(value, dict):
        return _OBJECT if count_lines(text.strip()) else ""
    return _LIST if value and all(isinstance(each, dict) for each in value) else ""


def _begun_as_json(text: str) -> str:
    """Say what a large file begins as; nothing where its first line may be a record."""
    if _LONG_LIST.match(text) and (text.lstrip()[1:2] in "\r\n" or not count_lines(text.strip())):
        return _LIST
    return _OBJECT if _LONG_OBJECT.match(text) else ""


@attrs.frozen(kw_only=True)
class FilesJson(TableSource):
    """Read JSON files: a list of records, one record, or objects one after another.

    *columns* names the columns and the dotted path of each in a record (``{ text = "answers.0.content" }``; a path
    that ends in ``?`` may be missing everywhere); without it a record's fields are the columns. *records* is the
    dotted path of the list of records (``data.items``). With ``each = "file"`` a file is one record, also where it
    is a list. A record that is not an object has its value in the column ``value``.
    A key that stands twice in an object rejects its record; so do NaN and Infinity, unless *not_finite* is ``null``.
    """

    columns: dict[str, str] = attrs.field(factory=dict, validator=_columns_are_there)
    records: str = ""
    each: Literal["record", "file"] = "record"
    not_finite: NotFinite = "reject"

    def mapping(self) -> ColumnMap:
        """Return how records become rows."""
        return ColumnMap(self.columns)

    def entries(self, text: str) -> Iterator[tuple[int, Any]]:
        """Yield index and value of each record of a file."""
        reader = JsonReader(self.not_finite)
        if self.each == "record":
            yield from enumerate(reader.records(text, self.records), start=1)
            return
        value = reader.value(text)
        found = find(value, self.records) if self.records else value
        yield 1, Broken(f"there is no `{self.records}`", text) if found is MISSING else found


@attrs.frozen(kw_only=True)
class FilesJsonl(TableSource):
    """Read JSON Lines: a record a line, blank lines passed over, a broken line rejected by its number.

    *columns* and *not_finite* are those of `files.json`.
    """

    path: forge.Files = attrs.field(validator=_holds_lines)
    columns: dict[str, str] = attrs.field(factory=dict, validator=_columns_are_there)
    not_finite: NotFinite = "reject"

    def mapping(self) -> ColumnMap:
        """Return how records become rows."""
        return ColumnMap(self.columns)

    def imports(self) -> tuple[str, ...]:
        """Return what a worker may load while the build still looks at the files."""
        return ("pyarrow.json",) if any(is_worth(file.path, self.encoding) for file in self.path) else ()

    def read(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject | forge.Restart]:
        """Yield rejects and rows in the order of the files, of large files while they are read."""
        if self.path and all(is_worth(file.path, self.encoding) for file in self.path):
            try:
                yield from self._flowing(run)
            except (NotInBlocks, Unsettled) as reason:
                yield forge.Restart(str(reason))
            else:
                return
        yield from super().read(run)

    def _flowing(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject]:
        """Read large files as `read` does and give what each block holds; raises NotInBlocks and Unsettled."""
        reading = Reading(Gathering(), self.mapping())
        for done, file in enumerate(self.path, start=1):
            for rejects in self._blocks(file, reading, run.threads):
                yield from rejects
                yield from reading.gathering.flow()
            reading.mapping.close(file.name)
            run.progress(done, len(self.path))
        yield from self.rest(reading, run)

    def read_file(self, file: forge.File, reading: Reading, run: forge.Run) -> Iterator[forge.Reject]:
        """Read one file, a large one in blocks of lines; raises Broken."""
        if is_worth(file.path, self.encoding):
            trial = Reading(reading.gathering.fork(), copy.deepcopy(reading.mapping))
            try:
                rejects = list(chain.from_iterable(self._blocks(file, trial, run.threads)))
            except NotInBlocks:
                pass
            else:
                reading.gathering.join(trial.gathering)
                reading.mapping = trial.mapping
                yield from rejects
                return
        yield from super().read_file(file, reading, run)

    def _blocks(self, file: forge.File, reading: Reading, threads: int) -> Iterator[list[forge.Reject]]:
        """Read a file as `read_file` does and yield the rejects of each block.

        Raises NotInBlocks where its bytes must be looked at as a whole.
        """
        fields: dict[str, Kind] = {}
        reading.fields = fields
        before = 0
        for block, rows in blocks(file.path, lambda: fields if reading.mapping.is_flat(fields) else {}, threads):
            if rows is not None:
                reading.gathering.take(self._columns(rows, reading.mapping, file.name, before))
                before += rows.height
                yield []
                continue
            text = decode_block(block)
            rejects = list(self.read_text(text, file.name, reading, before))
            before += count_lines(text)
            yield rejects
        if not fields:  # what holds no object may be no text of lines at all
            raise NotInBlocks(f"no line of `{file.name}` is an object")

    def _columns(self, records: pl.DataFrame, mapping: ColumnMap, file: str, before: int) -> pl.DataFrame:
        """Return rows of *records* as `read_text` makes them, *before* lines stand before the first in the file."""
        import polars as pl

        count = records.height
        columns = {name: records[name] for name in records.columns}
        if mapping.columns:
            nothing = pl.Series([None] * count, dtype=pl.Null)
            columns = {column: columns.get(plain(path), nothing) for column, path in mapping.columns.items()}
        index = pl.Series(range(before + 1, before + count + 1), dtype=pl.Int64)
        return placed(columns, file, index, self.file_column, self.index_column)

    def entries(self, text: str) -> Iterator[tuple[int, Any]]:
        """Yield number and value of each line that is not blank."""
        reader = JsonReader(self.not_finite)
        for number, line in lines_of(text):
            if line.strip():
                try:
                    yield number, reader.value(line)
                except Broken as broken:
                    yield number, broken
