"""Let some kinds of samples count for more, as weights in the loss or as repeated rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import attrs

import forge
from forge_roleplay.persona import need

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl


def _positive(_instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, float]) -> None:
    for name, weight in value.items():
        if not math.isfinite(weight) or weight <= 0:
            message = f"`{attribute.name}` must be above 0, `{name}` is `{weight:g}`"
            raise ValueError(message)


@attrs.frozen(kw_only=True)
class Weights:
    """Give each row the weight that *weights* has for its value in *column*; 1 where it has none.

    ``weighting = "weight"`` writes the column ``weight``, which `train.tokens` and `train.lora` take as the weight of
    the sample in the loss. ``weighting = "repeat"`` lets a row stand that often instead, ``id`` with ``#2``, ``#3`` …;
    weights are whole numbers then. A value in *weights* that no row has is an error: it is misspelt.
    Put this step behind the split, on the part that is trained on.
    """

    weights: dict[str, float] = attrs.field(validator=_positive)
    weighting: Literal["weight", "repeat"] = "weight"
    column: str = "kind"

    def __attrs_post_init__(self) -> None:
        """Refuse half a repetition."""
        for name, weight in self.weights.items():
            if self.weighting == "repeat" and weight != int(weight):
                message = f'with `weighting = "repeat"` weights are whole numbers, `{name}` is `{weight:g}`'
                raise ValueError(message)

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Write the weights, or repeat the rows."""
        import polars as pl

        names = need(rows, [self.column] if self.weighting == "weight" else [self.column, "id"])
        if "weight" in names and self.weighting == "weight":
            raise forge.StepError("the rows have a column `weight` already", hint="weigh them in one step")
        value = pl.col(self.column).cast(pl.String)
        there = set(rows.select(value.unique()).collect()[self.column].drop_nulls().to_list())
        for name in self.weights:
            if name not in there:
                raise forge.StepError(
                    f"`weights` names `{name}`, which no row has in `{self.column}`",
                    hint=f"there is {', '.join(f'`{each}`' for each in sorted(there))}",
                )
        weight = value.replace_strict(self.weights, default=1.0, return_dtype=pl.Float64)
        if self.weighting == "weight":
            return rows.with_columns(weight.alias("weight"))
        times = pl.int_ranges(1, weight.cast(pl.Int64) + 1)
        again = pl.when(pl.col("__time__") > 1).then(pl.format("{}#{}", pl.col("id").cast(pl.String), "__time__"))
        repeated = rows.with_columns(times.alias("__time__")).explode("__time__")
        return repeated.with_columns(again.otherwise(pl.col("id").cast(pl.String)).alias("id")).drop("__time__")

    def statistics(self, rows: pl.LazyFrame) -> dict[str, Any]:
        """Return the rows and the weight of each value of the column, and its share of the whole weight."""
        import polars as pl

        weight = pl.col("weight").sum() if self.weighting == "weight" else pl.len().cast(pl.Float64)
        value = pl.col(self.column).cast(pl.String).fill_null("")
        table = rows.group_by(value.alias("value")).agg(pl.len().alias("rows"), weight.alias("weight"))
        found = table.sort("value").collect().to_dicts()
        whole = math.fsum(row["weight"] for row in found)
        return {
            "weighting": self.weighting,
            "by": {
                row["value"]: {"rows": row["rows"], "weight": row["weight"], "share": round(row["weight"] / whole, 4)}
                for row in found
            },
        }
