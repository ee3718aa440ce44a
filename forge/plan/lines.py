"""Find the line on which a TOML key stands; tomllib does not say."""

from __future__ import annotations

import re

_HEADER = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_FENCE = re.compile(r'"""|\'\'\'')


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """Return the line (from 1) of every table header and key, by its dotted path."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        fences = len(_FENCE.findall(line))
        if not fenced:
            if header := _HEADER.match(line):
                table = _path(header.group(1))
                for depth in range(1, len(table) + 1):
                    found.setdefault(table[:depth], number)
            elif key := _KEY.match(line):
                found.setdefault(table + _path(key.group(1)), number)
        fenced ^= bool(fences % 2)
    return found


def _path(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in re.split(r"""\.(?=(?:[^"']*["'][^"']*["'])*[^"']*$)""", dotted))
