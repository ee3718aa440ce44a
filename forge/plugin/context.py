"""What a running step is given: its inputs and a line to the build."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from forge.core.errors import StepError

if TYPE_CHECKING:
    import polars as pl

TABLE = "rows.arrow"
"""The member that makes an artifact a table."""

DROPPED = "__dropped__"
TALLY = "__tally__:"


@attrs.frozen
class Artifact:
    """Show one input artifact as a read-only folder of real files.

    ``digest`` names its whole content.
    """

    name: str
    path: Path
    digest: str = ""

    @property
    def file(self) -> Path:
        """Return the only file of a one-file artifact."""
        files = self.files()
        if len(files) != 1:
            message = f"input `{self.name}` holds {len(files)} files where one is wanted"
            raise StepError(message, hint=f"it holds {', '.join(sorted(files)[:5])}")
        return next(iter(files.values()))

    def files(self) -> dict[str, Path]:
        """Return every member by its name."""
        found = {}
        for folder, folders, names in os.walk(self.path):
            folders.sort()
            for name in names:
                path = os.path.join(folder, name)
                found[os.path.relpath(path, self.path)] = Path(path)
        return dict(sorted(found.items()))

    @property
    def is_table(self) -> bool:
        """Say whether the artifact holds rows."""
        return (self.path / TABLE).is_file()

    def rows(self) -> pl.LazyFrame:
        """Return the artifact's table, read lazily."""
        if not self.is_table:
            message = f"input `{self.name}` is not a table"
            raise StepError(message, hint=f"it holds {', '.join(list(self.files())[:5])}")
        return read_rows(self.path)

    def json(self, member: str) -> Any:
        """Return one JSON member, parsed."""
        return json.loads((self.path / member).read_text(encoding="utf-8"))


def write_rows(frame: pl.DataFrame, folder: Path) -> int:
    """Make *folder* a table of *frame*'s rows and return how many; the same frame gives the same bytes."""
    import polars as pl

    folder.mkdir(parents=True, exist_ok=True)
    # one chunk, and strings without the views into buffers that depend on how threads shared the work
    frame.rechunk().write_ipc(folder / TABLE, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
    return frame.height


def read_rows(folder: Path) -> pl.LazyFrame:
    """Return the table in *folder*, read lazily."""
    import polars as pl

    return pl.scan_ipc(folder / TABLE)


class Run(Protocol):
    """Let a step report to the build that runs it.

    ``scratch`` is a folder of the action's own: it outlives a crash and is removed once the result is stored.
    ``threads`` is how many cores the step may use.
    """

    threads: int

    @property
    def scratch(self) -> Path:
        """Return the action's own folder."""

    def progress(self, done: float, total: float | None = None, **figures: float | str) -> None:
        """Report how far the work is, with figures worth watching (``loss=1.2``)."""

    def log(self, message: str) -> None:
        """Write one line to the step's log."""

    def warn(self, message: str) -> None:
        """Write one line to the log and show it to the person who builds."""

    def drop(self, reason: str, count: int = 1, example: str = "") -> None:
        """Count rows that leave, for steps that the engine can't count itself."""


@attrs.define
class LocalRun:
    """Stand in for the engine: in tests of a step's class, and wherever nobody is watching."""

    scratch: Path
    threads: int = 2
    messages: list[str] = attrs.Factory(list)
    drops: dict[str, int] = attrs.Factory(dict)

    def progress(self, done: float, total: float | None = None, **figures: float | str) -> None:
        """Forget the progress."""

    def log(self, message: str) -> None:
        """Keep the line."""
        self.messages.append(message)

    def warn(self, message: str) -> None:
        """Keep the line."""
        self.messages.append(message)

    def drop(self, reason: str, count: int = 1, example: str = "") -> None:
        """Count the rows, forget the example."""
        del example
        self.drops[reason] = self.drops.get(reason, 0) + count


def drop(rows: pl.LazyFrame, reasons: dict[str, pl.Expr]) -> pl.LazyFrame:
    """Mark rows to leave, each with the first reason whose expression is true for it.

    The rows stay in the frame until the engine takes them out and counts them, so a later expression
    of the same step still sees them; a row that is marked already keeps its reason.
    """
    import polars as pl

    columns = rows.collect_schema().names()
    first = [pl.col(DROPPED)] if DROPPED in columns else []
    marks = [pl.when(expression).then(pl.lit(reason)) for reason, expression in reasons.items()]
    return rows.with_columns(pl.coalesce(*first, *marks).cast(pl.String).alias(DROPPED))


def kept(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that `drop` has not marked, without its column."""
    import polars as pl

    if DROPPED not in rows.collect_schema().names():
        return rows
    return rows.filter(pl.col(DROPPED).is_null()).drop(DROPPED)


def tally(rows: pl.LazyFrame, counts: dict[str, pl.Expr]) -> pl.LazyFrame:
    """Count what leaves inside of rows (turns, replies): one integer expression a reason, summed by the engine."""
    return rows.with_columns(expression.alias(TALLY + reason) for reason, expression in counts.items())
