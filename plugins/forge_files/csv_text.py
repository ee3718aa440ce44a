"""Read CSV text record by record: the quick way where no field is quoted, the careful way otherwise."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from forge_files.reading import EXCERPT, Broken, is_sound, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

SEPARATORS = (",", ";", "\t", "|")
_TOLD = re.compile(r"sep=([^\"\r\n])(?=[\r\n])")
_SAMPLE = 20  # records that a guess looks at
LINE = "\x00line"
"""The column of the line in which a record begins; no text that is read can hold this name."""


def separated(text: str, separator: str, *, header: bool) -> tuple[str, str]:
    """Return *text* and its separator, found where it is ``auto``: by a first line ``sep=;``, else by the records."""
    told = _TOLD.match(text)
    if told and separator in ("auto", told[1]):
        return text[told.end() :], told[1]  # its line stays, empty, so that the others keep their numbers
    return text, separator_of(text, header=header) if separator == "auto" else separator


def separator_of(text: str, *, header: bool) -> str:
    """Return the separator by which the first records have the same number of fields, the greatest there is.

    A *header* has as many fields as its records.
    """
    _allow_long_fields(text)
    lines = [line for _, line in islice(lines_of(text), 20 * _SAMPLE)]
    best, most = ",", 1
    for separator in SEPARATORS:
        try:
            rows = [r for r in islice(csv.reader(lines, delimiter=separator), _SAMPLE) if r]
        except csv.Error:
            continue
        (count, times) = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        if count > most and times * 2 > len(rows) and not (header and len(rows[0]) != count):
            best, most = separator, count
    return best


def _allow_long_fields(text: str) -> None:
    """Let a field be as long as *text* is: Python's reader has a bound for the process, 131,072 characters."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))


def header_of(fields: list[str]) -> list[str]:
    """Return the names of the columns; one without a name is called by its place, ``column_1``."""
    names = [name.strip() or f"column_{place}" for place, name in enumerate(fields, start=1)]
    if len(set(names)) != len(names):
        raise Broken(f"two columns are called `{Counter(names).most_common(1)[0][0]}`")
    return names


def records(text: str, separator: str) -> Iterator[tuple[int, Any]]:
    """Yield the fields of each record with the line it begins in; a Broken for one whose quotes are wrong.

    After a broken record reading goes on in the next line.
    """
    _allow_long_fields(text)
    lines = list(lines_of(text))
    start = 0
    while start < len(lines):
        begin, base = start, start
        reader = csv.reader((lines[at][1] for at in range(base, len(lines))), delimiter=separator, strict=True)
        try:
            for fields in reader:
                if fields:
                    yield lines[begin][0], fields
                begin = base + reader.line_num
        except csv.Error:
            yield lines[begin][0], Broken("quotes don't match", lines[begin][1])
            start = begin + 1
        else:
            return


def careful(text: str, separator: str, *, header: bool) -> tuple[pl.DataFrame, list[tuple[int, Broken]]]:
    """Return the table of texts that *text* holds, and the lines that can't be used."""
    import polars as pl

    names: list[str] = []
    rows: list[list[str]] = []
    at: list[int] = []
    rejects: list[tuple[int, Broken]] = []
    for line, fields in records(text, separator):
        if isinstance(fields, Broken):
            if not names and header:
                raise Broken("the header can't be read", fields.excerpt)
            rejects.append((line, fields))
            continue
        if not names:
            names = header_of(fields if header else [""] * len(fields))
            if not all(map(is_sound, names)):
                raise Broken("broken characters in the header", separator.join(fields))
            if header:
                continue
        reason = _refusal(fields, len(names), header=header)
        if reason:
            rejects.append((line, Broken(reason, separator.join(fields)[: 4 * EXCERPT])))
        else:
            rows.append(fields)
            at.append(line)
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    series = {name: pl.Series(list(column), dtype=pl.String) for name, column in zip(names, columns, strict=True)}
    return pl.DataFrame({**series, LINE: pl.Series(at, dtype=pl.Int64)}), rejects


def _refusal(fields: list[str], wanted: int, *, header: bool) -> str:
    if len(fields) > wanted == 1 and header:
        return "more fields than the header has, which is one: is that the `separator`?"
    if len(fields) != wanted:
        return "fewer fields than the header has" if len(fields) < wanted else "more fields than the header has"
    return "" if all(map(is_sound, fields)) else "broken characters"


def quick(text: str, separator: str, *, header: bool) -> pl.DataFrame | None:
    """Return the same table by Polars' reader (empty fields null), or None where the careful way may tell more.

    Without quotes, and with the same number of separators in each line, a text can be read in one way alone.
    """
    import polars as pl

    if '"' in text or not is_sound(text):
        return None
    text = text.replace("\r\n", "\n")
    if "\r" in text or "\n\n" in text or text.startswith("\n"):
        return None
    lines = text.removesuffix("\n").split("\n")
    first = lines[0].split(separator)
    wanted = len(first) - 1
    if any(line.count(separator) != wanted for line in lines):
        return None
    names = header_of(first if header else [""] * len(first))
    schema = dict.fromkeys(names, pl.String)
    try:
        frame = pl.read_csv(
            io.BytesIO(text.encode()), has_header=False, separator=separator, quote_char=None, schema=schema
        )
    except pl.exceptions.PolarsError:
        return None
    height = len(lines)
    if frame.height != height:
        return None
    frame = frame.with_columns(pl.Series(LINE, range(1, height + 1), dtype=pl.Int64))
    return frame.slice(1) if header else frame
