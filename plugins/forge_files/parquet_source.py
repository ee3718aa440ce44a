"""Parquet as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import min_len, optional

import forge
from forge_files.columns import is_optional, missing, placed, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl


@attrs.frozen(kw_only=True)
class FilesParquet:
    """Read Parquet files with the types they have.

    *columns* names the columns and the dotted path of each (``{ text = "message.content" }``, through structs and,
    by number, lists). A file that can't be read is rejected by name.
    """

    path: forge.Files
    columns: dict[str, str] = attrs.Factory(dict)
    file_column: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    index_column: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    most_rejects: float = forge.most_rejects()

    def read(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject]:
        """Yield a frame a file."""
        import polars as pl

        for done, file in enumerate(self.path, start=1):
            try:
                frame = pl.read_parquet(file.path, hive_partitioning=False, glob=False)
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:  # damaged files panic
                size = file.path.stat().st_size
                yield forge.Reject(file.name, "not a Parquet file" if size else "empty file", excerpt=str(error)[:120])
            else:
                yield self._mapped(frame, file.name)
            run.progress(done, len(self.path))

    def _mapped(self, frame: pl.DataFrame, file: str) -> pl.DataFrame:
        import polars as pl

        # series by name, and called otherwise: expressions take a column called `*` or `^x$` for a pattern
        chosen = {name: frame[name] for name in frame.columns}
        if self.columns:
            chosen = {column: _at(frame, column, path, file) for column, path in self.columns.items()}
        index = pl.Series(range(1, frame.height + 1), dtype=pl.Int64)
        return placed(chosen, file, index, self.file_column, self.index_column)


def _at(frame: pl.DataFrame, column: str, path: str, file: str) -> pl.Series:
    """Return what lies at a dotted *path*."""
    import polars as pl

    name = plain(path)
    if name in frame.columns:
        return frame[name]
    first, *rest = name.split(".")
    found = frame[first].alias("found") if first in frame.columns else None
    for part in rest:
        if found is None:
            break
        kind = found.dtype
        if isinstance(kind, pl.Struct) and part in dict(kind):
            found = found.struct.field(part)
        elif isinstance(kind, pl.List) and part.isdecimal():
            found = found.list.get(int(part), null_on_oob=True)
        else:
            found = None
    if found is not None:
        return found
    if is_optional(path):
        return pl.Series([None] * frame.height, dtype=pl.Null)
    error = missing(column, path, _paths(frame.schema), f"`{file}`")
    raise forge.StepError(str(error), hint=error.hint)


def _paths(schema: pl.Schema) -> list[str]:
    import polars as pl

    found: list[str] = []

    def walk(name: str, kind: object) -> None:
        found.append(name)
        if isinstance(kind, pl.Struct):
            for field in kind.fields:
                walk(f"{name}.{field.name}", field.dtype)

    for name, kind in schema.items():
        walk(name, kind)
    return found
