"""Split a table into parts that share no text, and drop repeats."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import and_, deep_mapping, ge, gt, instance_of, le

import forge
from forge_text.near import clusters, equal_clusters
from forge_text.normalise import text_of, told_apart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    Integers = npt.NDArray[np.int64]

_POSITION = "__position__"


def _add_up_to_one(_instance: object, attribute: attrs.Attribute[Any], shares: Mapping[str, float]) -> None:
    if not shares or any(share < 0 for share in shares.values()):
        message = f"`{attribute.name}` must name at least one part and hold no negative share"
        raise ValueError(message)
    if not math.isclose(math.fsum(shares.values()), 1, abs_tol=1e-9):
        message = f"`{attribute.name}` must add up to 1, they add up to {math.fsum(shares.values()):g}"
        raise ValueError(message)


@attrs.frozen
class Split:
    """Split rows by *shares* so that no two parts hold equal or near-equal texts.

    *near* is the least Jaccard index (character trigrams, letters and digits alone) at which two texts count as near.
    Clusters of such texts stay whole. *limits* caps the rows of a part by a sample that depends on *seed* alone.
    A part with a share above 0 gets rows, or the step fails.
    """

    column: str
    shares: dict[str, float] = attrs.field(validator=_add_up_to_one)
    near: float = attrs.field(default=0.8, validator=and_(gt(0), le(1)))
    limits: dict[str, int] = attrs.field(
        factory=dict, validator=deep_mapping(key_validator=instance_of(str), value_validator=ge(1))
    )
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        """Refuse a limit for a part that doesn't exist."""
        if unknown := sorted(set(self.limits) - set(self.shares)):
            message = f"`limits` names the part `{unknown[0]}`, `shares` does not"
            raise ValueError(message)

    def parts(self) -> Sequence[str]:
        """Return the parts in the order of *shares*."""
        return tuple(self.shares)

    def split(self, rows: pl.LazyFrame) -> Mapping[str, pl.LazyFrame]:
        """Assign each cluster to a part."""
        import numpy as np
        import polars as pl

        texts = rows.select(told_apart(text_of(self.column, rows)).alias("text")).collect()["text"]
        order = [self._order(text or "") for text in texts]
        part = self._assign(clusters(texts, near=self.near), order)
        names = self.parts()
        over = np.zeros(len(texts), dtype=bool)
        for index, name in enumerate(names):
            if (limit := self.limits.get(name)) is not None:
                members = np.flatnonzero(part == index)
                over[sorted(members, key=lambda row: (order[row], row))[limit:]] = True
        numbered = rows.with_row_index(_POSITION)
        result = {}
        for index, name in enumerate(names):
            chosen = pl.LazyFrame(
                {
                    _POSITION: pl.Series(np.flatnonzero(part == index), dtype=pl.get_index_type()),
                    "__over__": pl.Series(over[part == index], dtype=pl.Boolean),
                }
            )
            member = numbered.join(chosen, on=_POSITION, how="inner", maintain_order="left")
            if name in self.limits:
                member = forge.drop(member, {"over the limit": pl.col("__over__")})
            result[name] = member.drop(_POSITION, "__over__")
        return result

    def _order(self, text: str) -> bytes:
        return hashlib.blake2b(f"{self.seed}\0{text}".encode(), digest_size=8).digest()

    def _assign(self, cluster: Integers, order: Sequence[bytes]) -> Integers:
        """Return for each row the index of its part.

        Clusters of several rows go, the largest first, to the part that lacks most; single rows then fill up what is
        still missing, in the order of their hashes, so that new rows move few old ones.
        """
        import numpy as np

        wanted = _round(np.array(list(self.shares.values())), len(cluster))
        firsts, sizes = np.unique(cluster, return_counts=True)
        if len(firsts) < np.count_nonzero(list(self.shares.values())):
            raise forge.StepError(
                f"{len(cluster)} rows in {len(firsts)} clusters of near-equal texts can't be split into "
                f"{', '.join(f'`{part}`' for part, share in self.shares.items() if share > 0)}",
                hint="add rows, raise `near`, or take a part away",
            )
        places = sorted(range(len(firsts)), key=lambda place: (-sizes[place], order[int(firsts[place])], firsts[place]))
        several = [place for place in places if sizes[place] > 1]
        single = [place for place in places if sizes[place] == 1]
        of = np.zeros(len(firsts), dtype=np.int64)
        lacking = wanted.copy()
        for place in several:
            of[place] = int(np.argmax(lacking))
            lacking[of[place]] -= sizes[place]
        room = np.maximum(lacking, 0)
        counts = _round(room / max(room.sum(), 1), len(single))
        of[single] = np.repeat(np.arange(len(counts)), counts)
        self._fill_empty(of, sizes, places)
        return of[np.searchsorted(firsts, cluster)]

    def _fill_empty(self, of: Integers, sizes: Integers, places: Sequence[int]) -> None:
        """Give each part that should have rows and has none the smallest cluster of the part with most clusters."""
        import numpy as np

        for part, share in enumerate(self.shares.values()):
            if share > 0 and not np.any(of == part):
                richest = int(np.argmax(np.bincount(of, minlength=len(self.shares))))
                smallest = min((place for place in places if of[place] == richest), key=lambda place: sizes[place])
                of[smallest] = part


def _round(shares: npt.NDArray[np.float64], total: int) -> Integers:
    """Share *total* out by largest remainder."""
    import numpy as np

    exact = shares * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    missing = total - int(counts.sum())
    for place in np.argsort(-(exact - counts), kind="stable")[:missing]:
        counts[place] += 1
    return counts


@attrs.frozen
class Deduplicate:
    """Keep the first of equal and near-equal texts.

    *near* is the least Jaccard index of character trigrams at which two texts count as the same; 1 keeps near ones.
    """

    column: str
    near: float = attrs.field(default=0.8, validator=and_(gt(0), le(1)))

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark all but the first of each cluster."""
        import numpy as np
        import polars as pl

        frame = rows.collect()
        texts = frame.select(text_of(self.column, rows).alias("text"))["text"]
        if self.near < 1:
            texts = texts.to_frame("text").select(told_apart(pl.col("text"))).to_series()
            equal, cluster = clusters(texts, near=1), clusters(texts, near=self.near)
        else:
            equal = cluster = equal_clusters(texts)
        position = np.arange(len(texts))
        marked = frame.lazy().with_columns(
            pl.Series("__equal__", equal != position), pl.Series("__near__", cluster != position)
        )
        reasons = {"equal to an earlier row": pl.col("__equal__"), "near-equal to an earlier row": pl.col("__near__")}
        return forge.drop(marked, reasons).drop("__equal__", "__near__")
