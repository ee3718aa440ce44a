"""`forge store`: check, measure, clear and share the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forge.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forge.core.record import Record


@click.group()
def command() -> None:
    """Check, measure, clear and share the store."""


@command.command("verify")
@options.store
@click.option("--repair", is_flag=True, help="Set what is damaged aside, so that the next build makes it anew.")
def verify(*, store_path: str | None, repair: bool) -> int:
    """Read every object, tree and record and compare its digest; exit 4 if one is damaged and stays there."""
    from forge.cli.render import console, escape
    from forge.store.actions import Actions
    from forge.store.faults import describe_damage, leftovers, set_aside

    store = options.open_store(store_path, Path(), made=True)
    faults = describe_damage(store, Actions(store))
    stuck = set_aside(store, faults) if repair else []
    out = console()
    for fault in faults:
        detail = f"  {escape(fault.detail)}" if fault.detail else ""
        steps = ", ".join(f"`{escape(s)}`" for s in fault.steps)
        out.print(f"[bold red]{fault.fault}[/]  {escape(str(fault.path))}{detail}" + (f"  of {steps}" if steps else ""))
    for what, count in leftovers(store).items():
        out.print(f"[dim]{count:,} {what}: no fault, `forge store gc` takes them in time[/]")
    records = sum(1 for _ in Actions(store).all())
    out.print(f"{records} records, " + (_counted(len(faults), "fault") if faults else "no fault"))
    if not faults:
        return 0
    if not repair:
        out.print("\n[cyan]hint[/]: `forge store verify --repair` sets them aside; the next build makes them anew")
        return 4
    steps = ", ".join(f"`{escape(s)}`" for s in sorted({step for fault in faults for step in fault.steps}))
    what = f"the next build makes {steps} anew" if steps else "no step needs them"
    out.print(f"{_counted(len(faults), 'fault')} set aside: {what}" if not stuck else "")
    for path in stuck:
        out.print(f"[bold red]can't be moved[/]  {escape(str(path))}")
    return 4 if stuck else 0


@command.command("gc")
@options.store
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="N",
    help="Keep what was made or used in the last N days as well.",
)
def collect_garbage(*, store_path: str | None, dry_run: bool, keep_days: float) -> None:
    """Remove what no manifest's last build, no pin and no running build needs; builds may run meanwhile.

    What was made or used within the last hour stays, and so do replies of labeling providers.
    """
    from forge.cli.render import console, grid
    from forge.cli.words import size_of
    from forge.store.gc import collect, survey

    store = options.open_store(store_path, Path(), made=True)
    garbage = survey(store, keep_days=keep_days)
    out = console()
    if not garbage.pieces:
        out.print(f"nothing to remove: {_counted(garbage.kept, 'record')} in use")
        return
    table = grid("would go" if dry_run else "goes", "count", "size", right=("count", "size"))
    for kind in dict.fromkeys(sorted(piece.kind for piece in garbage.pieces)):
        pieces = garbage.of(kind)
        table.add_row(kind, f"{len(pieces):,}", size_of(sum(piece.size for piece in pieces)))
    table.add_row("all", f"{len(garbage.pieces):,}", size_of(garbage.size), style="bold")
    out.print(table)
    if dry_run:
        out.print(f"\n{_counted(garbage.kept, 'record')} would stay; nothing was removed")
        return
    removed = collect(store, garbage)
    spared = len(garbage.pieces) - len(removed.pieces)
    out.print(
        f"\n{size_of(removed.size)} freed, {_counted(removed.kept, 'record')} kept"
        + (f"; {spared:,} came into use meanwhile and stay" if spared else "")
    )


@command.command("pin")
@click.argument("name")
@click.argument("what", metavar="KEY|DIGEST")
@options.store
def pin(*, name: str, what: str, store_path: str | None) -> None:
    """Keep a result by the KEY of its action, or an artifact or file by its DIGEST, whatever is built later."""
    from forge.cli.render import console
    from forge.store.pins import Pins

    found = Pins(options.open_store(store_path, Path(), made=True)).add(name, what)
    console().print(f"pin `{found.name}` keeps {found.kind} {found.digest}")


@command.command("unpin")
@click.argument("name")
@options.store
def unpin(*, name: str, store_path: str | None) -> None:
    """Take the pin NAME away."""
    from forge.cli.render import console
    from forge.store.pins import Pins

    Pins(options.open_store(store_path, Path(), made=True)).drop(name)
    console().print(f"pin `{name}` is gone")


@command.command("pins")
@options.store
def list_pins(*, store_path: str | None) -> None:
    """List pins and what they keep."""
    from forge.cli.render import console, grid
    from forge.store.pins import Pins

    table = grid("pin", "keeps", "digest")
    pins = Pins(options.open_store(store_path, Path(), made=True)).all()
    for each in pins:
        table.add_row(each.name, each.kind, each.digest)
    console().print(table if pins else "no pins")


@command.command("size")
@options.store
def size(*, store_path: str | None) -> None:
    """Print how much of the disk each part of the store takes."""
    from forge.cli.render import console, grid
    from forge.cli.words import size_of

    store = options.open_store(store_path, Path(), made=True)
    table = grid("part", "files", "size", right=("files", "size"))
    total = 0
    for part in ("objects", "trees", "actions", "pieces", "journals", "scratch", "jobs", "staging", "logs", "builds"):
        sizes = [p.stat().st_size for p in (store.root / part).rglob("*") if p.is_file() and not p.is_symlink()]
        total += sum(sizes)
        table.add_row(part, f"{len(sizes):,}", size_of(sum(sizes)))
    table.add_row("all", "", size_of(total), style="bold")
    console().print(table)


def _shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Take what push and pull have in common."""
    for option in reversed(
        (
            click.argument("url", metavar="URL"),
            click.argument("manifest", metavar="[MANIFEST", required=False),
            click.argument("steps", nargs=-1, metavar="[STEP]…]"),
            options.sets,
            options.store,
            click.option(
                "--jobs",
                "-j",
                type=click.IntRange(min=1),
                default=8,
                show_default=True,
                help="Transfer this many files at once.",
            ),
            click.option("--dry-run", is_flag=True, help="Say what would travel, and write nothing."),
            options.as_json,
        )
    ):
        function = option(function)
    return function


@command.command("push")
@_shared
@click.option("--verify", "reread", is_flag=True, help="Read what is there, and mend what is damaged.")
def push(
    *,
    url: str,
    manifest: str | None,
    steps: tuple[str, ...],
    sets: tuple[str, ...],
    store_path: str | None,
    jobs: int,
    dry_run: bool,
    as_json: bool,
    reread: bool,
) -> int:
    """Send results to the remote at URL: a folder, `s3://bucket/path`, or any URL that fsspec knows.

    With MANIFEST what it has built, or the named STEPs and all they need; without, what last builds and pins keep.
    """
    from forge.cli import transfer
    from forge.plan.share import built
    from forge.store.push import Push, rooted
    from forge.store.remote import Remote

    _check_sets(manifest, sets)
    missing: Mapping[str, str] = {}
    if manifest is None:
        store = options.open_store(store_path, Path(), made=True)
        records: Sequence[Record] = rooted(store)
    else:
        project = options.open_project(manifest, sets, store_path, steps)
        store = project.store
        records, shared = built(project.graph, store)
        missing = shared.missing
    remote = Remote.open(url, jobs)
    with transfer.bar(f"to {remote.label}", quiet=as_json) as progress:
        totals = Push(store, remote, progress, dry_run, reread).run(records)
    return transfer.show(remote.label, totals, verb="sent", dry=dry_run, missing=missing, as_json=as_json)


@command.command("pull")
@_shared
def pull(
    *,
    url: str,
    manifest: str | None,
    steps: tuple[str, ...],
    sets: tuple[str, ...],
    store_path: str | None,
    jobs: int,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Take results from the remote at URL, verified as they come; exit 4 if something there is refused.

    With MANIFEST what its build needs, or the named STEPs'; without, every result that the remote has.
    """
    from forge.cli import transfer
    from forge.plan.share import find, remember
    from forge.store.pull import Pull
    from forge.store.remote import Remote

    _check_sets(manifest, sets)
    missing: Mapping[str, str] = {}
    project = None if manifest is None else options.open_project(manifest, sets, store_path, steps)
    store = options.open_store(store_path, Path()) if project is None else project.store
    remote = Remote.open(url, jobs)
    with transfer.bar(f"from {remote.label}", quiet=as_json) as progress:
        each = Pull(store, remote, progress, dry_run)
        each.open()
        if project is None:
            each.find(each.keys())
            each.take()
        else:
            shared = find(project.graph, store, each)
            missing = shared.missing
            each.take()
            if not dry_run:
                remember(project.graph, store, shared)
    return transfer.show(
        remote.label, each.totals, verb="taken", dry=dry_run, missing=missing, refused=each.refused, as_json=as_json
    )


def _check_sets(manifest: str | None, sets: tuple[str, ...]) -> None:
    from forge.core.errors import UsageError

    if manifest is None and sets:
        raise UsageError("`--set` needs a MANIFEST", hint="name the manifest after the URL")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
