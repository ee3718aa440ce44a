"""Everything that a person sees: events, tables, errors. Nothing else in forge prints."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import attrs
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from forge.core.errors import ForgeError, ManifestError
from forge.run.events import Event, Finished, Progressed, Started, Warned

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

    from forge.cli.options import Project
    from forge.core.record import Record
    from forge.plan.resolve import Graph
    from forge.run.build import Outcome
    from forge.run.events import Failure, StepResult

STYLES = {
    "hit": "cyan",
    "ran": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "run": "green",
    "unknown": "yellow",
}
_KIB = 1024
_FEW = 8
_WIDTH = 160
"""Columns where no terminal says how many there are."""


def console() -> Console:
    """Return the console for results."""
    terminal = sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=not terminal, width=None if terminal else _WIDTH)


def error_console() -> Console:
    """Return the console for everything that is not a result."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def show_error(error: ForgeError) -> None:
    """Print an error, and a hint where there is something to do."""
    out = error_console()
    if isinstance(error, ManifestError):
        for problem in error.problems:
            place = problem.file + (f":{problem.line}" if problem.line else "")
            step = f" step `{problem.step}`:" if problem.step else ""
            out.print(f"[bold red]error[/]: {escape(place)}:{escape(step)} {escape(problem.message)}")
            if problem.hint:
                out.print(f"  [cyan]hint[/]: {escape(problem.hint)}")
        if len(error.problems) > 1:
            out.print(f"\n{len(error.problems)} problems")
        return
    out.print(f"[bold red]error[/]: {escape(error.message)}")
    if error.hint:
        out.print(f"\n[cyan]hint[/]: {escape(error.hint)}")


def size_of(count: int) -> str:
    """Return a number of bytes as people write it."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < _KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:.1f} GiB"


def seconds_of(seconds: float) -> str:
    """Return a span of time as people write it."""
    minute = 60
    return f"{seconds:.1f} s" if seconds < minute else f"{seconds // minute:.0f} min {seconds % minute:.0f} s"


def grid(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table in forge's plain style."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


@attrs.define
class BuildView:
    """Show a build as it goes: live bars in a terminal, a line a step elsewhere."""

    graph: Graph
    quiet: bool = False
    progress: Progress | None = None
    tasks: dict[str, TaskID] = attrs.Factory(dict)
    out: Console = attrs.Factory(error_console)

    def __enter__(self) -> Self:
        """Start showing; nothing appears before a step runs."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        if self.progress is not None:
            self.progress.stop()

    def hear(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Warned):
            self._line(f"[yellow]warning[/]: `{event.step}`: {escape(event.message)}")
        elif isinstance(event, Finished) and event.result.status != "hit":
            self._finished(event.result)
        elif self.quiet:
            return
        elif isinstance(event, Started):
            self._started(event)
        elif isinstance(event, Progressed) and self.progress is not None and event.step in self.tasks:
            figures = "  ".join(f"{k.replace('_', ' ')} {_figure(v)}" for k, v in event.figures.items())
            self.progress.update(
                self.tasks[event.step], completed=event.done, total=event.total, figures=escape(figures)
            )

    def summary(self, project: Project, outcome: Outcome, out: Console | None = None) -> None:
        """Print a table of all steps, the receipts of checks, and what failed."""
        out = out if out is not None else console()
        table = grid(
            "step", "status", "rows in", "rows out", "seconds", "size", right=("rows in", "rows out", "seconds", "size")
        )
        for result in outcome.results:
            record = result.record
            table.add_row(
                escape(result.name),
                f"[{STYLES[result.status]}]{result.status}[/]"
                + (f" [dim]{escape(result.because)}[/]" if not record else ""),
                _count(record.rows_in if record else None),
                _count(record.rows_out if record else None),
                f"{result.seconds:.1f}" if result.status in ("ran", "failed") else "",
                size_of(record.size) if record else "",
            )
        out.print(table)
        for result in outcome.results:
            if result.kind == "check" and result.record is not None:
                show_receipt(read_member(project, result.record, "receipt.json"), result.name, out)
        counts = ", ".join(
            f"{n} {status}" for status in STYLES if (n := sum(r.status == status for r in outcome.results))
        )
        out.print(f"\n{counts} in {seconds_of(outcome.seconds)}")
        self.failures(outcome)

    def failures(self, outcome: Outcome) -> None:
        """Print what failed, last, so that it is on the screen."""
        for result in outcome.results:
            if result.failure is not None:
                show_failure(result.name, result.failure)

    def _started(self, event: Started) -> None:
        if not self.out.is_terminal:
            self._line(f"[dim]run[/]  {escape(event.step)} [dim]({escape(event.because)})[/]")
            return
        if self.progress is None:
            self.progress = _progress(self.out)
            self.progress.start()
        self.tasks[event.step] = self.progress.add_task(escape(event.step), total=None, figures=escape(event.because))

    def _finished(self, result: StepResult) -> None:
        if self.progress is not None and result.name in self.tasks:
            self.progress.remove_task(self.tasks.pop(result.name))
        if self.quiet:
            return
        record = result.record
        rows = f"  {record.rows_out:,} rows" if record and record.rows_out is not None else ""
        detail = f"{rows}  {seconds_of(result.seconds)}" if result.status != "skipped" else f"  {result.because}"
        self._line(f"[{STYLES[result.status]}]{result.status:<7}[/] {escape(result.name)}[dim]{escape(detail)}[/]")

    def _line(self, text: str) -> None:
        (self.progress.console if self.progress is not None else self.out).print(text)


def _progress(out: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[figures]}[/]"),
        console=out,
        transient=True,
    )


def show_failure(name: str, failure: Failure) -> None:
    """Print why a step failed."""
    out = error_console()
    if failure.traceback:
        out.print(f"\n[dim]{escape(failure.traceback.rstrip())}[/]")
    out.print(f"\n[bold red]error[/]: step `{escape(name)}`: {escape(failure.message)}")
    if failure.hint:
        out.print(f"\n[cyan]hint[/]: {escape(failure.hint)}")
    if failure.log:
        out.print(f"[dim]log: {escape(failure.log)}[/]")


def show_receipt(receipt: Any, name: str, out: Console) -> None:
    """Print a check's figures beside their bounds."""
    passed = "[green]passed[/]" if receipt["passed"] else "[bold red]failed[/]"
    out.print(f"\n[bold]{escape(name)}[/] {passed}")
    table = grid("figure", "value", "required", "", right=("value", "required"))
    for finding in receipt["findings"]:
        style = "" if finding["passed"] else "bold red"
        table.add_row(
            escape(finding["name"]),
            _figure(finding["value"]),
            "" if finding["bound"] is None else _figure(finding["bound"]),
            f"[dim]{escape(finding['detail'])}[/]",
            style=style,
        )
    out.print(table)
    for file, digest in list(receipt["subjects"].items())[:_FEW]:
        out.print(f"[dim]{escape(file)}  blake3 {digest}[/]")


def read_member(project: Project, record: Record, member: str) -> Any:
    """Return one JSON member of a step's artifact, or None if it has none."""
    tree = project.store.tree(record.tree)
    found = tree.members.get(member)
    return json.loads(project.store.read_object(found)) if found is not None else None


def json_document(project: Project, outcome: Outcome) -> dict[str, Any]:
    """Return a build as one JSON document."""
    manifest = project.graph.manifest
    return {
        "manifest": str(manifest.path),
        "name": manifest.name,
        "ok": outcome.exit_code == 0,
        "exit_code": outcome.exit_code,
        "seconds": round(outcome.seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "steps": [_json_step(project, result) for result in outcome.results],
    }


def _json_step(project: Project, result: StepResult) -> dict[str, Any]:
    record = result.record
    entry: dict[str, Any] = {
        "name": result.name,
        "kind": result.kind,
        "use": result.use,
        "status": result.status,
        "key": result.key,
        "tree": record.tree if record else None,
        "outputs": {n: m.digest for n, m in project.store.tree(record.tree).members.items()} if record else {},
        "seconds": result.seconds,
        "rows_in": record.rows_in if record else None,
        "rows_out": record.rows_out if record else None,
        "drops": dict(record.drops) if record else {},
        "size": record.size if record else None,
    }
    if result.because:
        entry["because"] = result.because
    if result.failure is not None:
        entry["error"] = {k: v for k, v in attrs.asdict(result.failure).items() if k != "traceback"}
    return entry


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _figure(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004
    return escape(str(value))
