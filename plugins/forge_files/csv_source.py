"""CSV as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import optional

import forge
from forge_files import csv_text
from forge_files.columns import is_optional, missing, placed, plain, these
from forge_files.csv_text import LINE
from forge_files.reading import Broken, decode, known_encoding, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_PEEK = 1 << 16  # bytes of the first file whose header is looked at before a build
_INTEGER = r"^-?(?:0|[1-9][0-9]*)$"
_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
_LONG = r"^-?[0-9]{16}"  # a float may not hold so many digits, and an order number must not lose one
_NO_NUMBER = ("NaN", "nan", "NA", "N/A", "null", "NULL", "None")


def _one_character(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if value != "auto" and (len(value) != 1 or value in '"\r\n'):
        raise ValueError(f"`{attribute.name}` must be `auto` or one character, got `{value}`")


def _header_has_columns(instance: FilesCsv, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Look at the header of the first file, so that a misspelt column is told before anything runs."""
    del attribute
    if not value or not instance.path:
        return
    with instance.path[0].path.open("rb") as stream:
        head = stream.read(_PEEK)
        whole = not stream.read(1)
    try:
        text = decode(head if whole else head[: max(head.rfind(b"\n"), head.rfind(b"\r")) + 1], instance.encoding)
        names = instance.names(text)
    except (Broken, LookupError, TypeError, ValueError):
        return  # the build rejects the file by name, another validator the parameter that is wrong
    others = len(instance.path) > 1
    for column, path in value.items():
        if plain(path) not in names and not is_optional(path) and not others:
            raise missing(column, path, names, f"the header of `{instance.path[0].name}`")


@attrs.frozen(kw_only=True)
class FilesCsv:
    """Read CSV files: quoted fields may hold line breaks, line ends may be CRLF, LF or CR.

    *separator* is found by a line ``sep=;`` or the first records, or declared. A column without a name is called
    ``column_1`` by its place. An empty field is null. With ``types = "infer"`` a column whose fields are all numbers
    holds numbers, and NaN, NA and null in it are nulls; a number with a leading zero is text, and so are integers that
    would lose digits. *columns* names the columns and the name of each in the header (``{ text = "answerText" }``).
    A record with fields too few or too many is rejected.
    """

    path: forge.Files
    encoding: str = attrs.field(default="auto", validator=known_encoding)
    separator: str = attrs.field(default="auto", validator=_one_character)
    header: bool = True
    columns: dict[str, str] = attrs.field(factory=dict, validator=_header_has_columns)
    types: Literal["infer", "text"] = "infer"
    file_column: str | None = attrs.field(default=None, validator=optional(attrs.validators.min_len(1)))
    index_column: str | None = attrs.field(default=None, validator=optional(attrs.validators.min_len(1)))
    most_rejects: float = forge.most_rejects()

    def read(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject]:
        """Yield the rejects as they are met, then the rows, in the order of the files."""
        import polars as pl

        frames: dict[str, pl.DataFrame] = {}
        for done, file in enumerate(self.path, start=1):
            try:
                frame, rejects = self.table(text_of(file, self.encoding, run))
            except Broken as broken:
                yield forge.Reject(file.name, broken.reason, excerpt=broken.excerpt)
            else:
                yield from (forge.Reject(file.name, b.reason, line, b.excerpt) for line, b in rejects)
                frames[file.name] = self._placed(frame, file.name)
            run.progress(done, len(self.path))
        if frames:
            table = self._mapped(pl.concat(frames.values(), how="diagonal"))
            self._warn_of_headers(frames, run)
            yield table

    def names(self, text: str) -> list[str]:
        """Return the columns that *text* has."""
        text, separator = csv_text.separated(text, self.separator, header=self.header)
        _, fields = next(csv_text.records(text, separator), (0, []))
        if isinstance(fields, Broken):
            raise fields
        return csv_text.header_of(fields if self.header else [""] * len(fields))

    def table(self, text: str) -> tuple[pl.DataFrame, list[tuple[int, Broken]]]:
        """Return the table of texts that *text* holds, and the lines that can't be used."""
        text, separator = csv_text.separated(text, self.separator, header=self.header)
        frame = csv_text.quick(text, separator, header=self.header)
        return (frame, []) if frame is not None else csv_text.careful(text, separator, header=self.header)

    def _placed(self, frame: pl.DataFrame, file: str) -> pl.DataFrame:
        columns = {name: frame[name] for name in frame.columns if name != LINE}
        return placed(columns, file, frame[LINE], self.file_column, self.index_column)

    def _warn_of_headers(self, frames: dict[str, pl.DataFrame], run: forge.Run) -> None:
        """Warn of columns that the headers of some files have and those of others have not."""
        there = dict.fromkeys(name for frame in frames.values() for name in frame.columns)
        for column, path in (self.columns or {name: name for name in there}).items():
            name = plain(path) if self.columns else path
            files = [file for file, frame in frames.items() if frame.height and name not in frame.columns]
            if files and not (self.columns and is_optional(path)):
                run.warn(f"the header of {these(files)} has no `{name}`: column `{column}` is null there")

    def _mapped(self, table: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        own = [name for name in (self.file_column, self.index_column) if name]
        names = [name for name in table.columns if name not in own]
        chosen = {name: name for name in names}
        if self.columns:
            chosen = {column: plain(path) for column, path in self.columns.items()}
            for column, path in self.columns.items():
                if plain(path) not in names and not is_optional(path):
                    error = missing(column, path, names, "any header")
                    raise forge.StepError(str(error), hint=error.hint)
        # series by name, and called otherwise: expressions take a column called `*` or `^x$` for a pattern
        result = {name: table[name] for name in own}
        for column, name in chosen.items():
            cells = table[name].alias("cells") if name in names else pl.Series([None] * table.height, dtype=pl.String)
            cells = cells.set(cells == "", None)
            result[column] = cells if self.types == "text" else _typed(cells)
        return pl.DataFrame(result)


def _typed(column: pl.Series) -> pl.Series:
    """Return *column* as numbers where it holds nothing else, and no digit is lost."""
    import polars as pl

    plain = column.set(column.is_in(list(_NO_NUMBER)), None)
    filled = plain.drop_nulls()
    for pattern, kind in ((_INTEGER, pl.Int64), (_NUMBER, pl.Float64)):
        if filled.len() and filled.str.contains(pattern).all():
            if kind == pl.Float64 and filled.str.contains(_LONG).any():
                return column
            numbers = plain.cast(kind, strict=False)
            if numbers.null_count() == plain.null_count() and bool(numbers.is_finite().fill_null(value=True).all()):
                return numbers
    return column
