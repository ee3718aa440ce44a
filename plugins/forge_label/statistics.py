"""What a labeled table looks like in figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

_MANY = 100  # a label with more different values than this is described by their number


def describe(rows: pl.LazyFrame, labels: Iterable[str]) -> dict[str, Any]:
    """Count the states, and the values of each of *labels* among the labelled rows."""
    import polars as pl

    columns = rows.collect_schema()
    names = [name for name in labels if name in columns and not columns[name].is_nested()]
    table = rows.select(*names, "label_state").collect()
    labelled = table.filter(pl.col("label_state") == "labelled")
    return {
        "rows": table.height,
        "labelled_share": round(labelled.height / table.height, 6) if table.height else None,
        "states": _counts(table["label_state"]),
        "labels": {name: _counts(labelled[name]) for name in names},
    }


def _counts(values: pl.Series) -> dict[str, int]:
    different = values.n_unique()
    if different > _MANY:
        return {"different values": different}
    table = values.value_counts().sort(values.name, nulls_last=True)
    return {str(value): count for value, count in table.iter_rows()}
