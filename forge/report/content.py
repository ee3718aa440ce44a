"""What the page holds, as values: a report, its steps, their tables and reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from forge.report.members import Members
from forge.report.words import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forge.core.record import Record
    from forge.report import flow, graph
    from forge.report.charts import Curve
    from forge.report.members import Receipt
    from forge.report.samples import Change, Row
    from forge.report.sweeps import Comparison
    from forge.report.tables import Column

STATES = ("built", "stale", "failed", "not built")


@attrs.frozen
class Table:
    """Hold one part of a step's artifact that is a table."""

    part: str
    rows: int
    columns: Sequence[Column]
    samples: Sequence[Row]


@attrs.frozen
class Reason:
    """Hold why rows left, how many, and some of them."""

    text: str
    rows: int
    examples: Sequence[str]


@attrs.frozen
class StepReport:
    """Hold what is known of one step.

    ``state`` is one of STATES; ``because`` says why it would run; ``record`` is of the last run, also of a stale one.
    """

    name: str
    kind: str
    use: str
    about: str
    state: str
    because: str
    inputs: Sequence[tuple[str, str]]
    parameters: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    files: Sequence[tuple[str, str]]
    record: Record | None
    gone: bool = False
    reasons: Sequence[Reason] = ()
    inside: Sequence[tuple[str, int]] = ()
    warnings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    changes: Sequence[Change] = ()
    members: Members = attrs.Factory(Members)
    receipt: Receipt | None = None

    @property
    def anchor(self) -> str:
        """Return the name by which links reach the step."""
        return f"step-{self.name}"

    @property
    def dropped(self) -> int:
        """Return how many rows left."""
        return sum(reason.rows for reason in self.reasons)

    @property
    def kept(self) -> int:
        """Return the rows that went out, or where a step makes none, those that it kept of what came in."""
        if self.record is None:
            return 0
        out = self.record.rows_out
        return out if out is not None else max(0, (self.record.rows_in or 0) - self.dropped)

    @property
    def through(self) -> int:
        """Return all rows that the step saw, at least one."""
        came = (self.record.rows_in if self.record is not None else None) or 0
        return max(came, self.kept + self.dropped, 1)

    @property
    def rows_text(self) -> str:
        """Return rows in and out in few words; empty for a step that sees no rows."""
        if self.record is None:
            return ""
        came, out = self.record.rows_in, self.record.rows_out
        if came is None or out is None or came == out:
            rows = out if out is not None else came
            return "" if rows is None else figure(rows)
        return f"{came:,} → {out:,}"


@attrs.frozen
class SweepReport:
    """Hold a sweep: its points beside each other, and their training runs in one picture for each figure.

    ``left_out`` counts the runs beyond those that a picture can tell apart.
    """

    name: str
    comparison: Comparison
    curves: Sequence[Curve]
    left_out: int = 0


@attrs.frozen
class Report:
    """Hold the whole page's content."""

    name: str
    manifest: str
    steps: Sequence[StepReport]
    picture: graph.Picture
    flow: flow.Picture | None
    sweeps: Sequence[SweepReport] = ()

    def count(self, state: str) -> int:
        """Return how many steps are in a state."""
        return sum(step.state == state for step in self.steps)

    @property
    def records(self) -> list[Record]:
        """Return all records."""
        return [step.record for step in self.steps if step.record is not None]

    @property
    def latest(self) -> str:
        """Return when the last run began."""
        return max((record.started for record in self.records), default="")

    @property
    def most_rows(self) -> int:
        """Return the most rows that any step saw."""
        return max((step.through for step in self.steps), default=1)

    @property
    def source_rows(self) -> int:
        """Return the rows that all sources gave."""
        return sum(step.kept for step in self.steps if step.kind == "source")

    @property
    def dropped(self) -> int:
        """Return the rows that left in any step."""
        return sum(step.dropped for step in self.steps)

    @property
    def seconds(self) -> float:
        """Return the wall time of all last runs."""
        return sum(record.seconds for record in self.records)

    @property
    def size(self) -> int:
        """Return the bytes of all artifacts."""
        return sum(record.size for record in self.records)

    def step(self, name: str) -> StepReport:
        """Return the step of a name."""
        return next(step for step in self.steps if step.name == name)

    def inputs_of(self, step: StepReport) -> list[tuple[str, str]]:
        """Return what a step is made of, and the anchor of each."""
        return [(reference, self.step(name).anchor) for reference, name in step.inputs]
