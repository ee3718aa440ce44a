"""`forge diff`: compare two builds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from forge.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from forge.plan.compare import StepChange
    from forge.plan.rows import RowChanges

_STYLES = {
    "equal": "dim",
    "equal result": "cyan",
    "changed": "yellow",
    "only a": "red",
    "only b": "green",
    "not built": "magenta",
}
_WORDS = {"only a": "only in A", "only b": "only in B"}
_FEW = 20


@click.command()
@click.argument("manifest_a", metavar="MANIFEST")
@click.argument("manifest_b", metavar="[MANIFEST_B]", required=False)
@options.sets
@click.option("--set-a", "sets_a", multiple=True, metavar="KEY=VALUE", help="Set a parameter of A alone.")
@click.option("--set-b", "sets_b", multiple=True, metavar="KEY=VALUE", help="Set a parameter of B alone.")
@options.store
@options.as_json
def command(
    *,
    manifest_a: str,
    manifest_b: str | None,
    sets: tuple[str, ...],
    sets_a: tuple[str, ...],
    sets_b: tuple[str, ...],
    store_path: str | None,
    as_json: bool,
) -> None:
    """Compare what the store has of two manifests: steps, rows, labels and figures.

    With one MANIFEST, --set-a and --set-b say what differs; without them its last build is compared with what the
    store has of it as it is now. Nothing is built.
    """
    from forge.cli.render import console
    from forge.plan.compare import Side, compare

    b = options.open_project(manifest_b or manifest_a, sets + sets_b, store_path)
    side_b = Side.now(b.graph, b.store)
    if manifest_b is None and not sets_a and not sets_b:
        names = ("the last build", "as it is now")
        side_a = Side.last(b.graph, b.store)
    else:
        names = (" ".join((manifest_a, *sets_a)), " ".join((manifest_b or manifest_a, *sets_b)))
        a = options.open_project(manifest_a, sets + sets_a, store_path)
        side_a = Side.now(a.graph, a.store)
    changes = compare(side_a, side_b)
    if as_json:
        document = {"a": names[0], "b": names[1], "steps": [_json(change) for change in changes]}
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    _show(console(), names, changes)


def _json(change: StepChange) -> dict[str, Any]:
    import attrs

    return attrs.asdict(change)


def _show(out: Console, names: tuple[str, str], changes: list[StepChange]) -> None:
    from forge.cli.render import escape, grid

    out.print(f"[bold]A[/] {escape(names[0])}\n[bold]B[/] {escape(names[1])}\n")
    table = grid("step", "", "rows A", "rows B", "why", right=("rows A", "rows B"))
    for change in changes:
        why = ", ".join(change.because[:2]) + (f" and {len(change.because) - 2} more" if change.because[2:] else "")
        table.add_row(
            escape(change.name),
            f"[{_STYLES[change.same]}]{_WORDS.get(change.same, change.same)}[/]",
            *("" if rows is None else f"{rows:,}" for rows in change.rows),
            escape(why),
        )
    out.print(table)
    for change in changes:
        if change.same == "changed":
            _detail(out, change)
    counts = [(_WORDS.get(same, same), sum(c.same == same for c in changes)) for same in _STYLES]
    out.print("\n" + ", ".join(f"{count} {word}" for word, count in counts if count))
    if any(c.same == "not built" for c in changes):
        out.print("what is not built has no rows or figures to compare: `forge build` makes it")


def _detail(out: Console, change: StepChange) -> None:
    from forge.cli.render import escape

    out.print(f"\n[bold]{escape(change.name)}[/]")
    for reason in change.because[2:]:
        out.print(f"  {escape(reason)}")
    for part, rows in change.tables.items():
        _rows(out, part, rows)
    if not change.tables:
        listed = [f"{what}: {_list(names)}" for what, names in change.files.items()]
        for line in listed:
            out.print(f"  files {escape(line)}")
    for column, counts in change.labels.items():
        pairs = [f"`{value}` {was:,} → {now:,}" for value, (was, now) in counts.items() if was != now]
        out.print(f"  {escape(column)}: {escape(_list(pairs))}")
    _figures(out, change)


def _rows(out: Console, part: str, rows: RowChanges) -> None:
    from forge.cli.render import escape

    figures = [f"{rows.added:,} added", f"{rows.removed:,} removed"]
    if rows.by == "id":
        figures.append(f"{rows.changed:,} changed")
    by = "" if rows.by == "id" else " (by whole rows)"
    out.print(f"  {escape(part) + ' ' if part else ''}rows: {', '.join(figures)}{by}")
    if rows.columns:
        out.print("    changed in " + escape(_list([f"{name} ({count:,})" for name, count in rows.columns.items()])))
    for words, names in (
        ("new columns", rows.new_columns),
        ("lost columns", rows.lost_columns),
        ("columns of another type", rows.retyped),
    ):
        if names:
            out.print(f"    {words}: {escape(_list(names))}")
    for what, ids in rows.examples.items():
        out.print(f"    [dim]{what}: {escape(', '.join(ids))}{' …' if getattr(rows, what) > len(ids) else ''}[/]")


def _figures(out: Console, change: StepChange) -> None:
    from forge.cli.render import escape, grid

    if not change.figures:
        return
    table = grid("  figure", "A", "B", "", right=("A", "B", ""))
    for path, (was, now) in list(change.figures.items())[:_FEW]:
        table.add_row("  " + escape(path), _figure(was), _figure(now), _step(was, now))
    out.print(table)
    if len(change.figures) > _FEW:
        out.print(f"  … and {len(change.figures) - _FEW:,} more: `--json` names them all")


def _step(was: float | None, now: float | None) -> str:
    """Return by how much a number moved."""
    if was is None or now is None or isinstance(was, bool) or isinstance(now, bool):
        return ""
    return f"{now - was:+.4g}"


def _figure(value: float | None) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _list(values: Sequence[str]) -> str:
    return ", ".join(values[:_FEW]) + (f" and {len(values) - _FEW:,} more" if len(values) > _FEW else "")
