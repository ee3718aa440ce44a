"""`forge lineage`: say what a file was made of, or what was made of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forge.cli import options
from forge.core.step import split_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from forge.core.record import Record
    from forge.run.trace import Sighting
    from forge.store.base import Store
    from forge.store.lineage import Lineage, Link, Made, Target

_FEW = 20
_SHORT = 16


@click.command()
@click.argument("what", metavar="FILE|DIGEST|MANIFEST")
@click.argument("step", required=False, metavar="[STEP]")
@click.option("--forward", is_flag=True, help="Name what was made of it instead.")
@click.option("--row", metavar="ID", help="Follow the row whose id this is, from its raw file on.")
@click.option("--column", default="id", show_default=True, help="The column that --row looks in.")
@options.sets
@options.store
@options.as_json
def command(
    *,
    what: str,
    step: str | None,
    forward: bool,
    row: str | None,
    column: str,
    sets: tuple[str, ...],
    store_path: str | None,
    as_json: bool,
) -> None:
    """Say which steps made FILE, out of which rows, labels and raw source files, with their digests.

    DIGEST is that of a file or an artifact, or an action key; its first eight digits or more are enough. A MANIFEST
    wants a STEP. With --row one row is followed through every table on the way.
    """
    from forge.cli import lineage_row
    from forge.cli.render import console
    from forge.core.errors import UsageError
    from forge.plan.compare import label_counts

    if row is not None and forward:
        raise UsageError("`--row` goes from the raw file on by itself", hint="leave `--forward` away")
    lineage, target = _target(what, step, sets, store_path)
    links = lineage.forward(target) if forward else lineage.backward(target)
    sightings = _trace(lineage, links, column, row) if row is not None else None
    labels = {} if forward else {link.record.key: label_counts(lineage.store, link.record) for link in links}
    if as_json:
        document = _document(lineage, target, links, labels)
        if sightings is not None:
            document["row"] = {"column": column, "id": row, "steps": lineage_row.document(sightings)}
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    out = console()
    _head(out, lineage, target)
    if sightings is not None:
        lineage_row.show(out, sightings)
    elif forward:
        _forward(out, lineage, links)
    else:
        _backward(out, lineage, target, links, labels)
    _accepted(out, links)


def _target(what: str, step: str | None, sets: tuple[str, ...], store_path: str | None) -> tuple[Lineage, Target]:
    """Return what is followed, and the store's records."""
    from forge.core.errors import UsageError
    from forge.store.lineage import Lineage, Target

    if step is not None:
        project = options.open_project(what, sets, store_path, (split_reference(step)[0],))
        return Lineage.read(project.store), Target("action", project.record(step).key)
    if sets:
        raise UsageError("`--set` wants a manifest and a step", hint="forge lineage MANIFEST STEP --set key=value")
    lineage = Lineage.read(options.open_store(store_path, Path()))
    return lineage, lineage.target(_digest(what))


def _trace(lineage: Lineage, links: list[Link], column: str, row: str) -> list[Sighting]:
    from forge.plugin.discovery import Registry
    from forge.run.trace import trace

    return trace(lineage, links, Registry(), column, row)


def _accepted(out: Console, links: list[Link]) -> None:
    """Print which results a person took over, under whose word."""
    from forge.cli.render import escape

    for link in links:
        entry: Mapping[str, Any] = link.record.accepted
        while entry:
            who, why = entry.get("who"), entry.get("why")
            out.print(
                f"\n[yellow]accepted[/] [bold]{escape(link.record.step)}[/] on {entry['when']}"
                + (f" by {escape(who)}" if who else "")
                + f": made under key {entry['from']}, since when {escape('; '.join(entry['moved']))}"
                + (f"; why: {escape(why)}" if why else "")
            )
            entry = entry.get("before", {})


def _digest(what: str) -> str:
    """Return the digest of a file's bytes, or what was given where there is no such file."""
    from forge.core.digest import digest_file
    from forge.core.errors import UsageError

    if os.path.isdir(what):
        raise UsageError(f"`{what}` is a folder", hint="name one of its files")
    if not os.path.isfile(what):
        return what
    try:
        return digest_file(what, os.path.getsize(what))
    except OSError as error:
        raise UsageError(f"`{what}` can't be read: {error.strerror}") from error


def _head(out: Console, lineage: Lineage, target: Target) -> None:
    from forge.cli.render import escape

    names = lineage.names(target)
    called = ", ".join(f"`{n}`" for n in names[:3]) + (f" and {len(names) - 3} more names" if len(names) > 3 else "")  # noqa: PLR2004
    kind = {"file": "file", "tree": "artifact", "action": "action"}[target.kind]
    out.print(f"[bold]{kind}[/] {target.digest}" + (f"  {escape(called)}" if called else ""))


def _backward(
    out: Console, lineage: Lineage, target: Target, links: list[Link], labels: dict[str, dict[str, dict[str, int]]]
) -> None:
    from forge.cli.render import escape, grid

    if not links:
        out.print(f"no step made it: it is a source file, read by {_steps(lineage.readers(target))}")
        return
    others = [r for r in lineage.makers(target) if r.key != links[0].record.key]
    if others:
        out.print(f"[dim]made by {len(others)} more actions with the same bytes: {_steps(others)}[/]")
    table = grid("step", "use", "made of", "rows in", "rows out", "made on", "key", right=("rows in", "rows out"))
    for link in links:
        record = link.record
        table.add_row(
            escape(record.step),
            escape(record.use),
            escape(_inputs(lineage, link)),
            _count(record.rows_in),
            _count(record.rows_out),
            record.started[:19].replace("T", " "),
            f"[dim]{record.key[:_SHORT]}[/]",
        )
    out.print()
    out.print(table)
    for link in links:
        for column, counts in labels.get(link.record.key, {}).items():
            shown = ", ".join(f"{count:,} {value}" for value, count in list(counts.items())[:_FEW])
            out.print(f"[bold]{escape(link.record.step)}[/] {escape(column)}: {escape(shown)}")
    _sources(out, links)


def _sources(out: Console, links: list[Link]) -> None:
    """Print every file that was read from outside the store."""
    from forge.cli.render import escape, grid
    from forge.cli.words import size_of

    table = grid("source file", "size", "blake3", "read by", right=("size",))
    count = 0
    for link in links:
        for parameter, files in link.files.items():
            reader = escape(f"{link.record.step} ({parameter})")
            if files is None:
                digest = link.record.action["files"][parameter]
                table.add_row("[yellow]names not kept[/]", "", f"[dim]{digest} of all[/]", reader)
                continue
            for name, member in sorted(files.items())[: max(0, _FEW - count)]:
                table.add_row(escape(name), size_of(member.size), f"[dim]{member.digest}[/]", reader)
            count += len(files)
    if table.row_count:
        out.print()
        out.print(table)
    if count > _FEW:
        out.print(f"… and {count - _FEW:,} more: `--json` names them all")


def _forward(out: Console, lineage: Lineage, links: list[Link]) -> None:
    from forge.cli.render import escape, grid

    if not links:
        out.print("nothing in this store was made of it")
        return
    builds = lineage.last_builds()
    table = grid("step", "use", "made of", "rows out", "last build of", "artifact", "key", right=("rows out",))
    for link in links:
        record = link.record
        whole = lineage.store.complete(record.tree) is not None
        table.add_row(
            escape(record.step),
            escape(record.use),
            escape(_inputs(lineage, link)),
            _count(record.rows_out),
            escape(", ".join(builds.get(record.key, ()))),
            record.tree[:_SHORT] if whole else "[yellow]no longer here[/]",
            f"[dim]{record.key[:_SHORT]}[/]",
        )
    out.print()
    out.print(table)


def _inputs(lineage: Lineage, link: Link) -> str:
    made = [_called(lineage, entry) for entry in link.inputs.values()]
    return ", ".join([*made, *(f"files of `{parameter}`" for parameter in link.files)])


def _called(lineage: Lineage, made: Made | None) -> str:
    if made is None:
        return "(unknown)"
    return lineage.records[made.key].step + (f".{made.part}" if made.part else "")


def _steps(records: list[Record]) -> str:
    from forge.cli.render import escape

    names = list(dict.fromkeys(record.step for record in records))
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return escape(", ".join(f"`{name}`" for name in names[:_FEW]) + more)


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _document(
    lineage: Lineage, target: Target, links: list[Link], labels: dict[str, dict[str, dict[str, int]]]
) -> dict[str, Any]:
    builds = lineage.last_builds()
    return {
        "target": {"kind": target.kind, "digest": target.digest, "names": lineage.names(target)},
        "read_by": [{"step": r.step, "key": r.key} for r in lineage.readers(target)],
        "steps": [
            {
                "step": link.record.step,
                "kind": link.record.kind,
                "use": link.record.use,
                "key": link.record.key,
                "tree": link.record.tree,
                "in_store": _is_whole(lineage.store, link.record),
                "started": link.record.started,
                "rows_in": link.record.rows_in,
                "rows_out": link.record.rows_out,
                "drops": dict(link.record.drops),
                "inputs": {
                    name: {
                        "tree": link.record.inputs[name],
                        "key": made.key if made else None,
                        "step": _called(lineage, made) if made else None,
                    }
                    for name, made in link.inputs.items()
                },
                "files": {
                    parameter: None
                    if files is None
                    else {name: {"digest": m.digest, "size": m.size} for name, m in sorted(files.items())}
                    for parameter, files in link.files.items()
                },
                "labels": labels.get(link.record.key, {}),
                "last_build_of": builds.get(link.record.key, []),
                "equals": list(link.equals),
                "accepted": dict(link.record.accepted),
            }
            for link in links
        ],
    }


def _is_whole(store: Store, record: Record) -> bool:
    return store.complete(record.tree) is not None
