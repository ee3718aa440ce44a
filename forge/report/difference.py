"""Find what changed between two texts, piece by piece."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST = 1500
"""Pieces of a text that are compared; what follows is cut, and said to be."""
_AROUND = 48
_TINY = 2
_PIECES = re.compile(r"[^\W\d_]+(?<![\u2e80-\uffef])|\d+|\s+|.", re.DOTALL)
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")


@attrs.frozen
class Piece:
    """Hold a run of text: ``same``, ``gone``, ``new``, or ``left out`` where it only says how much is not shown."""

    how: str
    text: str


@attrs.frozen
class Difference:
    """Hold two texts as one run of pieces; ``alike`` is the share that both have, from 0 to 1."""

    pieces: Sequence[Piece]
    alike: float

    @property
    def new(self) -> int:
        """Return how many signs are new."""
        return sum(len(piece.text.strip()) for piece in self.pieces if piece.how == "new")


def difference(before: str, after: str) -> Difference:
    """Return how *before* became *after*, in words, or in single signs where a script has no blanks."""
    old, new = _cut(before), _cut(after)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    pieces: list[Piece] = []
    for how, a, b, c, d in matcher.get_opcodes():
        gone, came = "".join(old[a:b]), "".join(new[c:d])
        if how == "equal":
            pieces.append(Piece("same", gone))
        else:
            pieces += [Piece(word, text) for word, text in (("gone", gone), ("new", came)) if text]
    return Difference(_shortened(_joined(pieces)), round(matcher.ratio(), 4))


def _cut(text: str) -> list[str]:
    pieces: list[str] = []
    for word in _PIECES.findall(text):
        pieces += list(word) if _WIDE.search(word) else [word]
        if len(pieces) >= _LONGEST:
            break
    return pieces[:_LONGEST]


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Take short equal runs between two changes into both, and put what is gone before what is new."""
    entries = list(pieces)
    groups: list[list[Piece]] = []
    for number, piece in enumerate(entries):
        inside = 0 < number < len(entries) - 1 and len(piece.text) <= _TINY and "\n" not in piece.text
        if piece.how == "same" and not inside:
            groups.append([piece])
        elif groups and groups[-1][0].how != "same":
            groups[-1].append(piece)
        else:
            groups.append([piece])
    joined = []
    for group in groups:
        if group[0].how == "same":
            joined += group
            continue
        gone = "".join(p.text for p in group if p.how in ("gone", "same"))
        new = "".join(p.text for p in group if p.how in ("new", "same"))
        joined += [Piece(how, text) for how, text in (("gone", gone), ("new", new)) if text]
    return joined


def _shortened(pieces: Sequence[Piece]) -> list[Piece]:
    """Leave out the middle of long runs that did not change."""
    shown = []
    for number, piece in enumerate(pieces):
        first, last = number == 0, number == len(pieces) - 1
        room = _AROUND * (2 - first - last) + 24
        if piece.how != "same" or len(piece.text) <= room:
            shown.append(piece)
            continue
        head, tail = (0 if first else _AROUND), (0 if last else _AROUND)
        if head:
            shown.append(Piece("same", piece.text[:head]))
        shown.append(Piece("left out", f"{len(piece.text) - head - tail:,}"))
        if tail:
            shown.append(Piece("same", piece.text[-tail:]))
    return shown
