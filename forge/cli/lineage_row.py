"""What `forge lineage --row` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from forge.run.trace import Sighting

_FEW = 5
_WIDE = 300


def document(sightings: Sequence[Sighting]) -> list[dict[str, Any]]:
    """Return what each step did with a row as JSON values."""
    import attrs

    return [
        {
            "step": each.record.step,
            "part": each.part,
            "use": each.record.use,
            "key": each.record.key,
            "state": each.state,
            "dropped": list(each.dropped),
            "by": each.by,
            "rows": each.count,
            "row": json.loads(json.dumps(each.row, default=str)),
            "files": {name: member.digest for name, member in sorted(each.files.items())},
            "requests": [attrs.asdict(asked) for asked in each.asked],
            "note": each.note,
        }
        for each in sightings
    ]


def show(out: Console, sightings: Sequence[Sighting]) -> None:
    """Print what each step did with a row: all of it first, then what changed."""
    from forge.cli.render import escape

    before: Mapping[str, Any] = {}
    for each in sightings:
        name = each.record.step + (f".{each.part}" if each.part else "")
        out.print(f"\n[bold]{escape(name)}[/] [dim]{escape(each.record.use)}  key {each.record.key[:16]}[/]")
        if each.state == "here":
            _show_row(out, each, before)
            before = each.row
        elif each.state == "dropped":
            _show_dropped(out, each)
        if each.note:
            out.print(f"  [dim]{escape(each.note)}[/]")


def _show_row(out: Console, each: Sighting, before: Mapping[str, Any]) -> None:
    from forge.cli.render import escape

    if each.count > 1:
        out.print(f"  [yellow]{each.count:,} rows have it, this is the first[/]")
    moved = {k: v for k, v in each.row.items() if k not in before or before[k] != v}
    for column, value in moved.items():
        out.print(f"  {escape(column)}: {escape(_short(value))}", soft_wrap=True)
    gone = [column for column in before if column not in each.row]
    if gone:
        out.print(f"  [dim]without {escape(', '.join(gone))}[/]")
    if not moved and not gone:
        out.print("  [dim]as it came in[/]")
    _show_files(out, each)
    for asked in each.asked:
        out.print(f"  request {asked.request}" + (f" to {escape(asked.model)}" if asked.model else ""))
        if asked.reply is None:
            out.print("    [yellow]no reply is written down for it[/]")
        else:
            out.print(f"    reply: {escape(_short(asked.reply))}", soft_wrap=True)
        if asked.refused:
            out.print(f"    refused: {escape(asked.refused)}")


def _show_dropped(out: Console, each: Sighting) -> None:
    from forge.cli.render import escape

    reasons = ", ".join(f"`{r}` ({each.record.drops[r]:,})" if r in each.record.drops else r for r in each.dropped)
    out.print(f"  [yellow]dropped[/]: {escape(reasons)} [dim]{escape(each.by)}[/]")


def _show_files(out: Console, each: Sighting) -> None:
    from forge.cli.render import escape

    for name, member in sorted(each.files.items())[:_FEW]:
        out.print(f"  from {escape(name)}  [dim]blake3 {member.digest}[/]")
    if len(each.files) > _FEW:
        out.print(f"  … and {len(each.files) - _FEW:,} more")
    if each.by:
        out.print(f"  [dim]{escape(each.by)}[/]")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "…"
