"""Which fields of a record become columns, and what is said where a field is not there."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import polars as pl

MISSING = object()
_MANY, _FEW = 12, 3


class MissingColumn(ValueError):
    """Say that a column is not there; ``hint`` says what is."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def is_optional(path: str) -> bool:
    """Say whether a column may be missing everywhere (``topic?``)."""
    return path.endswith("?")


def plain(path: str) -> str:
    """Return a path without the mark that it may be missing."""
    return path.removesuffix("?")


def find(record: Any, path: str) -> Any:
    """Return what lies at a dotted *path* (``answers.0.content``) in *record*, or MISSING.

    A field whose own name holds dots is found first.
    """
    path = plain(path)
    if isinstance(record, dict) and path in record:
        return record[path]
    for part in path.split("."):
        if isinstance(record, dict) and part in record:
            record = record[part]
        elif isinstance(record, list) and part.isdecimal() and int(part) < len(record):
            record = record[int(part)]
        else:
            return MISSING
    return record


def paths_in(records: Iterable[Any]) -> list[str]:
    """Return the dotted paths that *records* have, in the order in which they are met."""
    found: dict[str, None] = {}

    def walk(value: Any, path: str) -> None:
        if path:
            found[path] = None
        if isinstance(value, dict) and path.count(".") < 3:  # noqa: PLR2004  # deeper ones help nobody
            for name, inner in value.items():
                walk(inner, f"{path}.{name}" if path else str(name))
        elif isinstance(value, list) and value and path.count(".") < 3:  # noqa: PLR2004
            walk(value[0], f"{path}.0" if path else "0")

    for record in records:
        walk(record, "")
    return list(found)


def missing(column: str, path: str, there: Iterable[str], where: str) -> MissingColumn:
    """Return the error for a *column* whose *path* is nowhere in *where*."""
    names = sorted(there, key=lambda name: name.count("."))
    path = plain(path)
    close = get_close_matches(path, names, n=1, cutoff=0.6)
    shown = ", ".join(f"`{name}`" for name in names[:_MANY]) + (" …" if len(names) > _MANY else "")
    hint = f"did you mean `{close[0]}`? " if close else ""
    return MissingColumn(
        f"there is no `{path}`, which `columns` calls `{column}`, in {where}",
        f"{hint}there is {shown or 'nothing'}; `{path}?` may be missing",
    )


def these(files: Sequence[str]) -> str:
    """Return the names of *files* in a line, of many the first."""
    shown = [f"`{file}`" for file in files[:_FEW]]
    rest = len(files) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def placed(
    columns: Mapping[str, pl.Series], file: str, index: pl.Series, file_column: str | None, index_column: str | None
) -> pl.DataFrame:
    """Return *columns* behind those that say where rows come from: *file*, and the *index* of each row in it."""
    import polars as pl

    where = {file_column: pl.Series([file], dtype=pl.String).new_from_index(0, len(index)), index_column: index}
    named = {name: series for name, series in where.items() if name}
    if taken := named.keys() & columns.keys():
        raise forge.StepError(
            f"`{file}` has a column `{min(taken)}` of its own",
            hint="give `file_column` and `index_column` other names",
        )
    return pl.DataFrame({**named, **columns})


@attrs.define
class ColumnMap:
    """Map records to rows, and remember which columns were met in any file, in the file of now, and where none was."""

    columns: Mapping[str, str]
    met: set[str] = attrs.Factory(set)
    here: set[str] = attrs.Factory(set)
    rows: int = 0
    lacking: dict[str, list[str]] = attrs.Factory(dict)
    first: tuple[str, int, Any] | None = None

    def row(self, record: dict[str, Any], file: str, index: int) -> dict[str, Any]:
        """Return *record* as the row that is wanted."""
        if not self.columns:
            return record
        if self.first is None:
            self.first = (file, index, record)
        self.rows += 1
        row = {}
        for column, path in self.columns.items():
            value = find(record, path)
            if value is not MISSING:
                self.here.add(column)
            row[column] = None if value is MISSING else value
        return row

    def is_flat(self, fields: Iterable[str]) -> bool:
        """Say whether each column is one of *fields* as it is, or lies in none of them."""
        return all(path in fields or path.partition(".")[0] not in fields for path in map(plain, self.columns.values()))

    def close(self, file: str) -> None:
        """End *file*: remember the columns that none of its records had."""
        for column, path in self.columns.items() if self.rows else ():
            if column not in self.here and not is_optional(path):
                self.lacking.setdefault(column, []).append(file)
        self.met |= self.here
        self.here, self.rows = set(), 0

    def warnings(self) -> Iterator[str]:
        """Yield what should be said of columns that only some files have."""
        for column, files in self.lacking.items():
            path = self.columns[column]
            yield f"no record of {these(files)} has `{path}`: column `{column}` is null there; `{path}?` may be missing"

    def check(self) -> None:
        """Raise for a column that no record had."""
        if self.first is None:
            return
        file, index, record = self.first
        for column, path in self.columns.items():
            if column not in self.met and not is_optional(path):
                error = missing(column, path, paths_in([record]), f"any record, the first of which is `{file}:{index}`")
                raise forge.StepError(str(error), hint=error.hint)
