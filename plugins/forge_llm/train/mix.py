"""Mix several sets of rows by shares."""

from __future__ import annotations

import hashlib
import math
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge, optional

import forge
from forge_llm.words import listed, meant

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl


def _shares(_instance: object, attribute: attrs.Attribute[Any], shares: Mapping[str, float]) -> None:
    if not shares or any(not share > 0 for share in shares.values()):
        raise ValueError(f"`{attribute.name}` must name at least one set, each with a share above 0")
    if not math.isclose(math.fsum(shares.values()), 1, abs_tol=1e-9):
        raise ValueError(
            f"`{attribute.name}` must add up to 1, they add up to {math.fsum(shares.values()):g}",
        )


@attrs.frozen
class Mix:
    """Mix the sets that ``from`` names by *shares* of rows, in an order that *seed* alone decides.

    Where a set has too few rows for its share, ``exhausted = "subsample"`` makes the whole smaller: no row is used
    twice, and what a set has beyond its share is dropped and counted. ``"repeat"`` repeats the rows of a set that is
    too small, each equally often but for a remainder drawn by *seed*, so that the largest demand is met.
    *rows* is how many rows are wanted in all; under ``"subsample"`` it is the most.
    The column *column* says of each row which set it is of; ``""`` leaves it out.
    """

    shares: dict[str, float] = attrs.field(validator=_shares)
    exhausted: Literal["subsample", "repeat"] = "subsample"
    rows: int | None = attrs.field(default=None, validator=optional(ge(1)))
    column: str = "set"
    seed: int = 0

    def merge(self, tables: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
        """Draw each set's rows, and shuffle them."""
        import polars as pl

        self._check(tables)
        frames = {name: tables[name].collect() for name in sorted(self.shares)}
        wanted = self._counts({name: frame.height for name, frame in frames.items()})
        drawn, left = [], []
        for name, frame in frames.items():
            marked = frame if not self.column else frame.with_columns(pl.lit(name).alias(self.column))
            places = self._draw(name, frame.height, wanted[name])
            drawn.append(marked[places])
            unused = marked[sorted(set(range(frame.height)) - set(places))]
            left.append(forge.drop(unused.lazy(), {f"beyond the share of `{name}`": pl.lit(True)}).collect())  # noqa: FBT003
        mixed = pl.concat(drawn, how="diagonal_relaxed")
        order = list(range(mixed.height))
        self._random("order").shuffle(order)
        return pl.concat([mixed[order], *left], how="diagonal_relaxed").lazy()

    def statistics(self, rows: pl.LazyFrame) -> Mapping[str, Any]:
        """Count the rows of each set, and their shares as they came out."""
        import polars as pl

        if not self.column:
            return {"rows": rows.select(pl.len()).collect().item()}
        counts = dict(rows.group_by(self.column).len().sort(self.column).collect().iter_rows())
        total = sum(counts.values())
        return {name: {"rows": count, "share": round(count / total, 4)} for name, count in counts.items()}

    def _check(self, tables: Mapping[str, pl.LazyFrame]) -> None:
        for name in self.shares:
            if name not in tables:
                raise forge.StepError(f"`shares` names the set `{name}`, `from` does not", hint=meant(name, tables))
        unnamed = [name for name in tables if name not in self.shares]
        if unnamed:
            raise forge.StepError(f"`shares` says nothing of {listed(unnamed)}, which `from` names")
        for name, table in tables.items():
            if self.column and self.column in table.collect_schema().names():
                raise forge.StepError(
                    f"set `{name}` has a column `{self.column}` of its own",
                    hint='name another by `column = …`, or none: `column = ""`',
                )

    def _counts(self, have: Mapping[str, int]) -> dict[str, int]:
        """Return how many rows each set gives, which add up to the whole; the largest remainders are rounded up."""
        empty = [name for name, count in have.items() if not count]
        if empty:
            raise forge.StepError(f"set `{empty[0]}` has no rows", hint="look at what the steps before it dropped")
        whole = [have[name] / share for name, share in self.shares.items()]
        total = self.rows or math.floor(max(whole) + 1e-9)
        if self.exhausted == "subsample":
            total = min(total, math.floor(min(whole) + 1e-9))
        exact = {name: share * total for name, share in self.shares.items()}
        counts = {name: math.floor(count + 1e-9) for name, count in exact.items()}
        short = sorted(exact, key=lambda name: (counts[name] - exact[name], name))[: total - sum(counts.values())]
        counts = {name: count + (name in short) for name, count in counts.items()}
        if self.exhausted == "subsample":
            counts = {name: min(count, have[name]) for name, count in counts.items()}
        none = [name for name, count in counts.items() if not count]
        if none:
            raise forge.StepError(
                f"the share of set `{none[0]}` comes to no row of {total}",
                hint='give it a larger share, more rows, or `exhausted = "repeat"`',
            )
        return counts

    def _draw(self, name: str, have: int, wanted: int) -> list[int]:
        """Return the places of the rows that a set gives: all of them so often as they fit, and a draw of the rest."""
        times, rest = divmod(wanted, have)
        return list(range(have)) * times + sorted(self._random(name).sample(range(have), rest))

    def _random(self, *place: str) -> Random:
        digest = hashlib.blake2b(repr((self.seed, *place)).encode(), digest_size=8).digest()
        return Random(int.from_bytes(digest))  # noqa: S311 - an order, not a secret
