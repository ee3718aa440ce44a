"""Token ids as a reader wants them: the text, with what is learned in colour, or between brackets without colours.

A table of token ids brings its first rows as text in `sample.json`, so neither a tokenizer nor the model is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.text import Text

SAMPLE = "sample.json"
_LEARNED, _MARK, _LEARNED_MARK, _REST = "bold green", "cyan", "bold green reverse", "dim"
_OPEN, _CLOSE = "⟦", "⟧"
_NEWLINE = "⏎"
_MOST = 600
"""Signs of a run that is not learned; what is longer is shown by its two ends."""
_END = 240


def is_tokens(statistics: Any) -> bool:
    """Say whether a step's statistics are those of token ids."""
    return isinstance(statistics, dict) and any(
        isinstance(part, dict) and "trained_share" in part for part in statistics.values()
    )


def show_statistics(out: Console, statistics: Mapping[str, Any]) -> None:
    """Print one line a part: rows, tokens, and the share of them that is learned."""
    from forge.cli.render import escape, grid

    parts = {name: part for name, part in statistics.items() if isinstance(part, dict)}
    numbers = ("rows", "dropped", "tokens", "learned", "longest")
    table = grid("part", *numbers, right=numbers)
    for name, part in parts.items():
        learned = f"{part['trained_tokens']:,} [bold]{part['trained_share']:.1%}[/]"
        table.add_row(
            escape(name),
            f"{part['rows']:,}",
            f"{part['dropped']:,}",
            f"{part['tokens']:,}",
            learned,
            f"{part['longest']:,}",
        )
    out.print()
    out.print(table)
    for name, part in parts.items():
        for said in _said(part, reasons=len(parts) > 1):
            out.print(f"[bold]{escape(name)}[/]: {said}")


def _said(part: Mapping[str, Any], *, reasons: bool) -> list[str]:
    """Return what else is known of a part; the *reasons* of its drops where the ledger above does not tell parts."""
    from forge.cli.render import escape

    dropped = part.get("reasons", {}) if reasons else {}
    said = [f"{count:,} dropped: {escape(reason)}" for reason, count in dropped.items()]
    if part.get("split"):
        said.append(f"{part['split']:,} rows split into {part['parts']:,} parts")
    if part.get("exchanges_lost"):
        said.append(f"{part['exchanges_lost']:,} exchanges lost: each alone longer than `max_length`")
    if part.get("truncated"):
        said.append(f"{part['truncated']:,} rows lost their end, {part['tokens_cut']:,} tokens in all")
    if part.get("straddling"):
        said.append(f"{part['straddling']:,} tokens hold the end of a prompt and the start of an answer")
    weights = ", ".join(f"{count:,} × {weight}" for weight, count in part.get("weights", {}).items())
    return [*said, f"weights: {weights}"] if weights else said


def show_sample(out: Console, part: str, rows: Sequence[Mapping[str, Any]], count: int) -> None:
    """Print the first *count* rows as text, and how much of each is learned."""
    from rich.padding import Padding

    from forge.cli.render import escape

    colours = out.color_system is not None and not out.no_color
    for row in rows[:count]:
        share = row["n_trained"] / row["n_tokens"]
        out.print(
            f"\n[bold]{escape(part) + ' ' if part else ''}row {escape(row['id'])}[/]: "
            f"{row['n_trained']:,} of {row['n_tokens']:,} tokens learned ({share:.1%})"
        )
        text = text_of(row["segments"], colours=colours)
        if out.is_terminal:
            out.print(Padding(text, (0, 0, 0, 2)), soft_wrap=False, overflow="fold")
        else:  # a padded line ends in blanks
            out.print(*(f"  {escape(line.plain)}" for line in text.split()), sep="\n")
    if rows and count:
        learned = f"[{_LEARNED}]learned[/]" if colours else f"{_OPEN}learned{_CLOSE}"
        out.print(f"\n{learned}, {f'[{_MARK}]<special>[/]' if colours else '<special>'}, {_NEWLINE} line break")


def text_of(segments: Sequence[Sequence[Any]], *, colours: bool) -> Text:
    """Return ``[text, learned, special]`` runs as one text: styled, or with brackets around what is learned."""
    from rich.text import Text

    text = Text()
    inside = False
    for content, learned, special in segments:
        if learned != inside and not colours:
            text.append(_OPEN if learned else _CLOSE)
        inside = learned
        style = (_LEARNED_MARK if special else _LEARNED) if learned else (_MARK if special else _REST)
        text.append(_visible(content if learned else _shortened(content)), style if colours else "")
    if inside and not colours:
        text.append(_CLOSE)
    text.rstrip()
    return text


def _visible(content: str) -> str:
    """Show line breaks beside themselves, and signs that would move the cursor as their names."""
    shown = content.replace("\n", f"{_NEWLINE}\n").replace("\t", "⇥")
    return "".join(sign if sign == "\n" or sign.isprintable() else f"\\u{ord(sign):04x}" for sign in shown)


def _shortened(content: str) -> str:
    if len(content) <= _MOST:
        return content
    return f"{content[:_END]} … {len(content) - 2 * _END:,} signs … {content[-_END:]}"
