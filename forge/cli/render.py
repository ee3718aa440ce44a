"""Tables and errors as a person sees them, by rich; what a build says is `view` and `answer`."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from rich import markup
from rich.console import Console
from rich.table import Table

from forge.core.errors import ForgeError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.cli.project import Project
    from forge.core.record import Record
    from forge.run.events import Failure

STYLES = {
    "hit": "cyan",
    "ran": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "run": "green",
    "unknown": "yellow",
}
_FEW = 8
WIDTH = 160
"""Columns where no terminal says how many there are."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What moves a terminal's cursor or changes its colours: a file's name may hold it, and a record."""


def escape(text: str) -> str:
    """Return *text* as it stands, for rich and for the terminal: no markup, and no control character but line ends."""
    return markup.escape(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text))


def console() -> Console:
    """Return the console for results."""
    terminal = sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=not terminal, width=None if terminal else WIDTH)


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
    _hint(out, error.message, error.hint)


def _hint(out: Console, message: str, hint: str | None) -> None:
    """Print the hint of *message*, apart from one that has hints of its own."""
    if hint:
        apart = "\n" if "\n" in message else "  "
        out.print(f"{apart}[cyan]hint[/]: {escape(hint)}")


def grid(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table in forge's plain style."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def show_failure(name: str, failure: Failure) -> None:
    """Print why a step failed."""
    out = error_console()
    if failure.traceback:
        out.print(f"\n[dim]{escape(failure.traceback.rstrip())}[/]")
    out.print(f"\n[bold red]error[/]: step `{escape(name)}`: {escape(failure.message)}")
    _hint(out, failure.message, failure.hint)
    if failure.tail:
        out.print(f"\n[dim]{escape(failure.tail.rstrip())}[/]")
    if failure.log:
        out.print(f"[dim]log: {escape(failure.log)}[/]")


def show_receipt(receipt: Any, name: str, out: Console, measured: Mapping[str, float] | None = None) -> None:
    """Print a check's figures beside their bounds, and what was *measured* on this machine.

    Figures of several files, `FILE.figure`, stand side by side; a name in words (`EMAIL in rows.text`) is one figure.
    """
    passed = "[green]passed[/]" if receipt["passed"] else "[bold red]failed[/]"
    out.print(f"\n[bold]{escape(name)}[/] {passed}")
    found = {each["name"]: each for each in receipt["findings"] if each["value"] is not None or not each["passed"]}
    found |= {
        key: {"name": key, "value": value, "bound": None, "passed": True, "detail": ""}
        for key, value in (measured or {}).items()
    }
    parts = list(dict.fromkeys(_file_and_figure(key)[0] for key in found))
    parts = sorted(parts, key=lambda part: part != "") if len(parts) > 1 else parts
    columns = [part or "" for part in parts]
    table = grid("figure", *(escape(part or "value") for part in columns), "required", "",
                 right=(*(escape(part or "value") for part in columns), "required"))  # fmt: skip
    for key in dict.fromkeys(_file_and_figure(key)[1] for key in found):
        row = [found.get(f"{part}.{key}" if part else key) for part in columns]
        bounds = dict.fromkeys(figure(each["bound"]) for each in row if each and each["bound"] is not None)
        details = dict.fromkeys(str(each["detail"]) for each in row if each and each["detail"])
        table.add_row(
            escape(key),
            *("" if each is None else _marked(each) for each in row),
            " / ".join(bounds),
            f"[dim]{escape('; '.join(details))}[/]",
        )
    out.print(table)
    for file, digest in list(receipt["subjects"].items())[:_FEW]:
        out.print(f"[dim]{escape(file)}  blake3 {digest}[/]")


def _file_and_figure(name: str) -> tuple[str, str]:
    """Return the file and the figure that a finding's name holds; no file where it is words."""
    file, _, figure_name = name.rpartition(".")
    return ("", name) if " " in file else (file, figure_name)


def _marked(finding: Any) -> str:
    value = figure(finding["value"])
    return value if finding["passed"] else f"[bold red]{value}[/]"


def read_member(project: Project, record: Record, member: str) -> Any:
    """Return one JSON member of a step's artifact, or None if it has none."""
    tree = project.store.tree(record.tree)
    found = tree.members.get(member)
    return json.loads(project.store.read_object(found)) if found is not None else None


def figure(value: Any) -> str:
    """Return a figure as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004
    return escape(str(value))
