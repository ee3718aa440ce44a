"""Pick the rows that are worth a human look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge
from blake3 import blake3

import forge
from forge_label.votes import AGREEMENT, VOTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

REASONS = ("risk", "not labelled", "votes differ", "sample")


@attrs.frozen(kw_only=True)
class Pick:
    """Keep the *count* rows that people should look at first; the others leave, counted.

    First come rows whose label ``risk``, or one vote on it, is other than ``safe``; then rows without labels, which
    may hide one; then rows whose votes differ, the least agreement first; then a sample, which shows what nobody
    suspects. ``sample`` rows of the count are kept for it. ``pick_reason`` says which of these it was.
    """

    count: int = attrs.field(validator=ge(1))
    risk: str = "risk_flag"
    safe: str = "none"
    sample: int = attrs.field(default=0, validator=ge(0))
    id: str = "id"
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        """Refuse a sample that leaves no room."""
        if self.sample > self.count:
            raise ValueError("`sample` is a part of `count` and can't be more")

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Sort by what a look is worth, and mark what is beyond the count."""
        import polars as pl

        table = rows.collect()
        missing = [name for name in (self.id, self.risk) if name not in table.columns]
        if missing:
            raise forge.StepError(
                f"the rows have no column `{missing[0]}`",
                hint=f"they have {', '.join(f'`{name}`' for name in table.columns)}",
            )
        places = [(*self._worth(row), index) for index, row in enumerate(table.iter_rows(named=True))]
        suspected = sorted(place for place in places if place[0] < len(REASONS) - 1)[: self.count - self.sample]
        taken = {place[-1] for place in suspected}
        rest = sorted((place for place in places if place[-1] not in taken), key=lambda place: place[2])
        sampled = rest[: self.count - len(suspected)]
        left = rest[len(sampled) :]
        reasons = [REASONS[place[0]] for place in suspected] + [REASONS[-1]] * (len(sampled) + len(left))
        order = [place[-1] for place in (*suspected, *sampled, *left)]
        picked = table[order].with_columns(pl.Series("pick_reason", reasons, pl.String))
        beyond = pl.int_range(pl.len()) >= self.count
        return forge.drop(picked.lazy(), {"not among the first to look at": beyond})

    def _worth(self, row: Mapping[str, Any]) -> tuple[int, float, str]:
        """Return the tier of a row, its agreement, and a number drawn by its name."""
        drawn = blake3(f"{self.seed} {row[self.id]}".encode("utf-8", "surrogatepass")).hexdigest(8)
        agreement = row.get(AGREEMENT)
        certain = 1.0 if agreement is None else float(agreement)
        votes = [json.loads(vote).get(self.risk) for vote in row.get(VOTES) or () if vote]
        if any(value not in {None, self.safe} for value in (row[self.risk], *votes)):
            return 0, certain, drawn
        if row.get("label_state", "labelled") not in {"labelled", "skipped"}:
            return 1, certain, drawn
        return (2 if certain < 1.0 else 3), certain, drawn
