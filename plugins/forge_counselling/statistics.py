"""Describe a unified table as the design's ``stats.json`` does, and a little more."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

LABELS = ("depression_level", "anxiety_level", "risk_flag", "student_distress_score")
_DECIMALS = 4


def describe(rows: pl.LazyFrame) -> dict[str, Any]:
    """Return counts by source and topic, mean turns, and how turns and characters are distributed.

    ``total``, ``by_source``, ``avg_turns`` and ``topics`` are the design's; ``characters`` are those of a whole
    conversation, ``turn_characters`` those of a turn, by role. Where the rows have labels, ``labels`` counts them.
    """
    import polars as pl

    texts = pl.col("conversation").list.eval(pl.element().struct.field("text").str.len_chars())
    table = rows.select(
        "source",
        "topic",
        pl.col("conversation").list.len().cast(pl.Int64).alias("turns"),
        texts.list.sum().cast(pl.Int64).alias("characters"),
    ).collect()
    by_source = table.group_by("source").agg(pl.len().alias("rows"), pl.col("turns").sum()).sort("source")
    topics = table["topic"].value_counts().sort("topic")
    return {
        "total": table.height,
        "by_source": dict(by_source.select("source", "rows").iter_rows()),
        "avg_turns": {source: round(turns / count, _DECIMALS) for source, count, turns in by_source.iter_rows()},
        "topics": dict(topics.iter_rows()),
        "turns": {str(turns): count for turns, count in sorted(Counter(table["turns"]).items())},
        "characters": _distribution(table["characters"]),
        "turn_characters": {role: _distribution(lengths) for role, lengths in _turn_lengths(rows)},
    } | _labels(rows)


def _turn_lengths(rows: pl.LazyFrame) -> list[tuple[str, pl.Series]]:
    import polars as pl

    turn = pl.col("conversation").struct
    turns = (
        rows.select("conversation")
        .explode("conversation")
        .select(turn.field("role"), turn.field("text").str.len_chars().cast(pl.Int64).alias("length"))
        .drop_nulls()
        .collect()
    )
    return [(role, turns.filter(pl.col("role") == role)["length"]) for role in sorted(turns["role"].unique())]


def _labels(rows: pl.LazyFrame) -> dict[str, dict[str, dict[str, int]]]:
    names = [name for name in LABELS if name in rows.collect_schema()]
    if not names:
        return {}
    table = rows.select(names).collect()
    counts = {name: table[name].value_counts().sort(name, nulls_last=True) for name in names}
    return {"labels": {name: {str(value): n for value, n in count.iter_rows()} for name, count in counts.items()}}


def _distribution(lengths: pl.Series) -> dict[str, float | int]:
    if lengths.is_empty():
        return {}
    quantiles = {"min": 0.0, "p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
    found: dict[str, float | int] = {
        name: int(lengths.quantile(share, interpolation="lower") or 0) for name, share in quantiles.items()
    }
    found["mean"] = round(int(lengths.sum()) / len(lengths), _DECIMALS)
    return found
