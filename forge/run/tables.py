"""Tables as members of artifacts, and what the row ledger reads out of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from forge.core.errors import StepError
from forge.plugin.context import DROPPED, REJECTS, TABLE, TALLY, read_rows

IDENTITY = "id"

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import polars as pl

    from forge.plugin.protocols import Reject
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


_EXCERPT = 160
"""Characters of a record that its reject keeps."""


def collect_batches(items: Iterable[Any], ledger: Ledger) -> tuple[pl.DataFrame, list[Reject]]:
    """Join the batches of a source into one frame; rejects are counted by the ledger and returned."""
    import polars as pl

    from forge.plugin.protocols import Reject

    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    for item in items:
        if isinstance(item, Reject):
            rejects.append(item)
            ledger.log(f"rejected {place_of(item)}: {item.reason}")
            ledger.drop(item.reason, 1, f"{place_of(item)} {item.excerpt}".strip())
        elif isinstance(item, pl.DataFrame):
            frames.append(item)
        elif isinstance(item, list):
            frames.append(pl.DataFrame(item, infer_schema_length=None))
        else:
            raise StepError(f"a source yields frames, lists of dicts and rejects, not `{type(item).__name__}`")
    if rejects:
        ledger.warn(f"{len(rejects)} records can't be used: `forge show` says why, the log names each")
    frames = [f for f in frames if f.height]
    try:
        return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame(), rejects
    except pl.exceptions.PolarsError as error:
        raise StepError(
            f"the files have columns of one name that don't go together: {error}",
            hint="read them by sources of their own",
        ) from None


def place_of(reject: Reject) -> str:
    """Return where a rejected record stands."""
    return reject.where if reject.index is None else f"{reject.where}:{reject.index}"


def bound_rejects(rejects: list[Reject], rows: int, most: float) -> None:
    """Refuse a source of whose records a greater share than *most* is rejected.

    A single one never ends a run, unless *most* is 0.
    """
    from collections import Counter

    total = rows + len(rejects)
    allowed = max(1, int(most * total)) if most > 0 else 0
    if len(rejects) <= allowed:
        return
    counts = Counter(reject.reason for reject in rejects)
    first = {reject.reason: reject for reject in reversed(rejects)}
    reasons = "".join(
        f"\n  {count} × {reason}, first {place_of(first[reason])}" for reason, count in counts.most_common()
    )
    raise StepError(
        f"{len(rejects)} of {total} records are rejected, `most_rejects` is {most:g}{reasons}",
        hint="the step's log names each of them; mend the files, or raise `most_rejects`",
    )


def write_rejects(rejects: list[Reject], folder: Path) -> None:
    """Write the table of rejected records beside the rows: ``file, index, reason, excerpt``."""
    import polars as pl

    if not rejects:
        return
    table = [(_sound(r.where), r.index, _sound(r.reason), _sound(r.excerpt)[:_EXCERPT]) for r in rejects]
    schema = {"file": pl.String, "index": pl.Int64, "reason": pl.String, "excerpt": pl.String}
    frame = pl.DataFrame(table, schema=schema, orient="row")
    frame.write_ipc(folder / REJECTS, compression="uncompressed", compat_level=pl.CompatLevel.oldest())


def _sound(text: str) -> str:
    return text.encode(errors="replace").decode()
