"""Tables as members of artifacts, and what the row ledger reads out of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from forge.core.errors import StepError
from forge.plugin.context import DROPPED, TABLE, TALLY, read_rows

IDENTITY = "id"

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import polars as pl

    from forge.run.ledger import Ledger


def count_rows(folder: Path) -> int | None:
    """Return the rows of the table in *folder*; None where there is no table."""
    if not (folder / TABLE).exists():
        return None
    import polars as pl

    return int(read_rows(folder).select(pl.len()).collect().item())


def settle(
    frame: pl.LazyFrame, rows_in: int | None, ledger: Ledger, use: str, before: pl.LazyFrame | None = None
) -> pl.DataFrame:
    """Run *frame*, take out the rows that `forge.drop` marked, and count them by reason.

    Rows that went without a mark are counted under the step type's name; of these there are examples where the rows
    *before* have an ``id``.
    """
    import polars as pl

    collected = frame.collect()
    height = collected.height
    unmarked = f"filtered by {use}"
    if rows_in is not None and rows_in > height:
        ledger.drop(unmarked, rows_in - height)
        for row in _missing(before, collected):
            ledger._example(unmarked, excerpt(row))  # noqa: SLF001  # the ledger's own module family
    tallies = [c for c in collected.columns if c.startswith(TALLY)]
    for column in tallies:
        ledger.tally(column[len(TALLY) :], int(collected[column].sum() or 0))
    collected = collected.drop(tallies)
    if DROPPED in collected.columns:
        dropped = collected.filter(pl.col(DROPPED).is_not_null())
        for reason, group in dropped.group_by(DROPPED, maintain_order=True):
            ledger.drop(str(reason[0]), group.height)
            for row in group.head(3).drop(DROPPED).iter_rows(named=True):
                ledger._example(str(reason[0]), excerpt(row))  # noqa: SLF001  # the ledger's own module family
        collected = collected.filter(pl.col(DROPPED).is_null()).drop(DROPPED)
    return collected


def _missing(before: pl.LazyFrame | None, after: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the first rows whose ``id`` is no longer there."""
    if before is None or IDENTITY not in after.columns:
        return []
    if before.collect_schema().get(IDENTITY) != after.schema[IDENTITY]:
        return []
    gone = before.join(after.lazy().select(IDENTITY), on=IDENTITY, how="anti", maintain_order="left")
    return gone.head(3).collect().to_dicts()


def excerpt(row: Mapping[str, Any]) -> str:
    """Return a row as one short line."""
    return json.dumps(row, ensure_ascii=False, default=str)


def collect_batches(items: Iterable[Any], ledger: Ledger) -> pl.DataFrame:
    """Join the batches of a source into one frame; rejects go to the ledger."""
    import polars as pl

    from forge.plugin.protocols import Reject

    frames: list[pl.DataFrame] = []
    rejects = 0
    for item in items:
        if isinstance(item, Reject):
            place = item.where if item.index is None else f"{item.where}:{item.index}"
            rejects += 1
            ledger.log(f"rejected {place}: {item.reason}")
            ledger.drop(item.reason, 1, f"{place} {item.excerpt}".strip())
        elif isinstance(item, pl.DataFrame):
            frames.append(item)
        elif isinstance(item, list):
            frames.append(pl.DataFrame(item, infer_schema_length=None))
        else:
            raise StepError(f"a source yields frames, lists of dicts and rejects, not `{type(item).__name__}`")
    if rejects:
        ledger.warn(f"{rejects} records can't be used: `forge show` says why, the log names each")
    frames = [f for f in frames if f.height]
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()
