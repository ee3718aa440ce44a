"""Compare two tables row by row, and count what their columns hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl

IDENTITY = "id"
STATES = ("label_state", "label_source")
_OTHER = "\0other"
_SIGN = "\0sign"
_FEW = 5
_LONG = 80
_MOST_VALUES = 50
"""Values from which a column is text or a measure and no label."""


@attrs.frozen
class RowChanges:
    """Hold how one table became another.

    ``by`` says how rows were matched: ``id``, or the whole ``row``, where a changed row is one removed and one added.
    ``columns`` counts the changed rows by column, ``retyped`` names columns of another type, which are not compared.
    """

    by: str
    before: int
    after: int
    added: int
    removed: int
    changed: int = 0
    columns: Mapping[str, int] = attrs.Factory(dict)
    new_columns: Sequence[str] = ()
    lost_columns: Sequence[str] = ()
    retyped: Sequence[str] = ()
    examples: Mapping[str, Sequence[str]] = attrs.Factory(dict)


def row_changes(before: Path, after: Path) -> RowChanges:
    """Return how the table *before* became the table *after*; both are Arrow files."""
    import polars as pl

    old, new = pl.scan_ipc(before), pl.scan_ipc(after)
    was, now = old.collect_schema(), new.collect_schema()
    both = [name for name in was if now.get(name) == was[name]]
    about: dict[str, Any] = {
        "before": _height(old),
        "after": _height(new),
        "new_columns": [n for n in now if n not in was],
        "lost_columns": [n for n in was if n not in now],
        "retyped": [f"{n}: {was[n]} → {now[n]}" for n in was if n in now and now[n] != was[n]],
    }
    if IDENTITY in both and _identifies(old) and _identifies(new):
        return RowChanges("id", **about, **_by_identity(old, new, both))
    return RowChanges("row", **about, **_by_row(old.select(both), new.select(both), about))


def _by_identity(old: pl.LazyFrame, new: pl.LazyFrame, both: Sequence[str]) -> dict[str, Any]:
    import polars as pl

    added = new.join(old, on=IDENTITY, how="anti", maintain_order="left").select(IDENTITY).collect()[IDENTITY]
    removed = old.join(new, on=IDENTITY, how="anti", maintain_order="left").select(IDENTITY).collect()[IDENTITY]
    compared = [name for name in both if name != IDENTITY]
    if compared:
        joined = old.select(both).join(new.select(both), on=IDENTITY, suffix=_OTHER, maintain_order="left")
        moved = joined.select(IDENTITY, *(pl.col(n).ne_missing(pl.col(n + _OTHER)).alias(n) for n in compared))
        changed = moved.filter(pl.any_horizontal(compared)).collect()
        columns = {name: count for name in compared if (count := int(changed[name].sum()))}
    else:
        changed, columns = added.to_frame().clear(), {}
    ids = {"added": added, "removed": removed, "changed": changed[IDENTITY]}
    return {
        **{what: len(found) for what, found in ids.items()},
        "columns": columns,
        "examples": {what: [str(i) for i in found.head(_FEW)] for what, found in ids.items() if len(found)},
    }


def _by_row(old: pl.LazyFrame, new: pl.LazyFrame, about: Mapping[str, Any]) -> dict[str, Any]:
    import polars as pl

    columns = old.collect_schema().names()
    if not columns:
        return {"added": about["after"], "removed": about["before"]}
    signed = pl.concat([old.with_columns(pl.lit(-1).alias(_SIGN)), new.with_columns(pl.lit(1).alias(_SIGN))])
    balance = signed.group_by(columns).agg(pl.col(_SIGN).sum()).select(_SIGN).collect()[_SIGN]
    return {"added": int(balance.filter(balance > 0).sum()), "removed": -int(balance.filter(balance < 0).sum())}


def _identifies(table: pl.LazyFrame) -> bool:
    """Say whether each row has an identity of its own."""
    import polars as pl

    column = pl.col(IDENTITY)
    return bool((table.select((column.n_unique() == pl.len()) & (column.null_count() == 0)).collect()).item())


def _height(table: pl.LazyFrame) -> int:
    import polars as pl

    return int(table.select(pl.len()).collect().item())


def new_columns(before: Path, after: Path) -> list[str]:
    """Return the columns that a step added to its input."""
    import polars as pl

    was = pl.scan_ipc(before).collect_schema()
    return [name for name in pl.scan_ipc(after).collect_schema() if name not in was]


def distributions(table: Path, columns: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return how often each value stands in each of the columns that hold few values; lists count by entry."""
    import polars as pl

    frame = pl.scan_ipc(table)
    schema = frame.collect_schema()
    found = {}
    for name in columns:
        kind = schema.get(name)
        if kind is None:
            continue
        column = frame.select(name)
        if isinstance(kind, pl.List):
            # what an empty list explodes to is not the same in all versions of polars
            column = column.filter(pl.col(name).list.len() > 0).explode(name)
        entry = kind.inner if isinstance(kind, pl.List) else kind
        if entry.is_nested() or entry.is_float() or entry.is_temporal() or entry == pl.Binary:
            continue
        counted = column.group_by(name).len().collect()
        if counted.height <= _MOST_VALUES:
            pairs = ((_word(value), count) for value, count in counted.iter_rows())
            found[name] = dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
    return found


def _word(value: Any) -> str:
    return "(none)" if value is None else str(value)


def first_difference(before: Path, after: Path) -> str:
    """Say where two tables first differ: their columns, a row's value, or how many rows there are."""
    import polars as pl

    was, now = pl.read_ipc_schema(before), pl.read_ipc_schema(after)
    if list(was.items()) != list(now.items()):
        listed = [f"{n} {was.get(n, 'not there')} → {now.get(n, 'not there')}" for n in dict.fromkeys((*was, *now))]
        changed = [
            words for words, n in zip(listed, dict.fromkeys((*was, *now)), strict=True) if was.get(n) != now.get(n)
        ]
        return f"columns: {', '.join(changed) or 'in another order'}"
    old, new = pl.read_ipc(before), pl.read_ipc(after)
    for number, (a, b) in enumerate(zip(old.iter_rows(), new.iter_rows(), strict=False), start=1):
        # by their text, for NaN is unequal to itself
        column = next((n for n, x, y in zip(was, a, b, strict=True) if repr(x) != repr(y)), None)
        if column is not None:
            x, y = (_excerpt(row[list(was).index(column)]) for row in (a, b))
            return f"row {number}, `{column}`: {x} → {y}"
    if old.height != new.height:
        return f"{old.height:,} rows → {new.height:,} rows"
    return "every value is equal, their bytes are not"


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
