"""Read CSV files as series, a row each."""

from __future__ import annotations

import csv
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge, max_len, min_len

import forge
from forge_series.downsample import Downsample
from forge_series.plain import plain_files
from forge_series.points import listed, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_TOGETHER = 256
"""Files whose series make one batch of rows."""

_LONGEST_HEADER = 4096  # bytes
_PATH = "__path__"


class _Unusable(Exception):
    """Carry why a file gives no series: a reason that counts well, the line, and what stands there."""

    def __init__(self, reason: str, line: int | None = None, excerpt: str = "") -> None:
        super().__init__(reason)
        self.line = line
        self.excerpt = excerpt


@attrs.frozen
class CsvSeries:
    """Read each CSV file as a series: a row with its values as a list.

    *values* names the columns that hold values, whatever their case; each that a file has is a series of its own.
    *stamps* names columns of time stamps, for `series.resample`; without it none are read. *stamp_format* is in
    strftime's words, else it is guessed from the first stamp.
    *missing* says what becomes of points that are empty, NaN, infinite or no number: ``reject`` the file, ``drop`` the
    points, ``interpolate`` between their neighbours, or carry the last value ``forward``; before the first and behind
    the last value both take the nearest. They are counted in the column ``missing``, and a warning sums them up.
    *reduce* does as `series.downsample` while files are read, so that whole series are never stored; a series of fewer
    than *least* points is rejected.
    Lines may end in CR alone; a file that is not UTF-8 is decoded by the first of *encodings* that fits.
    """

    path: forge.Files
    values: tuple[str, ...] = attrs.field(default=("value", "y"), validator=min_len(1))
    stamps: tuple[str, ...] = ()
    stamp_format: str | None = None
    missing: Literal["reject", "drop", "interpolate", "forward"] = "reject"
    separator: str = attrs.field(default=",", validator=[min_len(1), max_len(1)])
    encodings: tuple[str, ...] = attrs.field(default=("utf-8-sig", "gb18030"), validator=min_len(1))
    least: int = attrs.field(default=2, validator=ge(1))
    reduce: Downsample | None = None
    most_rejects: float = forge.most_rejects()

    def read(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject]:
        """Yield the series of some files together, after the rejects among them."""
        import polars as pl

        holes: list[tuple[int, int, str]] = []
        for start in range(0, len(self.path), _TOGETHER):
            files = self.path[start : start + _TOGETHER]
            frame = self._alike(files)
            read = set(frame["file"])
            rows: list[dict[str, Any]] = []
            for found in (self._series(file) for file in files if file.name not in read):
                if isinstance(found, forge.Reject):
                    yield found
                else:
                    rows += found
            if rows:
                frame = pl.concat([frame, _frame(rows)]).sort("file", maintain_order=True)
                holes += [(row["missing"], row["rows"], row["file"]) for row in rows if row["missing"]]
            yield self.reduce.reduced(frame) if self.reduce and frame.height else frame
            run.progress(start + len(files), len(self.path))
        if holes:
            run.warn(self._handled(holes))

    def _handled(self, holes: list[tuple[int, int, str]]) -> str:
        """Return what became of missing points, given their number, all points and the file of each series."""
        done = {"drop": "dropped", "interpolate": "interpolated", "forward": "filled with the value before"}
        bad, rows, file = max(holes, key=lambda hole: hole[0] / hole[1])
        points = sum(hole[0] for hole in holes)
        return (
            f"{points:,} missing points of {len(holes):,} series were {done[self.missing]}, as `missing` says; "
            f"the greatest share in `{file}`: {bad:,} of {rows:,}"
        )

    def _alike(self, files: tuple[forge.File, ...]) -> pl.DataFrame:
        """Return the rows of those *files* that are alike and without faults, read in one go."""
        import numpy as np
        import polars as pl

        first, alike = plain_files(files, self.separator)
        try:
            header = _header(first, self.separator)
            wanted, stamped = self._wanted(header)
        except _Unusable:
            return _frame([])
        if stamped or len(wanted) > 1:
            return _frame([])
        [name] = (header[place] for place in wanted)
        table = pl.scan_csv(
            [str(file.path) for file in alike],
            glob=False,
            include_file_paths=_PATH,
            separator=self.separator,
            schema_overrides={name: pl.Float64},
            infer_schema=False,
            ignore_errors=True,  # a cell that is no number becomes null, and its file is then read alone
        )
        points = table.select(_PATH, name).collect()
        runs = points[_PATH].rle().struct.unnest()
        if runs["value"].to_list() != [str(file.path) for file in alike]:
            return _frame([])  # some of them have no rows
        sizes = runs["len"].to_numpy().astype(np.int64)
        values = points[name]
        usable = values.is_not_null() & values.is_finite().fill_null(value=False)
        good = np.logical_and.reduceat(usable.to_numpy(), sizes.cumsum() - sizes) & (sizes >= self.least)
        same = {"column": name.strip(), "window": 0, "missing": 0, "stamps": None, "low": None, "high": None}
        rows = [
            same | _named(file) | {"rows": size, "values": None}
            for file, size, keep in zip(alike, sizes.tolist(), good, strict=True)
            if keep
        ]
        if not rows:
            return _frame([])
        kept = values if good.all() else values.filter(pl.Series(np.repeat(good, sizes)))
        return _frame(rows).with_columns(listed("values", kept, sizes[good]))

    def _series(self, file: forge.File) -> list[dict[str, Any]] | forge.Reject:
        """Return the rows of one file."""
        try:
            data = self._bytes(file)
            header = _header(data, self.separator)
            wanted, stamped = self._wanted(header)
            table = self._table(data, header, wanted, stamped)
            stamps = self._stamps(table[header[stamped[0]]]) if stamped else None
            same = {**_named(file), "rows": table.height, "window": 0}
            names = [header[place] for place in wanted]
            return [same | {"column": name.strip()} | self._points(table[name], stamps) for name in names]
        except _Unusable as why:
            return forge.Reject(file.name, str(why), why.line, why.excerpt)

    def _wanted(self, header: list[str]) -> tuple[list[int], list[int]]:
        """Return where the values and the stamps stand."""
        wanted, stamped = _places(header, self.values), _places(header, self.stamps)[:1]
        if not wanted or (self.stamps and not stamped):
            raise _Unusable("no column of time stamps" if wanted else "no column of values", 1, ",".join(header))
        return wanted, stamped

    def _bytes(self, file: forge.File) -> bytes:
        """Return the file's text as UTF-8 with line feeds."""
        data = file.read_bytes()
        if not data.isascii():
            data = self._recoded(data)
        if b"\r" in data and b"\n" not in data:
            data = data.replace(b"\r", b"\n")
        return data

    def _recoded(self, data: bytes) -> bytes:
        for encoding in self.encodings:
            try:
                return data.decode(encoding).encode()
            except UnicodeDecodeError:
                continue
        raise _Unusable("not text in any of the encodings")

    def _table(self, data: bytes, header: list[str], wanted: list[int], stamped: list[int]) -> pl.DataFrame:
        """Return the wanted columns: values as numbers, null where they are none, stamps as texts."""
        import polars as pl

        try:
            # all columns: where only some are asked for, a line of too many cells goes unnoticed
            texts = pl.read_csv(data, separator=self.separator, infer_schema=False)
        except pl.exceptions.PolarsError as error:
            raise _Unusable("broken CSV", excerpt=str(error).partition("\n")[0]) from None
        texts = texts.select(header[place] for place in sorted({*wanted, *stamped}))
        names = [header[place] for place in wanted]
        return texts.with_columns(pl.col(name).str.strip_chars().cast(pl.Float64, strict=False) for name in names)

    def _stamps(self, texts: pl.Series) -> pl.Series:
        import polars as pl

        plain = texts.str.strip_chars()
        found: pl.Series | None = None
        for kind in (pl.Datetime("us"), pl.Date):
            try:
                found = plain.str.strptime(kind, self.stamp_format, strict=False)
            except pl.exceptions.PolarsError:
                continue
            if found.null_count() < len(found):
                break
        if found is None or found.null_count():
            line = 0 if found is None else int(found.is_null().arg_max() or 0)
            raise _Unusable("a time stamp that can't be read", line + 2, str(plain[line]))
        if getattr(found.dtype, "time_zone", None):
            found = found.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return found.cast(pl.Datetime("us"))

    def _points(self, values: pl.Series, stamps: pl.Series | None) -> dict[str, Any]:
        """Return the columns of one series, its missing points handled."""
        import numpy as np
        import polars as pl

        if len(values) < self.least:
            raise _Unusable(f"under {self.least} points", excerpt=f"{len(values)} points")
        points: dict[str, Any] = {"values": values, "stamps": stamps, "low": None, "high": None, "missing": 0}
        if not values.null_count() and bool(np.isfinite(values.to_numpy()).all()):
            return points
        usable = values.is_finite().fill_null(value=False)
        bad = len(values) - int(usable.sum())
        if self.missing == "reject" or bad == len(values):
            line = int((~usable).arg_max() or 0)
            raise _Unusable("a value that is no number", line + 2, f"{bad} of {len(values)} values")
        points["missing"] = bad
        if self.missing == "drop":
            rows = pl.Series(range(len(values)), dtype=pl.UInt32).filter(usable)
            kept = {"values": values.filter(usable), "low": rows, "high": rows}
            return points | kept | {"stamps": None if stamps is None else stamps.filter(usable)}
        holes = values.set(~usable, None)
        filled = holes.interpolate() if self.missing == "interpolate" else holes.forward_fill()
        return points | {"values": filled.forward_fill().backward_fill()}


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame({n: pl.Series(n, [row[n] for row in rows], dtype=kind) for n, kind in schema().items()})


def _named(file: forge.File) -> dict[str, Any]:
    return {"name": PurePosixPath(file.name).stem, "file": file.name}


def _header(data: bytes, separator: str) -> list[str]:
    """Return the names in the first line."""
    line = data.partition(b"\n")[0].decode("utf-8-sig").strip("\r")
    if not line.strip():
        raise _Unusable("empty file" if not data.strip() else "no header")
    return next(csv.reader([line], delimiter=separator))


def _places(header: list[str], names: tuple[str, ...]) -> list[int]:
    """Return where in *header* the first column of each of *names* stands, case and blanks apart."""
    plain = [name.strip().casefold() for name in header]
    return sorted({plain.index(name) for name in (n.strip().casefold() for n in names) if name in plain})
