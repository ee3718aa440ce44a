"""Every string of a table or of a text file, however deep it lies, and every number that may be a telephone's."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

_LINES = 65_536
"""Lines or records of a file that are in memory at once."""

_SAMPLE = 65_536
"""Bytes by which text is told from what is none."""
_LEAST = 1_000_000
"""The least number that is looked at: of seven digits, as many as a telephone's has."""
_EXACT = float(1 << 53)
"""Floats below hold whole numbers to the last digit."""
_JSON_LINES = (".jsonl", ".ndjson")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = bytes({*range(9), *range(14, 27), *range(28, 32)})


def strings_of(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each string column as ``row, text``, nested ones too, under a name such as ``turns[].text``.

    A column of numbers yields the whole ones of seven digits or more, as they are written: CSV keeps telephone numbers
    and identity cards so.
    """
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
    elif kind.is_numeric():
        if (numbers := _written(column)).height:
            yield name, numbers
    elif isinstance(kind, pl.Array):
        yield from _leaves(name, column.with_columns(pl.col("text").arr.to_list()))
    elif isinstance(kind, pl.List):
        # what an empty list explodes to is not the same in all versions of polars
        yield from _leaves(f"{name}[]", column.filter(pl.col("text").list.len() > 0).explode("text"))
    elif isinstance(kind, pl.Struct):
        for field in kind.fields:
            inner = column.select("row", pl.col("text").struct.field(field.name).alias("text"))
            yield from _leaves(f"{name}.{field.name}", inner)


def _written(column: pl.DataFrame) -> pl.DataFrame:
    """Return the whole numbers of a column that are long enough, as strings."""
    import polars as pl

    number = pl.col("text")
    kind = column.schema["text"]
    whole = number if kind.is_integer() else number.cast(pl.Float64)
    enough = whole >= _LEAST
    if not kind.is_integer():
        enough &= (whole == whole.floor()) & (whole < _EXACT)
    return column.filter(enough).with_columns(number.cast(pl.Int64, strict=False).cast(pl.String)).drop_nulls("text")


def encoding_of(path: Path) -> str | None:
    """Return the encoding of a text file, or None where its first bytes are no text.

    A byte order mark says it; else it is UTF-8, or GB18030, which holds GBK and GB2312, where that reads better.
    """
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    marked = next((name for mark, name in _MARKS if sample.startswith(mark)), None)
    if marked is not None:
        return marked
    if b"\0" in sample or len(sample) - len(sample.translate(None, _CONTROL)) > len(sample) // 100:
        return None
    loose = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(sample)  # the sample may end in a letter
    letters = [letter for letter in loose if letter > "\x7f"]
    damaged = sum("\udc80" <= letter <= "\udcff" for letter in letters)
    # Damaged UTF-8 often decodes as GB18030, to nonsense: most of its letters are whole, of real GB18030 few are.
    return "utf-8" if damaged * 4 <= len(letters) - damaged else "gb18030"


def strings_in(path: Path, encoding: str = "utf-8") -> Iterator[pl.DataFrame]:
    """Yield a text file's strings as ``row, text``: the strings of JSON records, else lines; *row* counts from 1.

    A line of a ``.jsonl`` file, or a ``.json`` file, that is not JSON is taken as it is.
    """
    import polars as pl

    rows: list[int] = []
    texts: list[str] = []
    for number, found in enumerate(_records(path, encoding), start=1):
        rows += [number] * len(found)
        texts += found
        if len(rows) >= _LINES:
            yield pl.DataFrame({"row": rows, "text": texts})
            rows, texts = [], []
    if rows:
        yield pl.DataFrame({"row": rows, "text": texts})


def counted_in(path: Path) -> str:
    """Return what the numbers of `strings_in` count: the entries of a JSON file, else its lines."""
    return "entry" if path.suffix.lower() == ".json" else "line"


def _records(path: Path, encoding: str) -> Iterator[list[str]]:
    kind = path.suffix.lower()
    if kind == ".json":
        for entry in _entries(path.read_text(encoding=encoding, errors="replace")):
            yield list(_leaves_of(entry))
        return
    with path.open(encoding=encoding, errors="replace") as lines:
        for line in lines:
            text = line.rstrip("\n")
            yield list(_strings(text)) if kind in _JSON_LINES else [text]


def _entries(text: str) -> list[Any]:
    """Return the entries of a JSON list, any other JSON value as the only one, and what is no JSON as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return value if isinstance(value, list) else [value]


def _strings(text: str) -> Iterator[str]:
    try:
        value = json.loads(text)
    except ValueError:
        yield text
        return
    yield from _leaves_of(value)


def _leaves_of(value: Any) -> Iterator[str]:
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
        elif isinstance(each, float) and each.is_integer() and abs(each) < _EXACT:
            yield str(int(each))
        elif isinstance(each, int) and not isinstance(each, bool):
            yield str(each)  # a telephone number may be stored as a number
