"""Show rows to a reader: conversations as talk, long texts clipped, and rows before and after a step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from forge.report.difference import Difference, difference
from forge.report.tables import ROLE, SLICE, spoken
from forge.report.words import figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl


IDENTITY = "id"
_SHOWN = 3
_LOOKED_AT = 48
"""Rows among which those are sought that a step changed."""
_ALIKE = 0.3
"""Share two texts must have in common for their difference to say anything."""
_SAYING = 8
"""Characters of a line from which a text says something and is no tag."""
_HEAD, _TEXT = 240, 4000
_TURNS, _ENTRIES = 40, 24
_TOKENS, _LEAD = 160, 60
_IDS, _MASK = "input_ids", "loss_mask"


@attrs.frozen
class Text:
    """Hold a text: its head, the rest that is shown on demand, and how many signs are not shown at all."""

    head: str
    rest: str = ""
    unshown: int = 0


@attrs.frozen
class Turn:
    """Hold what one side of a conversation says; ``side`` is ``left``, ``right`` or ``middle``."""

    role: str
    side: str
    text: Text


@attrs.frozen
class Cell:
    """Hold one value of a row in the form that suits it."""

    name: str
    form: str
    text: Text | None = None
    turns: Sequence[Turn] = ()
    entries: Sequence[str] = ()
    marks: Sequence[bool] = ()
    before: int = 0
    more: int = 0


@attrs.frozen
class Row:
    """Hold one row."""

    title: str
    cells: Sequence[Cell]


@attrs.frozen
class Change:
    """Hold what became of one row: its columns that differ, and where columns came and went, their text."""

    title: str
    columns: Sequence[tuple[str, Difference]]


def rows_of(path: Path, count: int = _SHOWN) -> list[Row]:
    """Return the first rows of the Arrow file *path*."""
    import polars as pl

    frame = pl.scan_ipc(path)
    schema = frame.collect_schema()
    table = frame.head(count).collect()
    return [
        row_of(row, f"row {number}", {name: said for name, kind in schema.items() if (said := spoken(kind))})
        for number, row in enumerate(table.iter_rows(named=True), start=1)
    ]


def row_of(row: Mapping[str, Any], title: str, talks: Mapping[str, str] | None = None) -> Row:
    """Return a row in the forms that suit its values; *talks* names conversations and the field that is said."""
    cells = []
    for name, value in row.items():
        if name == _MASK and _IDS in row:
            continue
        if talks and name in talks and value is not None:
            cells.append(_talk(name, value, talks[name]))
        elif name == _IDS and isinstance(row.get(_MASK), list) and isinstance(value, list):
            cells.append(_tokens(value, row[_MASK]))
        else:
            cells.append(_cell(name, value))
    identity = row.get(IDENTITY)
    return Row(title if identity is None else f"{title}: {identity}", cells)


def clipped(text: str) -> Text:
    """Return a text's head and the rest, cut where it is very long."""
    head = text[:_HEAD] if len(text) > _HEAD * 1.25 else text
    return Text(head, text[len(head) : _TEXT], max(0, len(text) - max(_TEXT, len(head))))


def _cell(name: str, value: Any) -> Cell:
    if value is None or value in ("", [], {}):
        return Cell(name, "none", entries=["–" if value is None else "(empty)"])
    if isinstance(value, str):
        return Cell(name, "text", text=clipped(value))
    if isinstance(value, list) and not any(isinstance(entry, dict | list) for entry in value):
        shown = [_plain(entry) for entry in value[:_ENTRIES]]
        if all(len(entry) <= _HEAD // 4 for entry in shown):
            return Cell(name, "list", entries=shown, more=len(value) - len(shown))
        return Cell(name, "text", text=clipped("\n".join(_plain(entry) for entry in value)))
    if isinstance(value, dict | list):
        return Cell(name, "json", text=clipped(json.dumps(value, ensure_ascii=False, default=str)))
    return Cell(name, "value", entries=[_plain(value)])


def _tokens(ids: Sequence[int], mask: Sequence[bool]) -> Cell:
    """Show token ids from a little before the first that is learned."""
    first = next((number for number, learned in enumerate(mask) if learned), 0)
    start = max(0, min(first - _LEAD, len(ids) - _TOKENS))
    shown = [str(i) for i in ids[start : start + _TOKENS]]
    marks = list(mask[start : start + _TOKENS])
    return Cell(_IDS, "tokens", entries=shown, marks=marks, before=start, more=len(ids) - start - len(shown))


def _talk(name: str, turns: Sequence[Mapping[str, Any]], said: str) -> Cell:
    shown = []
    for turn in turns[:_TURNS]:
        role = str(turn.get(ROLE) or "")
        side = {"system": "middle", "assistant": "right"}.get(role, "left")
        shown.append(Turn(role, side, clipped(str(turn.get(said) or ""))))
    return Cell(name, "talk", turns=shown, more=len(turns) - len(shown))


def _plain(value: Any) -> str:
    return figure(value) if isinstance(value, bool | float) else str(value)


def changes_of(befores: Sequence[Path], after: Path) -> list[Change]:
    """Return rows that a step changed, matched by their ``id``, those with most that is new first."""
    import polars as pl

    out = pl.scan_ipc(after)
    if IDENTITY not in out.collect_schema():
        return []
    rows = out.head(_LOOKED_AT).collect()
    old = _with_identities(befores, rows[IDENTITY])
    found = []
    for row in rows.iter_rows(named=True):
        before = old.get(row[IDENTITY])
        columns = _differences(before, row) if before is not None else []
        if columns:
            found.append(Change(str(row[IDENTITY]), columns))
    found.sort(key=lambda change: -sum(min(d.new, _HEAD) for _, d in change.columns))
    return found[:_SHOWN]


def _with_identities(tables: Sequence[Path], wanted: pl.Series) -> dict[Any, dict[str, Any]]:
    """Return the rows that have one of the *wanted* ids, slice by slice until all are found."""
    import polars as pl

    found: dict[Any, dict[str, Any]] = {}
    ids = wanted.unique().implode()
    for path in tables:
        frame = pl.scan_ipc(path)
        if frame.collect_schema().get(IDENTITY) != wanted.dtype:
            continue
        count = int(frame.select(pl.len()).collect().item())
        for start in range(0, count, SLICE):
            here = frame.slice(start, SLICE).filter(pl.col(IDENTITY).is_in(ids)).collect()
            for row in here.iter_rows(named=True):
                found.setdefault(row[IDENTITY], row)
            if len(found) >= wanted.n_unique():
                return found
    return found


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Difference]]:
    """Return how the texts of a row changed, column by column, and from columns that went to those that came."""
    both = [name for name in before if name in after]
    pairs = [(name, text_of(before[name]), text_of(after[name])) for name in both]
    gone, came = _telling(before, after), _telling(after, before)
    if gone and came:
        pairs.append((f"{', '.join(gone)} → {', '.join(came)}", "\n".join(gone.values()), "\n".join(came.values())))
    differences = [(name, difference(old, new)) for name, old, new in pairs if old != new]
    return [(name, found) for name, found in differences if found.alike >= _ALIKE]


def _telling(row: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of the columns that *other* does not have, without tags and the like."""
    texts = {name: text_of(value) for name, value in row.items() if name not in other}
    return {name: text for name, text in texts.items() if max(map(len, text.split("\n"))) >= _SAYING}


def text_of(value: Any) -> str:
    """Return a value's texts, one below the other; of a conversation, what is said."""
    if isinstance(value, list):
        return "\n".join(text for entry in value if (text := text_of(entry)))
    if isinstance(value, dict):
        said = [v for k, v in value.items() if k != ROLE and isinstance(v, str | list | dict)]
        return "\n".join(text for entry in said if (text := text_of(entry)))
    return "" if value is None else _plain(value)
