"""`forge show`: print a step's rows, statistics, drops, metrics or receipt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from forge.cli import options, show_tokens
from forge.core.step import split_reference
from forge.plugin.table import REJECTS, TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from forge.cli.options import Project
    from forge.core.record import Record
    from forge.plan.sweep import Sweep

_WIDE = 100
_FIGURES = 6
"""Figures of a sweep's points that stand in a column; `--json` has all."""


@click.command()
@options.manifest
@click.argument("step", metavar="STEP[.PART]")
@click.option("--rows", "count", default=2, show_default=True, help="Print this many rows.")
@options.as_json
def command(
    *, manifest: str, step: str, sets: tuple[str, ...], store_path: str | None, count: int, as_json: bool
) -> None:
    """Print what STEP made: rows, statistics, what was dropped and why, metrics, receipt."""
    from forge.cli.render import console, read_member, show_receipt

    project = options.open_project(manifest, sets, store_path, (split_reference(step)[0],))
    if step in project.graph.sweeps:
        _sweep(project, project.graph.sweeps[step], as_json=as_json)
        return
    record = _record(project, step)
    members = {name: read_member(project, record, name) for name in ("stats.json", "metrics.json", "receipt.json")}
    if as_json:
        document = record.to_json() | {
            n.removesuffix(".json"): value for n, value in members.items() if value is not None
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    out = console()
    _head(out, record)
    _ledger(out, record)
    for warning in record.warnings:
        out.print(f"[yellow]warning[/]: {warning}", markup=True)
    if show_tokens.is_tokens(members["stats.json"]):
        show_tokens.show_statistics(out, members.pop("stats.json"))
    for name in ("stats.json", "metrics.json"):
        if members.get(name) is not None:
            out.print(f"\n[bold]{name}[/]")
            out.print(_compact(members[name]), markup=False)
    if members["receipt.json"] is not None:
        show_receipt(members["receipt.json"], record.step, out, record.measured)
    _files(out, project, record)
    part_given = split_reference(step)[1]
    for part in [part_given] if part_given else list(record.rows):
        _rows(out, project, record, part, count)


def _head(out: Console, record: Record) -> None:
    """Print what was made, by which job, and whether it was taken over."""
    from forge.cli.render import escape
    from forge.cli.words import size_of

    out.print(f"[bold]{record.step}[/]  {record.use}  {record.seconds:.1f} s  {size_of(record.size)}")
    out.print(f"[dim]key {record.key}[/]")
    if record.job:
        out.print(f"[dim]{escape(_job(record.job))}[/]")
    if record.accepted:
        moved = escape("; ".join(record.accepted["moved"]))
        who = f" by {escape(record.accepted['who'])}" if "who" in record.accepted else ""
        why = f"; why: {escape(record.accepted['why'])}" if "why" in record.accepted else ""
        out.print(
            f"accepted on {record.accepted['when']}{who}: "
            f"made under key {record.accepted['from']}, since when {moved}{why}"
        )


def _record(project: Project, step: str) -> Record:
    """Return the step's record; for a failed check print its receipt beside the error."""
    from forge.cli.render import console, show_receipt
    from forge.core.errors import UsageError
    from forge.plan.forecast import forecast

    try:
        return project.record(step)
    except UsageError:
        name = project.step(step)
        entry = forecast(project.graph.closure([name]), project.store)[name]
        failed = project.store.root / "builds" / "failed" / f"{entry.key}.json"
        if failed.is_file():
            left = json.loads(failed.read_text(encoding="utf-8"))
            if "findings" in left:
                show_receipt(left, name, console())
            else:
                _unlabelled(console(), left, name)
            hint = f"mend what is said above, then `forge build {project.graph.manifest.path} {name}{project.given}`"
            raise UsageError(f"step `{name}` failed when it last ran, as things are now", hint=hint) from None
        raise


def _unlabelled(out: Console, left: Any, name: str) -> None:
    """Print the rows for which a labeler that failed has no labels, as far as it left them."""
    from forge.cli.render import escape

    states = ", ".join(f"{count:,} {state}" for state, count in left["states"].items())
    out.print(f"\n[bold]{escape(name)}[/] [bold red]failed[/]: {left['rows']:,} rows, {states}")
    for row in left["unlabelled"]:
        out.print(f"  row {row['row']:,} {row['state']}: {escape(str(row['reason']))}")
        if row["reply"]:
            out.print(f"    [dim]{escape(row['reply'])}[/]")


def _sweep(project: Project, sweep: Sweep, *, as_json: bool) -> None:
    """Print a sweep's points beside each other, the best of them marked."""
    from rich.table import Table

    from forge.cli.render import console, escape
    from forge.plan.forecast import forecast
    from forge.report.sweeps import compare
    from forge.report.words import figure

    entries = forecast(project.graph, project.store)
    records = {name: entry.record for name, entry in entries.items()}
    found = compare(sweep, records, {name: entry.will == "hit" for name, entry in entries.items()}, project.store)
    if as_json:
        document: dict[str, Any] = {
            "sweep": sweep.name,
            "metric": found.metric or None,
            "lowest": found.lowest if found.metric else None,
        }
        document["points"] = [point.to_json() for point in found.points]
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    columns = found.columns(_FIGURES)
    table = Table(box=None, pad_edge=False)
    for name in (*found.axes, *columns, "seconds", ""):
        table.add_column(escape(name.replace("_", " ")), justify="left" if name in ("", *found.axes) else "right")
    for point in found.points:
        figures = [figure(point.figures[name]) if name in point.figures else "" for name in columns]
        seconds = f"{point.seconds:.1f}" if point.seconds is not None else ""
        mark = "the best" if point.best else "" if point.built else f"not built: {escape(entries[point.step].because)}"
        table.add_row(*(escape(point.shown.get(name, "")) for name in found.axes), *figures, seconds, mark)
    rule = f", the {'lowest' if found.lowest else 'highest'} `{found.metric}` is the best" if found.metric else ""
    console().print(f"[bold]{escape(sweep.name)}[/]  {len(found.points)} points{rule}\n")
    console().print(table)


def _job(job: Mapping[str, Any]) -> str:
    """Return in a line which job of a cluster made a result, and what it took."""
    from forge.cli.words import size_of

    words = [f"job {job.get('task') or job.get('id', '')}"]
    words += [f"{name} {job[name]}" for name in ("cluster", "partition", "node") if job.get(name)]
    words += [f"{size_of(job['memory'])} of memory"] if job.get("memory") else []
    words += [f"restarts {job['restarts']}"] if job.get("restarts") else []
    return ", ".join(words)


def _ledger(out: Console, record: Record) -> None:
    from forge.cli.render import escape

    if record.rows_out is not None:
        came = f"{record.rows_in:,} rows in, " if record.rows_in is not None else ""
        parts = ", ".join(f"{part} {rows:,}" for part, rows in record.rows.items() if part)
        made = record.rows_out + sum(record.drops.values()) - (record.rows_in or 0) if came else 0
        out.print(
            f"{came}{f'{made:,} made, ' if made > 0 else ''}{record.rows_out:,} rows out"
            + (f" ({parts})" if parts else "")
        )
    elif record.rows_in is not None:
        out.print(f"{record.rows_in:,} rows in")
    for reason, count in sorted(record.drops.items(), key=lambda item: -item[1]):
        out.print(f"  {count:,} dropped: {escape(reason)}")
        for example in record.examples.get(reason, ()):
            out.print(f"    [dim]{escape(example)}[/]")
    for reason, count in sorted(record.tallies.items(), key=lambda item: -item[1]):
        out.print(f"  {count:,} inside rows: {escape(reason)}")


def _files(out: Console, project: Project, record: Record) -> None:
    from forge.cli.render import escape
    from forge.cli.words import size_of

    members = project.store.tree(record.tree).members
    few = 30
    out.print(f"\n[bold]{len(members)} file{'s' if len(members) != 1 else ''}[/]")
    for name, member in sorted(members.items())[:few]:
        out.print(f"  {escape(name)}  [dim]{size_of(member.size)}  {member.digest}[/]")
    if len(members) > few:
        out.print(f"  … and {len(members) - few} more")
    if REJECTS in members:
        import polars as pl

        rejects = pl.scan_ipc(project.store.object_path(members[REJECTS].digest))
        count = rejects.select(pl.len()).collect().item()
        out.print(f"\n[bold]{count:,} rejected[/]; `forge get MANIFEST {record.step} rejects.jsonl` writes all")
        for file, index, reason, excerpt in rejects.head(3).collect().iter_rows():
            place = file if index is None else f"{file}:{index}"
            out.print(f"  {escape(place)}  {escape(reason)}  [dim]{escape(excerpt[:_WIDE])}[/]")


def _rows(out: Console, project: Project, record: Record, part: str, count: int) -> None:
    import polars as pl

    tree = project.store.tree(record.tree).part(part)
    if show_tokens.SAMPLE in tree.members:
        sample = json.loads(project.store.read_object(tree.members[show_tokens.SAMPLE]))
        show_tokens.show_sample(out, part, sample, count)
        return
    member = tree.members.get(TABLE)
    if member is None or count <= 0:
        return
    frame = pl.scan_ipc(project.store.object_path(member.digest)).head(count).collect()
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        out.print(f"\n[bold]{part + ' ' if part else ''}row {number}[/]")
        out.print(_compact(row), markup=False)


def _compact(value: Any, indent: int = 2) -> str:
    """Return JSON with short containers on one line."""

    def text(entry: Any, depth: int) -> str:
        flat = json.dumps(entry, ensure_ascii=False, default=str)
        if not isinstance(entry, dict | list) or not entry or len(flat) <= _WIDE:
            return flat
        pad = " " * indent * (depth + 1)
        if isinstance(entry, dict):
            lines = [f"{pad}{json.dumps(k, ensure_ascii=False)}: {text(v, depth + 1)}" for k, v in entry.items()]
            return "{\n" + ",\n".join(lines) + "\n" + " " * indent * depth + "}"
        shown = entry[:8]
        lines = [pad + text(v, depth + 1) for v in shown]
        if len(entry) > len(shown):
            lines.append(f"{pad}… {len(entry) - len(shown)} more")
        return "[\n" + ",\n".join(lines) + "\n" + " " * indent * depth + "]"

    return text(value, 0)
