"""The engine that labelers share: what was asked before is read, what is missing is asked, each reply paid once.

A row's way: `request` → key → journal, or `ask` and then journal → `parse` → columns. A reply that may not be used
is asked for again with the error shown to the model, up to the labeler's ``attempts``; each of these requests has
a key of its own, so a second run walks the same way without asking.

A labeler may carry these attributes, as parameters or settings of its class:

- ``concurrency`` requests in flight (8), ``requests_per_minute`` and ``tokens_per_minute`` (no limit),
- ``attempts`` for a row whose replies are refused (3), ``retries`` of a request that the provider did not answer
  (6), ``backoff`` seconds before the first of them (1.0),
- ``completeness``, the share of rows that must be labelled (1.0),
- ``most_tokens`` and ``most_money``, caps for one build, and ``cost(prompt_tokens, completion_tokens)``; with
  ``max_tokens``, how long a reply may be, they hold from the first request on,
- ``most_refused``, rows that may be refused before any is labelled (50),
- ``journalled``, False where a reply costs nothing to read again (True),
- ``adaptive``, False where failures say nothing of the pace, as in batches (True),
- ``stages``, labelers that a row walks through, each seeing the values of those before as columns,
- ``voters``, labelers that each label the row, with ``decide(votes)`` to make one set of values of theirs,
- ``async close()``, awaited at the end of the run, in its event loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from forge.core.errors import StepError
from forge.plugin.requests import request_key
from forge.run.asking import Asking, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from forge.plugin.context import Run
    from forge.plugin.protocols import Labeler
    from forge.store.journal import Journal

__all__ = ["Incomplete", "Outcome", "ask_rows", "label_rows", "request_key", "shards"]

STATE_COLUMNS = ("label_state", "label_reason", "label_reply", "label_source")
SHARD = 300  # rows that one machine of a cluster takes at a time
_SHOWN = 1_000  # rows without labels that a report of a failed step lists


class Incomplete(StepError):
    """Say that too few rows are labelled; ``report`` holds the states, and the rows that are not labelled."""

    def __init__(self, message: str, report: dict[str, Any], *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.report = report


def label_rows(labeler: Labeler, rows: pl.DataFrame, journal: Journal, run: Run) -> pl.DataFrame:
    """Return *rows* with the labels and the states of every row.

    Raises `Incomplete` when fewer rows than ``labeler.completeness`` are labelled, and `StepError` when the provider
    is down or refuses everything; the journal keeps every reply, so the next run goes on from there.
    """
    promised = getattr(labeler, "columns", None)
    _check_columns(rows, promised() if callable(promised) else ())  # before anything is paid for
    outcomes = ask_rows(labeler, rows, journal, run)
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.state != "labelled":
            run.log(
                f"row {number} {outcome.state}: {outcome.reason}"
                + (f"; reply: {outcome.reply}" if outcome.reply else "")
            )
    _require(outcomes, getattr(labeler, "completeness", 1.0))
    without = sum(outcome.state != "labelled" for outcome in outcomes)
    if without:
        run.warn(f"{without:,} of {len(outcomes):,} rows have no label: `label_state` says why, the log names each")
    return _joined(rows, outcomes)


def ask_rows(
    labeler: Labeler, rows: pl.DataFrame, journal: Journal, run: Run, share: tuple[float, int] = (1.0, 1)
) -> list[Outcome]:
    """Return what becomes of each of *rows*, in their order.

    Several machines may each take one of the `shards` of a table, with one folder of journals: what they paid for is
    there for the one that labels the whole table. Each then has its *share*: which part of the caps, and how many of
    them share the labeler's rates.
    """
    asking = Asking(labeler, journal, run, total=rows.height, share=share)
    try:
        asyncio.run(asking.all(rows.iter_rows(named=True)))
    except StepError as error:
        if asking.halt is None:
            raise
        raise Incomplete(error.message, _report(asking.outcomes), hint=error.hint or "") from None
    finally:
        journal.close()
    run.log(f"{asking.bill}")
    if journal.damaged:
        run.warn(f"the journal has {journal.damaged} damaged lines; their rows were asked for again")
    return [asking.outcomes[index] for index in range(rows.height)]


def shards(rows: int, size: int = SHARD) -> list[tuple[int, int]]:
    """Return first row and length of each shard of a table of *rows*."""
    return [(first, min(size, rows - first)) for first in range(0, rows, size)]


def _require(outcomes: Sequence[Outcome], completeness: float) -> None:
    if not outcomes:
        return
    share = sum(outcome.state == "labelled" for outcome in outcomes) / len(outcomes)
    if share >= completeness:
        return
    report = _report(dict(enumerate(outcomes)))
    states = ", ".join(f"{count:,} {state}" for state, count in report["states"].items())
    worst = next(outcome for outcome in outcomes if outcome.state != "labelled")
    raise Incomplete(
        f"{share:.2%} of {len(outcomes):,} rows are labelled ({states}), `completeness` wants {completeness:.2%}; "
        f"first reason: {worst.reason}",
        report,
        hint="every reply is kept: build again to ask for the failed rows, raise `attempts` or change the prompt for "
        "the refused ones, or lower `completeness`; `forge show` lists the rows",
    )


def _report(outcomes: Mapping[int, Outcome]) -> dict[str, Any]:
    """Return how many rows are in which state, and those without labels, as a report of a failed step lists them."""
    counts: dict[str, int] = {}
    for outcome in outcomes.values():
        counts[outcome.state] = counts.get(outcome.state, 0) + 1
    unlabelled = [
        {"row": index + 1, "state": outcome.state, "reason": outcome.reason, "reply": outcome.reply}
        for index, outcome in sorted(outcomes.items())
        if outcome.state != "labelled"
    ]
    return {"rows": len(outcomes), "states": dict(sorted(counts.items())), "unlabelled": unlabelled[:_SHOWN]}


def _check_columns(rows: pl.DataFrame, names: Sequence[str]) -> None:
    taken = [name for name in (*names, *STATE_COLUMNS) if name in rows.columns]
    if taken:
        listed = ", ".join(f"`{name}`" for name in taken)
        raise StepError(f"the rows have the columns {listed} already", hint="rename or drop them before labelling")


def _joined(rows: pl.DataFrame, outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Add the labels as columns; they are null for rows that are not labelled."""
    import polars as pl

    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.values))
    _check_columns(rows, names)
    labels = [pl.Series(name, _alike([outcome.values.get(name) for outcome in outcomes])) for name in names]
    replies = [outcome.reply and outcome.reply.encode("utf-8", "replace").decode() for outcome in outcomes]
    return rows.with_columns(
        *labels,
        pl.Series("label_state", [outcome.state for outcome in outcomes], pl.String),
        pl.Series("label_reason", [outcome.reason for outcome in outcomes], pl.String),
        pl.Series("label_reply", replies, pl.String),
        pl.Series("label_source", [outcome.source for outcome in outcomes], pl.String),
    )


def _alike(values: list[Any]) -> list[Any]:
    """Return numbers of one column as one type: a single `2.5` makes all of them floats."""
    types = {type(value) for value in values if value is not None}
    return [None if value is None else float(value) for value in values] if types == {int, float} else values
