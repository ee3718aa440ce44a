"""Describe a unified table as the design's ``stats.json`` does, and a little more."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

_DECIMALS = 4


def describe(rows: pl.LazyFrame) -> dict[str, Any]:
    """Return counts by source and topic, mean turns, and how turns and characters are distributed.

    ``total``, ``by_source``, ``avg_turns`` and ``topics`` are the design's; characters are those of a whole
    conversation.
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
    }


def _distribution(lengths: pl.Series) -> dict[str, float | int]:
    if lengths.is_empty():
        return {}
    quantiles = {"min": 0.0, "p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
    found: dict[str, float | int] = {
        name: int(lengths.quantile(share, interpolation="lower") or 0) for name, share in quantiles.items()
    }
    found["mean"] = round(int(lengths.sum()) / len(lengths), _DECIMALS)
    return found
