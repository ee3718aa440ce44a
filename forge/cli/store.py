"""`forge store`: check and measure the store."""

from __future__ import annotations

from pathlib import Path

import click

from forge.cli import options


@click.group()
def command() -> None:
    """Check and measure the store."""


@command.command("verify")
@options.store
def verify(*, store_path: str | None) -> int:
    """Read every object, tree and record and compare its digest; exit 4 if one is damaged."""
    from forge.cli.render import console
    from forge.store.actions import Actions, describe_damage

    store = options.open_store(store_path, Path())
    faults = describe_damage(store, Actions(store))
    out = console()
    for fault in faults:
        steps = ", ".join(f"`{s}`" for s in fault["steps"])
        out.print(f"[bold red]{fault['fault']}[/]  {fault['path']}  {steps}")
    records = sum(1 for _ in Actions(store).all())
    out.print(f"{records} records, {len(faults)} faults" if faults else f"{records} records, no fault")
    return 4 if faults else 0


@command.command("size")
@options.store
def size(*, store_path: str | None) -> None:
    """Print how much of the disk each part of the store takes."""
    from forge.cli.render import console, grid, size_of

    store = options.open_store(store_path, Path())
    table = grid("part", "files", "size", right=("files", "size"))
    total = 0
    for part in ("objects", "trees", "actions", "journals", "scratch", "staging", "logs", "builds"):
        sizes = [p.stat().st_size for p in (store.root / part).rglob("*") if p.is_file() and not p.is_symlink()]
        total += sum(sizes)
        table.add_row(part, f"{len(sizes):,}", size_of(sum(sizes)))
    table.add_row("all", "", size_of(total), style="bold")
    console().print(table)
