"""Tables as members of artifacts, and what the row ledger reads out of them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from forge.core.ahead import ahead
from forge.core.errors import StepError
from forge.plugin.context import DROPPED, TALLY
from forge.plugin.table import BATCH, TABLE, scan_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from forge.run.job import Job
    from forge.run.ledger import Ledger


_EXAMPLES = 3
_PART = 48 << 20
"""Bytes of a table, as its file has them, that are worked on at once."""
_SIDE_BY_SIDE = 2
"""Parts that are worked on at once: Polars has all cores work on each, and waits for Python's functions with one."""
_INDEX = "__index_level_"
"""What pandas calls an index that it writes into a Parquet file."""


def count_rows(folder: Path) -> int | None:
    """Return the rows of the table in *folder*; None where there is no table."""
    if not os.path.exists(os.path.join(folder, TABLE)):  # asked of every input, of which there may be thousands
        return None
    import polars as pl

    return int(scan_rows(folder).select(pl.len()).collect().item())


def settle(
    frame: pl.LazyFrame, rows_in: int | None, ledger: Ledger, use: str, source: pl.LazyFrame | None = None
) -> pl.DataFrame:
    """Run *frame*, take out the rows that `forge.drop` marked, and count them by reason.

    Rows that went without a mark are counted under the step type's name, with examples from *source* where it can be
    told which they were.
    """
    collected = run_plan(frame)
    settled = _without_marked(collected, ledger)
    if rows_in is not None and rows_in > collected.height:
        ledger.drop(_unmarked(use), rows_in - collected.height)
        if source is not None:
            _show_unmarked(source, collected, rows_in - collected.height, ledger, use)
    return settled


def settle_parts(
    parts: Iterable[tuple[pl.LazyFrame, tuple[pl.LazyFrame, int] | None]], rows_in: int, ledger: Ledger, use: str
) -> Iterator[pl.DataFrame]:
    """Do as `settle` does with the parts of one table, some of them side by side, and yield what is left of each.

    Each part comes with the rows that it was made of and their number, where these can show which of them went.
    """
    came = 0
    for collected, source in ahead(
        lambda part: (run_plan(part[0]), part[1]), parts, min(ledger.threads, _SIDE_BY_SIDE)
    ):
        came += collected.height
        ledger.progress(min(came, rows_in), rows_in)
        if source is not None and len(ledger.examples.get(_unmarked(use), ())) < _EXAMPLES:
            rows, height = source
            _show_unmarked(rows, collected, height - collected.height, ledger, use)
        yield _without_marked(collected, ledger)
    ledger.drop(_unmarked(use), max(0, rows_in - came))


def _unmarked(use: str) -> str:
    """Return under what reason rows are counted that went without a mark."""
    return f"filtered by {use}"


def _show_unmarked(source: pl.LazyFrame, collected: pl.DataFrame, count: int, ledger: Ledger, use: str) -> None:
    """Keep examples of the *count* rows of *source* that went without a mark, where it can be told which they were."""
    for example in missing(source, [collected], count) if count > 0 else ():
        ledger._example(_unmarked(use), example)  # noqa: SLF001  # the ledger's own module family


def _without_marked(collected: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Return the rows that no mark tells to leave; those are counted by reason, and what was tallied is added up."""
    import polars as pl

    tallies = [c for c in collected.columns if c.startswith(TALLY)]
    for column in tallies:
        ledger.tally(column[len(TALLY) :], int(collected[column].sum() or 0))
    collected = collected.drop(tallies)
    if DROPPED not in collected.columns:
        return collected
    dropped = collected.filter(pl.col(DROPPED).is_not_null())
    for reason, group in dropped.group_by(DROPPED, maintain_order=True):
        ledger.drop(str(reason[0]), group.height)
        for row in group.head(_EXAMPLES).drop(DROPPED).iter_rows(named=True):
            ledger._example(str(reason[0]), excerpt(row))  # noqa: SLF001  # the ledger's own module family
    return collected.filter(pl.col(DROPPED).is_null()).drop(DROPPED)


def spans_of(rows: int, size: int) -> list[tuple[int, int]]:
    """Cut a table of so many *rows*, whose file has *size* bytes, into spans that take little memory each.

    Return the first row and the number of rows of each.
    """
    step = max(1, _PART * rows // max(1, size))
    step += -step % BATCH
    return [(start, min(step, rows - start)) for start in range(0, max(rows, 1), step)]


def run_plan(frame: pl.LazyFrame) -> pl.DataFrame:
    """Run what a step made; with Python functions in it Polars' own choice, the streaming engine, is the slower one."""
    return frame.collect(engine="in-memory")


def refuse_marks(columns: Iterable[str]) -> None:
    """Refuse a source's table whose columns are named as those in which steps mark what they drop and count."""
    for name in columns:
        own = name.startswith("__") and name.endswith("__") and not name.startswith(_INDEX)
        if own or name.startswith(TALLY):
            raise StepError(
                f"the records have a column `{name}`: names between two underlines are those of forge's own marks",
                hint="read it under another name: `columns = { … }` says which",
            )


def join_tables(tables: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Return the rows of all *tables*, one after the other; columns that some of them lack are null there."""
    import polars as pl

    if len(tables) == 1:
        return next(iter(tables.values()))
    found: dict[str, dict[pl.DataType, str]] = {}
    for name, table in tables.items():
        for column, kind in table.collect_schema().items():
            found.setdefault(column, {}).setdefault(kind, name)
    for column, kinds in found.items():
        if not _go_together(list(kinds)):
            listed = ", ".join(f"{kind} in `{name}`" for kind, name in kinds.items())
            hint = "bring them into one form by steps of their own, or read the column under another name"
            raise StepError(f"the inputs can't be one table: column `{column}` is {listed}", hint=hint)
    return pl.concat(tables.values(), how="diagonal_relaxed")


def _go_together(kinds: Sequence[pl.DataType]) -> bool:
    """Say whether columns of these types can be one; a list and what is none would go, and fail when they are read."""
    import polars as pl

    told = [kind for kind in kinds if kind != pl.Null]
    if any(kind.is_nested() for kind in told) and len({kind.base_type() for kind in told}) > 1:
        return False
    try:
        pl.concat([pl.LazyFrame(schema={"c": kind}) for kind in kinds], how="diagonal_relaxed").collect_schema()
    except pl.exceptions.PolarsError:
        return False
    return True


def lazy_of(job: Job, made: Any, where: str = "") -> pl.LazyFrame:
    """Return what a step's method made, if it is what the engine can run."""
    import polars as pl

    if isinstance(made, pl.LazyFrame):
        return made
    raise other_type(job, made, "a LazyFrame", where)


def other_type(job: Job, made: Any, wanted: str, where: str = "") -> StepError:
    """Return the error of a method that made something else than is *wanted*."""
    found = f"`{type(made).__name__}`" if made is not None else "nothing"
    hint = "`frame.lazy()` makes a LazyFrame of a DataFrame" if found == "`DataFrame`" else "look for its `return`"
    return StepError(f"`{job.verb}` of `{job.use}` must return {wanted}, it returned {found}{where}", hint=hint)


def missing(source: pl.LazyFrame, left: Sequence[pl.DataFrame], count: int) -> list[str]:
    """Return some of the *count* rows of *source* that are in none of the frames *left*, each as a line.

    Rows are told apart by ``id``, else by all columns that no step changed in type. Where that leaves another number
    than *count*, it can't be told which rows they were, and none are returned.
    """
    import polars as pl

    schema = source.collect_schema()
    both = [n for n in schema if all(schema[n] == frame.schema.get(n) for frame in left)]
    keys = ["id"] if "id" in both else [n for n in both if not schema[n].is_nested()]
    if not keys or not left:
        return []
    known = pl.concat([frame.select(keys) for frame in left]).lazy()
    # rows that are equal in all keys are told apart by their number among their equals
    number = pl.int_range(pl.len()).over(keys).alias("__number__")
    gone = (
        source.with_columns(number)
        .join(known.with_columns(number), on=[*keys, "__number__"], how="anti", nulls_equal=True, maintain_order="left")
        .drop("__number__")
        .collect()
    )
    return [excerpt(row) for row in gone.head(_EXAMPLES).iter_rows(named=True)] if gone.height == count else []


def excerpt(row: Mapping[str, Any]) -> str:
    """Return a row as one short line."""
    return json.dumps(row, ensure_ascii=False, default=str)
