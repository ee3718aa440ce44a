"""Show what travels between a store and a remote: a bar while it does, then what came of it."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from forge.cli.render import console, error_console, escape, grid, show_error
from forge.cli.words import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from forge.store.remote import Totals
    from forge.store.trust import Refusal


@contextmanager
def bar(text: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function that takes bytes done and bytes in all; a terminal shows them as a bar."""
    out = error_console()
    if quiet or not out.is_terminal:
        yield lambda _done, _total: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task(escape(text), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def show(
    remote: str,
    totals: Totals,
    *,
    verb: str,
    dry: bool,
    missing: Mapping[str, str],
    refused: Sequence[Refusal] = (),
    as_json: bool = False,
) -> int:
    """Print what travelled, and return the exit code; *verb* is ``sent`` or ``taken``."""
    if as_json:
        json.dump(_document(remote, totals, verb, missing, refused, dry=dry), sys.stdout, ensure_ascii=False, indent=1)
        print()  # noqa: T201
    else:
        _table(remote, totals, verb, dry=dry)
        for step, why in missing.items():
            console().print(f"[yellow]not {verb}[/]  {escape(step)} [dim]{escape(why)}[/]")
    for refusal in refused:
        show_error(refusal.error(remote))
    return 4 if refused else 0


def _table(remote: str, totals: Totals, verb: str, *, dry: bool) -> None:
    head = f"would be {verb}" if dry else verb
    table = grid("", head, "size", "there already", right=(head, "size", "there already"))
    for name, tally in (("objects", totals.objects), ("trees", totals.trees), ("records", totals.records)):
        table.add_row(name, f"{tally.sent:,}", size_of(tally.size), f"{tally.there:,}")
    console().print(table)
    console().print(f"\n{size_of(totals.size)} {head}: {escape(remote)}")


def _document(
    remote: str, totals: Totals, verb: str, missing: Mapping[str, str], refused: Sequence[Refusal], *, dry: bool
) -> dict[str, Any]:
    counts = {
        name: {verb: tally.sent, "bytes": tally.size, "there": tally.there}
        for name, tally in (("objects", totals.objects), ("trees", totals.trees), ("records", totals.records))
    }
    return {
        "remote": remote,
        "ok": not refused,
        "exit_code": 4 if refused else 0,
        "dry_run": dry,
        **counts,
        "missing": dict(missing),
        "refused": [{"kind": r.kind, "digest": r.digest, "reason": r.reason, "steps": list(r.steps)} for r in refused],
    }
