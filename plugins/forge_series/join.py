"""Join records to the series that their pictures show, by a declared rule on file names."""

from __future__ import annotations

import difflib
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge_series.points import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl

_RECORD = ("file", "index", "images", "system", "prompt", "answer")
_SERIES = ("file", "column", "rows", "values", "low", "high")
_EXTENSION = re.compile(r"\.(jpe?g|png|bmp|gif|webp|tiff?|svg|pdf|csv)$", re.IGNORECASE)
_NEAR = 3
"""Records without a series whose names are compared to all others: as many as the engine shows."""

_FOLDERS = re.compile(r".*[/\\]", re.DOTALL)


def _pattern(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        re.compile(value)
    except re.error as error:
        message = f"`{attribute.name}` is no regular expression: {error}, got `{value}`"
        raise ValueError(message) from None


@attrs.frozen
class Rewrite:
    r"""Replace what *pattern*, a regular expression, finds in a name by *to* (``\1`` is its first group)."""

    pattern: str = attrs.field(validator=_pattern)
    to: str = ""


@attrs.frozen
class Join:
    """Give each record the series that its images name: same name, once both went through the rewrites.

    An image's name is what is left of its path without folders and ending; a series' name is that of its file.
    *rewrites* are applied to both, in order, then *images* and *files* to one side each. Names are compared in
    Unicode's composed form, and whatever their case where *fold_case* says so.
    A record whose image has no file, or several, is dropped by that reason, and every series is accounted for too.
    The column ``looked_for`` holds the names as they were compared, of a record that is dropped what was found beside.
    Where series were sliced, a record gets a row for each window. A file with several columns gives several series.
    """

    rewrites: tuple[Rewrite, ...] = ()
    images: tuple[Rewrite, ...] = ()
    files: tuple[Rewrite, ...] = ()
    fold_case: bool = False

    def merge(self, tables: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
        """Return the records with their series, and what could not be joined, marked."""
        import polars as pl

        records, series = tables["records"].collect(), checked(tables["series"])
        if missing := [name for name in _RECORD if name not in records.columns]:
            raise forge.StepError(f"the records have no column `{missing[0]}`", hint="`series.records` makes them")
        keys = pl.Series("key", self._keys(series["name"], self.files), dtype=pl.String)
        sources = series.with_columns(keys)
        shown = (
            records.with_row_index("record")
            .explode("images")
            .with_columns(pl.int_range(0, pl.len(), dtype=pl.UInt32).over("record").alias("position"))
        )
        shown = shown.with_columns(pl.Series("key", self._keys(shown["images"], self.images), dtype=pl.String)).select(
            "record", "position", "key"
        )
        windows = sources.group_by("key", "window", maintain_order=True).agg(
            pl.struct(_SERIES).alias("series"), pl.col("file").n_unique().alias("of_files")
        )
        found = shown.join(windows, on="key", how="left", maintain_order="left")
        whole = found.group_by("record", "window", maintain_order=True).agg(
            pl.col("series"), pl.col("of_files").max(), pl.len().alias("images_found")
        )
        per_record = found.group_by("record").agg(
            pl.col("series").is_null().any().alias("lacking"), pl.col("of_files").max().alias("most_files")
        )
        joined = (
            records.with_row_index("record")
            .join(per_record, on="record", how="left", maintain_order="left")
            .join(whole, on="record", how="left", maintain_order="left")
        )
        told = _looked_for(joined.unique("record", keep="first", maintain_order=True), shown, sources)
        joined = joined.join(told, on="record", how="left", maintain_order="left")
        return self._marked(joined, sources, set(shown["key"]))

    def _marked(self, joined: pl.DataFrame, sources: pl.DataFrame, asked: set[str]) -> pl.LazyFrame:
        import polars as pl

        lacking, several = pl.col("lacking"), pl.col("most_files") > 1
        # one row for what can't be joined, however many windows it has
        joined = joined.filter(~(lacking | several) | pl.col("record").is_first_distinct())
        records = joined.lazy().with_columns(
            pl.when(lacking)
            .then(pl.lit("image without a series"))
            .when(several)
            .then(pl.lit("image with several files"))
            .when(pl.col("images_found") < pl.col("images").list.len())
            .then(pl.lit("window that not all of the series have"))
            .alias("__why__")
        )
        left = sources.lazy().select(
            pl.col("file", "window"),
            pl.col("key").alias("looked_for"),
            pl.when(pl.col("key").is_in(list(asked)))
            .then(pl.lit("series, now beside its records"))
            .otherwise(pl.lit("series that no record shows"))
            .alias("__why__"),
        )
        columns = (*_RECORD[:2], "looked_for", *_RECORD[2:], "window", "series", "__why__")  # the first are in examples
        everything = pl.concat([records.select(columns), left], how="diagonal")
        reasons = (
            "image without a series",
            "image with several files",
            "window that not all of the series have",
            "series that no record shows",
            "series, now beside its records",
        )
        return forge.drop(everything, {reason: pl.col("__why__") == reason for reason in reasons}).drop("__why__")

    def _keys(self, names: Iterable[str], own: tuple[Rewrite, ...]) -> list[str]:
        return [self.key(name, own) for name in names]

    def key(self, name: str, own: tuple[Rewrite, ...]) -> str:
        """Return what is compared of *name*, a path or a stem."""
        key = unicodedata.normalize("NFC", _EXTENSION.sub("", _FOLDERS.sub("", name)))
        for rewrite in (*self.rewrites, *own):
            key = re.sub(rewrite.pattern, rewrite.to, key)
        return key.casefold() if self.fold_case else key


def _looked_for(records: pl.DataFrame, shown: pl.DataFrame, sources: pl.DataFrame) -> pl.DataFrame:
    """Return for each record the names that it looked for, with near ones or all files where it found no one file."""
    import polars as pl

    wanted = shown.group_by("record", maintain_order=True).agg(pl.col("key").unique(maintain_order=True))
    told = wanted.select("record", pl.col("key").list.join(", ").alias("looked_for"))
    wrong = records.filter(pl.col("lacking") | (pl.col("most_files") > 1)).select("record", "lacking")
    if not wrong.height:
        return told
    found = sources.group_by("key", maintain_order=True).agg(pl.col("file").unique(maintain_order=True))
    files = dict(found.iter_rows())
    said: list[str] = []
    near = _NEAR
    for lacking, names in wrong.join(wanted, on="record", maintain_order="left").select("lacking", "key").iter_rows():
        said.append("; ".join(_beside(name, files, near=lacking and near > 0) for name in names))
        near -= lacking
    better = wrong.select("record", pl.Series("better", said, dtype=pl.String))
    told = told.join(better, on="record", how="left", maintain_order="left")
    return told.select("record", pl.coalesce("better", "looked_for").alias("looked_for"))


def _beside(name: str, files: Mapping[str, list[str]], *, near: bool) -> str:
    if name in files:
        return f"`{name}` in {', '.join(files[name])}" if len(files[name]) > 1 else f"`{name}`"
    alike = difflib.get_close_matches(name, files, n=2) if near else []
    return f"no `{name}`" + (f", near {' and '.join(f'`{other}`' for other in alike)}" if alike else "")
