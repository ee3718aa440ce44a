"""`forge rebuild --verify`: make everything again elsewhere, and compare it with the lock."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forge.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forge.run.rebuild import Rebuilt

_SHORT = 16


@click.command()
@options.manifest
@click.option("--verify", is_flag=True, required=True, help="Compare what comes out with the lock.")
@click.option("--lock", "lock_file", metavar="FILE", help="The lock, where it is not MANIFEST.lock.")
@click.option(
    "--journal/--no-journal",
    default=True,
    show_default=True,
    help="Take the replies that labelers have paid for, or ask for all of them again.",
)
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Run this many steps at once (default: the cores).")
@options.as_json
def command(
    *,
    manifest: str,
    sets: tuple[str, ...],
    store_path: str | None,
    verify: bool,
    lock_file: str | None,
    journal: bool,
    jobs: int | None,
    as_json: bool,
) -> int:
    """Build MANIFEST from nothing into a store that is removed again, and say which digests are not the locked ones.

    The values that the lock was written with by --set hold where none are given.
    """
    from forge.cli.view import BuildView
    from forge.plan.lock import environment_differences, input_differences, lock_path, read_lock, sets_of
    from forge.run.local import LocalExecutor
    from forge.run.rebuild import rebuild
    from forge.store.disk import remove

    del verify  # there is nothing else to be had so far
    lock = read_lock(Path(lock_file) if lock_file else lock_path(Path(manifest)))
    project = options.open_project(manifest, sets or sets_of(lock, Path(manifest)), store_path)
    causes = [
        *environment_differences(lock, project.graph),
        *input_differences(lock, project.graph, project.store),
    ]
    gone = [name for name in lock.steps if name not in project.graph.steps]
    count = jobs or os.cpu_count() or 1
    folder = Path(tempfile.mkdtemp(prefix="forge-rebuild-"))
    try:
        with BuildView(quiet=as_json) as view:
            outcome, rebuilt = rebuild(
                project.graph, lock, project.store, folder, lambda: LocalExecutor(count), view.hear, journal=journal
            )
    finally:
        remove(folder)
    equal = all(each.equal for each in rebuilt) and not gone
    if as_json:
        click.echo(json.dumps(_document(causes, gone, rebuilt, equal=equal), ensure_ascii=False, indent=1))
    else:
        _show(causes, gone, rebuilt)
    view.failures(outcome)
    return 0 if equal else 1


def _document(causes: list[str], gone: list[str], rebuilt: Sequence[Rebuilt], *, equal: bool) -> dict[str, Any]:
    import attrs

    return {"equal": equal, "differences": causes, "gone": gone, "steps": [attrs.asdict(each) for each in rebuilt]}


def _show(causes: list[str], gone: list[str], rebuilt: Sequence[Rebuilt]) -> None:
    from forge.cli.render import console, escape, grid

    out = console()
    out.print("[yellow]other than locked[/], and so the likely cause of what differs:" if causes else "as locked")
    for cause in causes:
        out.print(f"  {escape(cause)}")
    out.print()
    table = grid("step", "", "locked", "made")
    for each in rebuilt:
        word = "[green]equal[/]" if each.equal else "[red]differs[/]"
        after = " [dim]its inputs differ[/]" if each.inputs_differ else ""
        table.add_row(escape(each.step), word + after, each.locked[:_SHORT], (each.made or "nothing")[:_SHORT])
    for name in gone:
        table.add_row(escape(name), "[red]only in the lock[/]", "", "")
    out.print(table)
    for each in rebuilt:
        for detail in each.details:
            out.print(f"[bold]{escape(each.step)}[/] {escape(detail)}")
    bad = sum(not each.equal for each in rebuilt) + len(gone)
    out.print(f"\n{bad} of {len(rebuilt)} steps differ" if bad else f"\nall {len(rebuilt)} steps are equal")
