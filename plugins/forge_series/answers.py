"""Read answers that name intervals of a series, and move the intervals with the series."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge_series.spelled import respelled

if TYPE_CHECKING:
    from forge_series.points import Rows

_BETWEEN = re.compile(r"[\s,，;；、]*")
_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL | re.IGNORECASE)


class UnusableAnswer(Exception):
    """Carry a short fixed reason why an answer can't be used."""


def objects_of(answer: str) -> list[dict[str, Any]]:
    """Return the JSON objects of *answer*: one, several one after another or joined by commas, or a list of them."""
    fenced = _FENCE.match(answer)
    text = (fenced[1] if fenced else answer).strip()
    decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_each_once)
    found: list[Any] = []
    place = 0
    while place < len(text):
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            raise UnusableAnswer("answer is not JSON") from None
        found += value if isinstance(value, list) else [value]
        between = _BETWEEN.match(text, place)
        place = between.end() if between else place
    if not found or not all(isinstance(value, dict) for value in found):
        raise UnusableAnswer("answer is not JSON objects")
    return found


def _finite(written: str) -> float:
    return number if math.isfinite(number := float(written)) else _refuse(written)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnusableAnswer("answer with a key that stands twice in an object")
    return found


def _refuse(constant: str) -> float:
    raise UnusableAnswer(f"answer holds {constant}")


@attrs.frozen
class Moved:
    """Hold where an interval lies among the points: clipped to the series, or ``place`` None where it is outside."""

    place: tuple[int, int] | None
    clipped: bool = False
    between: bool = False


def move(interval: tuple[int, int], low: Rows, high: Rows, rows: int) -> Moved:
    """Return the first and last point that stand for a row of *interval*, both included.

    *low* and *high* are the rows of each point, *rows* the length of the file. Where the interval lies between two
    points that were kept, the nearest point stands for it, the earlier one of two.
    """
    import numpy as np

    first, last = interval
    if first > last or first < 0:
        raise UnusableAnswer("an interval that is not [start, end]")
    if first >= rows:
        raise UnusableAnswer("an interval behind the end of the series")
    last = min(last, rows - 1)
    start, end = int(low.min()), int(high.max())
    if last < start or first > end:
        return Moved(None)
    clipped = interval[1] > last or first < start or last > end
    inside = np.flatnonzero((high >= first) & (low <= last) & (low <= high))
    if inside.size:
        return Moved((int(inside[0]), int(inside[-1])), clipped)
    lows, highs = low.astype(np.int64), high.astype(np.int64)
    real = np.flatnonzero(lows <= highs)
    away = np.maximum(lows[real] - last, first - highs[real])
    nearest = int(real[int(np.argmin(away))])
    return Moved((nearest, nearest), clipped, between=True)


def interval_of(entry: dict[str, Any], key: str) -> tuple[int, int] | None:
    """Return an entry's interval; None where it has none."""
    if entry.get(key) is None:
        return None
    ends = entry[key]
    if not isinstance(ends, list) or len(ends) != 2 or not all(_whole(end) for end in ends):  # noqa: PLR2004
        raise UnusableAnswer("an interval that is not [start, end]")
    return int(ends[0]), int(ends[1])


def _whole(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and value == int(value)


def rewritten(entry: dict[str, Any], key: str, old: tuple[int, int], new: tuple[int, int]) -> dict[str, Any]:
    """Return *entry* with its interval moved, in its texts too where they spell out both ends (``[218,280]``)."""
    return {
        name: list(new) if name == key else respelled(value, old, new) if isinstance(value, str) else value
        for name, value in entry.items()
    }


@attrs.define
class Outcome:
    """Hold what became of an answer's entries, and how many of them left or changed, by what happened."""

    entries: list[dict[str, Any]] = attrs.Factory(list)
    had_intervals: bool = False
    counts: dict[str, int] = attrs.Factory(dict)

    def count(self, what: str) -> None:
        """Count one entry."""
        self.counts[what] = self.counts.get(what, 0) + 1


@attrs.frozen
class Rules:
    """Hold how the entries of answers are treated; the parameters of `series.chatts` say it."""

    entries: str
    interval: str
    nothing: tuple[str, ...]
    whole_series: Literal["keep", "drop"]
    between: Literal["nearest", "drop"]

    def outcome(self, objects: list[dict[str, Any]], low: Rows, high: Rows, rows: int) -> Outcome:
        """Return the entries of all *objects* together, their intervals moved, in the order of their intervals."""
        done = Outcome()
        seen: set[str] = set()
        placed: list[tuple[tuple[int, int], dict[str, Any]]] = []
        for entry in self._entries(objects):
            written = json.dumps(entry, sort_keys=True)
            if written in seen:
                done.count("entry that stands twice")
                continue
            seen.add(written)
            interval = interval_of(entry, self.interval)
            if interval is None:
                self._without_interval(entry, done)
                continue
            done.had_intervals = True
            moved = move(interval, low, high, rows)
            if moved.place is None:
                done.count("entry outside of the window")
            elif moved.between and self.between == "drop":
                done.count("entry between two points")
            else:
                if moved.clipped:
                    done.count("interval clipped")
                placed.append((moved.place, rewritten(entry, self.interval, interval, moved.place)))
        placed.sort(key=lambda item: item[0])
        done.entries = [entry for _, entry in placed] + done.entries
        return done

    def _entries(self, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for value in objects:
            listed = value.get(self.entries, [value] if self.interval in value else None)
            if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
                raise UnusableAnswer(f"answer without a list `{self.entries}`")
            found += listed
        return found

    def _without_interval(self, entry: dict[str, Any], done: Outcome) -> None:
        if any(entry.get(name) in self.nothing for name in entry if isinstance(entry[name], str)):
            done.count("entry that says there is nothing")
        elif self.whole_series == "drop":
            done.count("entry without an interval")
        else:
            done.entries.append(entry)


def frame_of(objects: list[dict[str, Any]], entries: str) -> dict[str, Any]:
    """Return what the objects hold beside their entries; they must agree."""
    shared: dict[str, Any] = {}
    for value in objects:
        for name, held in value.items() if entries in value else ():
            if name != entries and shared.setdefault(name, held) != held:
                raise UnusableAnswer(f"answers disagree on `{name}`")
    return shared
