"""Show a build as it goes: live bars in a terminal, a line a step elsewhere. rich is imported for the bars alone."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Self

import attrs

from forge.cli.words import Ink, seconds_of
from forge.run.events import Event, Finished, LookedAhead, Progressed, Started, Warned

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

    from forge.run.build import Outcome
    from forge.run.events import StepResult


def _live() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@attrs.define
class BuildView:
    """Tell a person what a build does, on standard error."""

    quiet: bool = False
    live: bool = attrs.Factory(_live)
    progress: Progress | None = None
    tasks: dict[str, TaskID] = attrs.Factory(dict)
    ink: Ink = attrs.field()

    @ink.default
    def _ink(self) -> Ink:
        return Ink(self.live)

    def __enter__(self) -> Self:
        """Start showing; nothing appears before a step runs."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        if self.progress is not None:
            self.progress.stop()

    def pause(self) -> None:
        """Take the bars away, so that something can be asked."""
        if self.progress is not None:
            self.progress.stop()

    def hear(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Warned):
            self._line(f"{self.ink('warning', 'warning')}: `{event.step}`: {event.message}")
        elif isinstance(event, Finished):
            if event.result.status != "hit":
                self._finished(event.result)
        elif self.quiet:
            return
        elif isinstance(event, LookedAhead):
            self._line(f"look    {event.step}  (ahead, at {event.steps} steps, before anything heavy runs)")
        elif isinstance(event, Started):
            self._started(event)
        elif self.progress is not None and event.step in self.tasks:
            self._progressed(self.progress, event)

    def failures(self, outcome: Outcome) -> None:
        """Print what failed, last, so that it is on the screen."""
        for result in outcome.results:
            if result.failure is not None:
                from forge.cli.render import show_failure

                show_failure(result.name, result.failure)

    def _started(self, event: Started) -> None:
        if not self.live:
            self._line(f"run     {event.step}  ({event.because})")
            return
        from forge.cli.render import escape

        if self.progress is None:
            self.progress = _progress()
            self.progress.start()
        self.tasks[event.step] = self.progress.add_task(escape(event.step), total=None, figures=escape(event.because))

    def _progressed(self, progress: Progress, event: Progressed) -> None:
        from forge.cli.render import escape, figure

        figures = "  ".join(f"{k.replace('_', ' ')} {figure(v)}" for k, v in event.figures.items())
        progress.update(self.tasks[event.step], completed=event.done, total=event.total, figures=escape(figures))

    def _finished(self, result: StepResult) -> None:
        if self.progress is not None and result.name in self.tasks:
            self.progress.remove_task(self.tasks.pop(result.name))
        if self.quiet:
            return
        record = result.record
        rows = f"  {record.rows_out:,} rows" if record and record.rows_out is not None else ""
        detail = f"{rows}  {seconds_of(result.seconds)}" if result.status != "skipped" else f"  {result.because}"
        self._line(f"{self.ink(result.status, f'{result.status:<7}')} {result.name}{self.ink('dim', detail)}")

    def _line(self, text: str) -> None:
        if self.progress is None:
            print(text, file=sys.stderr)  # noqa: T201
        else:
            from rich.text import Text

            self.progress.console.print(Text.from_ansi(text))


def _progress() -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from forge.cli.render import error_console

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[figures]}[/]"),
        console=error_console(),
        transient=True,
        speed_estimate_period=600.0,  # seconds: an optimiser step may take one of them
    )
