"""What a build prints when it is over: a table for people, a document for programs. Plain text: rich would be slow."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING, Any

from forge.cli.words import Ink, seconds_of, size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forge.cli.project import Project
    from forge.core.record import Record
    from forge.run.build import Outcome
    from forge.run.events import StepResult

_ALL = 40
"""Steps up to which hits are listed too."""
_COLUMNS = ("step", "status", "rows in", "rows out", "seconds", "size")
_GAP = "   "


def summary(project: Project, outcome: Outcome, *, terminal: bool) -> str:
    """Return a table of the steps, the receipts of checks, and the counts; many hits are counted, not listed."""
    ink = Ink(terminal)
    few = len(outcome.results) <= _ALL
    listed = [r for r in outcome.results if few or r.status != "hit"]
    parts = [_table(project, listed, ink)] if listed else []
    checks = (r for r in outcome.results if r.kind == "check" and r.status in ("hit", "ran"))
    parts += [_receipt(project, result, terminal=terminal) for result in checks]
    counts = [(n, s) for s in Ink.STATES if (n := sum(r.status == s for r in outcome.results))]
    told = ", ".join(f"{n:,} {status}" for n, status in counts)
    return "".join(parts) + f"{'' if not parts else chr(10)}{told} in {seconds_of(outcome.seconds)}\n"


def document(project: Project, outcome: Outcome) -> dict[str, Any]:
    """Return a build as one JSON document."""
    manifest = project.graph.manifest
    return {
        "manifest": str(manifest.path),
        "name": manifest.name,
        "ok": outcome.exit_code == 0,
        "exit_code": outcome.exit_code,
        "seconds": round(outcome.seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "steps": [_entry(project, result) for result in outcome.results],
    }


def json_text(value: Any) -> str:
    """Return a JSON document as text that any encoding takes where a file's name is no UTF-8."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return (text if text.isascii() or _encodable(text) else json.dumps(value, indent=1)) + "\n"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _table(project: Project, results: Sequence[StepResult], ink: Ink) -> str:
    rows = [_row(project, result) for result in results]
    widths = [max(len(row[i]) for row in [_COLUMNS, *rows]) for i in range(len(_COLUMNS))]
    lines = [_GAP.join(ink("bold", cell) for cell in _justified(_COLUMNS, widths)).rstrip()]
    for result, row in zip(results, rows, strict=True):
        cells = _justified(row, widths)
        cells[1] = ink(result.status, cells[1])
        because = "" if result.status in ("hit", "ran") else _GAP + ink("dim", result.because)
        lines.append(_GAP.join(cells).rstrip() + because.rstrip())
    return "\n".join(lines) + "\n"


def _row(project: Project, result: StepResult) -> tuple[str, ...]:
    record = _record(project, result)
    return (
        result.name,
        result.status,
        _count(record.rows_in if record else None),
        _count(record.rows_out if record else None),
        f"{result.seconds:.1f}" if result.status in ("ran", "failed") else "",
        size_of(record.size) if record else "",
    )


def _justified(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return words to the left and figures to the right."""
    return [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]  # noqa: PLR2004


def _record(project: Project, result: StepResult) -> Record | None:
    """Return the record of a step that is there; one that was not looked at in this build is read now."""
    if result.record is not None or result.key is None or result.status not in ("hit", "ran"):
        return result.record
    from forge.store.actions import Actions

    return Actions(project.store).read(result.key)


def _receipt(project: Project, result: StepResult, *, terminal: bool) -> str:
    from rich.console import Console

    from forge.cli.render import WIDTH, console, read_member, show_receipt

    record = _record(project, result)
    if record is None:
        return ""
    stream = io.StringIO()
    width = console().width if terminal else WIDTH
    out = Console(file=stream, highlight=False, force_terminal=terminal, width=width, soft_wrap=not terminal)
    show_receipt(read_member(project, record, "receipt.json"), result.name, out, record.measured)
    return stream.getvalue()


def _entry(project: Project, result: StepResult) -> dict[str, Any]:
    record = _record(project, result)
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
        entry["error"] = {k: v for k, v in result.failure._asdict().items() if k != "traceback"}
    return entry


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
