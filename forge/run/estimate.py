"""Say what a labeler of a plan would ask for before it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge.plugin.table import TABLE
from forge.run.survey import Survey as Estimate
from forge.run.survey import survey
from forge.store.journal import Journal

if TYPE_CHECKING:
    from forge.plan.forecast import Forecast
    from forge.store.base import Store

__all__ = ["Estimate", "estimate"]


def estimate(entry: Forecast, entries: dict[str, Forecast], store: Store) -> Estimate | None:
    """Return what the labeler of *entry* would ask for; None for other steps, and where its rows are not there yet."""
    import polars as pl

    if entry.step.verb != "request" or entry.will == "hit":
        return None
    joined = entry.step.inputs[0]
    record = entries[joined.step].record
    member = store.tree(record.tree).part(joined.part).members.get(TABLE) if record is not None else None
    if member is None:
        return None
    rows = pl.read_ipc(store.object_path(member.digest))
    return survey(entry.step.instance, rows, Journal(store.root / "journals"))
