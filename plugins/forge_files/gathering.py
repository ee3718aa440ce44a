"""Gather records into frames whose columns have one type over all files."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import attrs

from forge_files.kinds import INTEGER, NULL, Kind, conform, data_type, holds, is_open, is_plain, learn, learn_long

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_BATCH = 65_536  # records that are kept as Python objects


class Unsettled(Exception):
    """Say that rows can't be given before all are read: the type of a column is not known."""


@attrs.define
class Gathering:
    """Take records one by one and give frames at the end, when the type of every column is known."""

    kinds: dict[str, Kind] = attrs.Factory(dict)
    waiting: list[dict[str, Any]] = attrs.Factory(list)
    frames: list[tuple[pl.DataFrame, dict[str, Kind]]] = attrs.Factory(list)
    given: dict[str, Kind] = attrs.Factory(dict)

    def add(self, row: dict[str, Any]) -> None:
        """Take one row that `examine` has passed."""
        learn(self.kinds, row)
        self.waiting.append(row)
        if len(self.waiting) >= _BATCH:
            self.settle()

    def take(self, frame: pl.DataFrame) -> None:
        """Take many rows at once, of columns whose kinds rows before have shown."""
        self.settle()
        for name, kind in self.kinds.items():
            if name in frame.columns and holds(kind, INTEGER):
                self.kinds[name] = learn_long(kind, frame[name])
        schema = frame.schema  # in a struct the order of fields counts, in a kind it does not
        kinds = {name: kind for name, kind in self.kinds.items() if schema.get(name) == data_type(kind)}
        self.frames.append((frame, copy.deepcopy(kinds)))

    def fork(self) -> Gathering:
        """Return one without rows that knows the same kinds; `join` takes it in."""
        return Gathering(copy.deepcopy(self.kinds))

    def join(self, fork: Gathering) -> None:
        """Take the rows of a fork."""
        self.kinds = fork.kinds
        if fork.frames:
            self.settle()
        self.frames += fork.frames
        self.waiting += fork.waiting

    def flow(self) -> Iterator[pl.DataFrame]:
        """Yield and forget the frames so far, for as long as the kinds of all columns stay what they were at first.

        Raises Unsettled where they don't, or may not: nothing but null was met.
        """
        self.settle()
        if not self.frames:
            return
        if not self.given:
            if any(is_open(kind) or holds(kind, NULL) for kind in self.kinds.values()):
                raise Unsettled("a column has no value in the first records")
            self.given = copy.deepcopy(self.kinds)
        if self.given != self.kinds:
            changed = next(name for name, kind in self.kinds.items() if self.given.get(name) != kind)
            raise Unsettled(f"column `{changed}` holds more than its first values tell")
        frames, self.frames = self.frames, []
        yield from (self._whole(*each) for each in frames)

    def result(self) -> Iterator[pl.DataFrame]:
        """Yield the frames, all with the same columns."""
        self.settle()
        yield from (self._whole(*each) for each in self.frames)

    def _whole(self, frame: pl.DataFrame, kinds: dict[str, Kind]) -> pl.DataFrame:
        """Return *frame*, made when the columns had *kinds*, with all columns and the types that they have now."""
        import polars as pl

        columns = {}  # by name, for Polars gives a series without one a name of its own
        for name, kind in self.kinds.items():
            if kinds.get(name) == kind and not is_open(kind):
                columns[name] = frame[name]
            else:  # a later batch held values of another kind, or none told the fields of objects
                values = frame[name].to_list() if name in frame.columns else [None] * frame.height
                columns[name] = _series(name, values, kind)
        return pl.DataFrame(columns)

    def settle(self) -> None:
        """Make a frame of the rows that are kept as Python objects, once there is a column that they may have."""
        import polars as pl

        if self.waiting and self.kinds:
            kinds = copy.deepcopy(self.kinds)
            columns = {
                name: _series(name, [row.get(name) for row in self.waiting], kind, last=False)
                for name, kind in kinds.items()
            }
            self.frames.append((pl.DataFrame(columns), kinds))
            self.waiting = []


def _series(name: str, values: list[Any], kind: Kind, *, last: bool = True) -> pl.Series:
    import polars as pl

    held = values if is_plain(kind) else [conform(value, kind, last=last) for value in values]
    return pl.Series(name, held, dtype=data_type(kind, last=last), strict=True)
