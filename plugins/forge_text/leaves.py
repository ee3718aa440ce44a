"""Every string of a table or of a text file, however deep it lies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

_LINES = 65_536
"""Lines or records of a file that are in memory at once."""


def strings_of(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each string column as ``row, text``, nested ones too, under a name such as ``turns[].text``."""
    import polars as pl

    numbered = frame.with_row_index("__row__")
    for column in frame.columns:
        yield from _leaves(column, numbered.select(pl.col("__row__").alias("row"), pl.col(column).alias("text")))


def _leaves(name: str, column: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    import polars as pl

    kind = column.schema["text"]
    if kind == pl.String:
        yield name, column
    elif isinstance(kind, pl.Categorical | pl.Enum):
        yield name, column.with_columns(pl.col("text").cast(pl.String))
    elif isinstance(kind, pl.Array):
        yield from _leaves(name, column.with_columns(pl.col("text").arr.to_list()))
    elif isinstance(kind, pl.List):
        # what an empty list explodes to is not the same in all versions of polars
        yield from _leaves(f"{name}[]", column.filter(pl.col("text").list.len() > 0).explode("text"))
    elif isinstance(kind, pl.Struct):
        for field in kind.fields:
            inner = column.select("row", pl.col("text").struct.field(field.name).alias("text"))
            yield from _leaves(f"{name}.{field.name}", inner)


def strings_in(path: Path) -> Iterator[pl.DataFrame]:
    """Yield a text file's strings as ``row, text``: the strings of JSON records, else lines; *row* counts from 1.

    A line of a ``.jsonl`` file, or a ``.json`` file, that is not JSON is taken as it is.
    """
    import polars as pl

    rows: list[int] = []
    texts: list[str] = []
    for number, line in _records(path):
        found = [line] if path.suffix not in {".json", ".jsonl"} else list(_strings(line))
        rows += [number] * len(found)
        texts += found
        if len(rows) >= _LINES:
            yield pl.DataFrame({"row": rows, "text": texts})
            rows, texts = [], []
    if rows:
        yield pl.DataFrame({"row": rows, "text": texts})


def _records(path: Path) -> Iterator[tuple[int, str]]:
    if path.suffix == ".json":
        yield 1, path.read_text(encoding="utf-8", errors="replace")
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            yield number, line.rstrip("\n")


def _strings(text: str) -> Iterator[str]:
    try:
        value = json.loads(text)
    except ValueError:
        yield text
        return
    queue: list[Any] = [value]
    while queue:
        each = queue.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            yield from each
            queue += reversed(each.values())
        elif isinstance(each, list):
            queue += reversed(each)
        elif isinstance(each, int) and not isinstance(each, bool):
            yield str(each)  # a telephone number may be stored as a number
