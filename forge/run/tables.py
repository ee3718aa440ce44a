"""Tables as members of artifacts, and what the row ledger reads out of them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from forge.core.errors import StepError
from forge.core.files import Files
from forge.plugin.context import DROPPED, REJECTS, TABLE, TALLY, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from forge.plugin.protocols import Reject
    from forge.run.job import Job
    from forge.run.ledger import Ledger


_EXAMPLES = 3
_INDEX = "__index_level_"
"""What pandas calls an index that it writes into a Parquet file."""


def count_rows(folder: Path) -> int | None:
    """Return the rows of the table in *folder*; None where there is no table."""
    if not os.path.exists(os.path.join(folder, TABLE)):  # asked of every input, of which there may be thousands
        return None
    import polars as pl

    return int(read_rows(folder).select(pl.len()).collect().item())


def settle(
    frame: pl.LazyFrame, rows_in: int | None, ledger: Ledger, use: str, source: pl.LazyFrame | None = None
) -> pl.DataFrame:
    """Run *frame*, take out the rows that `forge.drop` marked, and count them by reason.

    Rows that went without a mark are counted under the step type's name, with examples from *source* where it can be
    told which they were.
    """
    import polars as pl

    collected = frame.collect()
    height = collected.height
    tallies = [c for c in collected.columns if c.startswith(TALLY)]
    for column in tallies:
        ledger.tally(column[len(TALLY) :], int(collected[column].sum() or 0))
    collected = passed = collected.drop(tallies)
    if DROPPED in collected.columns:
        dropped = collected.filter(pl.col(DROPPED).is_not_null())
        for reason, group in dropped.group_by(DROPPED, maintain_order=True):
            ledger.drop(str(reason[0]), group.height)
            for row in group.head(_EXAMPLES).drop(DROPPED).iter_rows(named=True):
                ledger._example(str(reason[0]), excerpt(row))  # noqa: SLF001  # the ledger's own module family
        collected = collected.filter(pl.col(DROPPED).is_null()).drop(DROPPED)
    if rows_in is not None and rows_in > height:
        unmarked = f"filtered by {use}"
        ledger.drop(unmarked, rows_in - height)
        if source is not None:
            for example in missing(source, [passed], rows_in - height):
                ledger._example(unmarked, example)  # noqa: SLF001  # the ledger's own module family
    return collected


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


CANT_BE_USED = "can't be used: `forge show` says why, the log names each"
_ESTIMATED = " (a whole file, its records by its bytes)"
_EXCERPT = 160
"""Characters of a record that its reject keeps."""


def collect_batches(items: Iterable[Any], ledger: Ledger, source: Any = None) -> tuple[pl.DataFrame, list[Reject]]:
    """Join the batches of a source into one frame; rejects are counted by the ledger and returned.

    A file that can't be used counts as the records that it would hold (see `lost_records`).
    """
    import polars as pl

    from forge.plugin.protocols import Reject

    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    for item in items:
        if isinstance(item, Reject):
            rejects.append(item)
            ledger.log(f"rejected {place_of(item)}: {item.reason}")
            if item.index is not None:
                ledger.drop(item.reason, 1, _told(item))
        elif isinstance(item, pl.DataFrame):
            frames.append(item)
        elif isinstance(item, list):
            frames.append(pl.DataFrame(item, infer_schema_length=None))
        else:
            raise StepError(f"a source yields frames, lists of dicts and rejects, not `{type(item).__name__}`")
    if rejects:
        lost = lost_records(rejects, sum(frame.height for frame in frames), source)
        for item in (reject for reject in rejects if reject.index is None):
            count = lost[item.where]
            ledger.drop(f"{item.reason}{_ESTIMATED if count > 1 else ''}", count, _told(item))
        ledger.warn(f"{_unusable(rejects, sum(lost.values()))} {CANT_BE_USED}")
    frames = [f for f in frames if f.height]
    try:
        return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame(), rejects
    except pl.exceptions.PolarsError as error:
        raise StepError(
            f"the files have columns of one name that don't go together: {error}",
            hint="read them by sources of their own",
        ) from None


def _told(reject: Reject) -> str:
    return f"{place_of(reject)} {reject.excerpt}".strip()


def _unusable(rejects: Sequence[Reject], lost: int) -> str:
    """Count rejected records, and files of which nothing could be read and which would hold *lost* records."""
    files = sum(reject.index is None for reject in rejects)
    counts = ((len(rejects) - files, "record"), (files, "file"))
    told = " and ".join(f"{count:,} {what}{'s' if count > 1 else ''}" for count, what in counts if count)
    return f"{told} (by {'their' if files > 1 else 'its'} bytes some {lost:,} records)" if lost > files else told


def lost_records(rejects: Sequence[Reject], rows: int, source: Any) -> dict[str, int]:
    """Return how many records each file that can't be used would hold, by its bytes and those of the files of *source*.

    One at least, and one where the others hold no more than one each.
    """
    lost = dict.fromkeys((reject.where for reject in rejects if reject.index is None), 1)
    sizes = _sizes(source) if lost else {}
    good = [size for name, size in sizes.items() if name not in lost]
    held = rows + sum(reject.index is not None for reject in rejects)
    if held <= len(good) or not sum(good):
        return lost
    return {name: max(1, round(sizes.get(name, 0) * held / sum(good))) for name in lost}


def _sizes(source: Any) -> dict[str, int]:
    """Return the bytes of the files of *source* by their names."""
    import attrs

    fields = (getattr(source, each.name) for each in attrs.fields(type(source))) if attrs.has(type(source)) else ()
    given = [file for value in fields if isinstance(value, Files) for file in value]
    own = getattr(source, "files", None)
    return {file.name: file.path.stat().st_size for file in given or (own() if callable(own) else ())}


def place_of(reject: Reject) -> str:
    """Return where a rejected record stands."""
    return reject.where if reject.index is None else f"{reject.where}:{reject.index}"


def bound_rejects(rejects: list[Reject], rows: int, most: float, source: Any = None) -> None:
    """Refuse a *source* of whose records a greater share than *most* is rejected.

    A single one never ends a run, unless *most* is 0; a file that can't be used counts as the records that it would
    hold.
    """
    from collections import Counter

    lost = lost_records(rejects, rows, source)
    count = sum(reject.index is not None for reject in rejects) + sum(lost.values())
    total = rows + count
    allowed = max(1, int(most * total)) if most > 0 else 0
    if count <= allowed:
        return
    counts = Counter(reject.reason for reject in rejects)
    first = {reject.reason: reject for reject in reversed(rejects)}
    reasons = "".join(
        f"\n  {times} × {reason}, first {place_of(first[reason])}" for reason, times in counts.most_common()
    )
    files = f"{len(lost)} file{'s' if len(lost) > 1 else ''} that can't be used"
    told = f"{count:,} of {total:,} records are rejected"
    if sum(lost.values()) > len(lost):
        told = f"some {told}, by the bytes of {files}"
    raise StepError(
        f"{told}, `most_rejects` is {most:g}{reasons}",
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
