"""Group texts that are equal or nearly so.

Texts are compared in their comparable form (letters, digits and symbols, NFKC, lower case).
Equal ones are found by an exact hash; near-equal ones by MinHash (rensa) over character trigrams with banding, and a
pair that shares a band counts only when the Jaccard index of its trigram sets, computed exactly, reaches the threshold.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from forge_text.normalise import comparable, told_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    Integers = npt.NDArray[np.int64]
    Hashes = npt.NDArray[np.uint64]

SHINGLE = 3  # characters
PERMUTATIONS = 128
_MISSED = 1e-3  # the largest share of pairs at the threshold that banding may miss
_SIGNATURE_SLACK = 0.15  # three standard errors of a signature's estimate lie within
_MIX = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: Knuth's multiplicative hash
_SLICE = 131_072  # characters whose trigrams are in memory at once: they fit in a core's cache
_EDGE, _SURE, _KEPT = 96, 64, 32
"""Characters of a text's beginning that are looked at, those that must be left of them in comparable form, and those
of them that count: what a cut changes there (a letter apart from its marks, a final sigma) lies behind."""
_SMALL = 64  # members up to which a bucket's pairs are made all at once


def clusters(texts: pl.Series, *, near: float) -> Integers:
    """Return for each text the position of the first text of its cluster.

    *texts* are in comparable form. *near* is the least Jaccard index of two near-equal texts; 1 asks for equal ones
    alone. Clusters are transitive: a chain of near pairs is one cluster.
    """
    import numpy as np
    import polars as pl

    frame = pl.DataFrame({"text": texts.fill_null("")}).with_row_index("position")
    first = frame.select(pl.col("position").min().over("text"))["position"].cast(pl.Int64).to_numpy()
    if near >= 1:
        return first.copy()
    distinct = np.unique(first)
    roots = _near_clusters(frame["text"].gather(distinct), near)
    place = np.searchsorted(distinct, first)
    return distinct[roots[place]]


def equal_clusters(texts: pl.Series) -> Integers:
    """Return for each of *texts*, as they were written, the position of the first that equals it in comparable form.

    Most texts have a beginning of their own, and of the others most an end: only the rest are put into that form as a
    whole.
    """
    import numpy as np
    import polars as pl

    frame = texts.fill_null("").to_frame("text").with_row_index("position")
    alike = frame.with_columns(_edge(frame["text"], lambda text, count: text.str.head(count)).alias("head"))
    alike = alike.filter(pl.col("head").is_duplicated())
    alike = alike.with_columns(_edge(alike["text"], lambda text, count: text.str.tail(count)).alias("tail"))
    alike = alike.filter(pl.struct("head", "tail").is_duplicated())
    first = np.arange(len(texts))
    if alike.height:
        whole = alike.select(told_apart(pl.col("text"))).to_series()
        places = alike["position"].cast(pl.Int64).to_numpy()
        first[places] = places[clusters(whole, near=1)]
    return first


def _edge(texts: pl.Series, end: Callable[[pl.Expr, int], pl.Expr]) -> pl.Series:
    """Return the characters at one *end* of each text's comparable form."""
    import polars as pl

    text, edge = pl.col("text"), pl.col("edge")
    frame = texts.to_frame("text")
    looked = frame.select(comparable(end(text, _EDGE)).alias("edge"), text.str.len_chars().alias("all"))
    edges = looked.select(end(edge, _KEPT)).to_series()
    unsure = looked.select(((pl.col("all") > _EDGE) & (edge.str.len_chars() < _SURE)).arg_true()).to_series()
    if not len(unsure):
        return edges
    whole = texts.gather(unsure).to_frame("text").select(end(comparable(text), _KEPT)).to_series()
    return edges.scatter(unsure, whole)


def _near_clusters(texts: pl.Series, near: float) -> Integers:
    """Return for each of the distinct *texts* the index of the first one of its cluster."""
    import numpy as np

    @lru_cache(maxsize=4096)
    def trigrams(index: int) -> Hashes:
        return np.unique(_shingles(texts.slice(index, 1))[0])

    signatures = _signatures(texts)
    parents = np.arange(len(texts), dtype=np.int64)
    for left, right in _candidates(signatures, near):
        alike = (signatures[left] == signatures[right]).mean(axis=1) >= near - _SIGNATURE_SLACK
        for one, other in zip(left[alike].tolist(), right[alike].tolist(), strict=True):
            a, b = _root(parents, one), _root(parents, other)
            if a != b and _jaccard(trigrams(one), trigrams(other)) >= near:
                parents[max(a, b)] = min(a, b)
    return np.array([_root(parents, index) for index in range(len(texts))], dtype=np.int64)


def _root(parents: Integers, index: int) -> int:
    while (parent := int(parents[index])) != index:
        parents[index] = parents[parent]
        index = parent
    return index


def _shingles(texts: pl.Series) -> tuple[Hashes, Integers]:
    """Return the hashes of every text's trigrams, one text after the other, and where each text starts.

    A text shorter than a trigram counts as padded with blanks, so every text has at least one. There are as many as
    the text has characters: the last two places repeat the last trigram, which changes no set.
    """
    import numpy as np

    joined = "".join(texts.str.pad_end(SHINGLE).to_list())
    ends = np.cumsum(np.maximum(texts.str.len_chars().to_numpy().astype(np.int64), SHINGLE))
    # 64 bits a character: the value of a trigram is its three code points side by side, so no two share one.
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    grams = points.astype(np.uint64)
    grams <<= np.uint64(21)
    grams[:-1] |= points[1:]
    grams <<= np.uint64(21)
    grams[:-2] |= points[2:]
    for back in range(1, SHINGLE):
        grams[ends - back] = grams[ends - SHINGLE]
    grams *= np.uint64(_MIX)
    grams ^= grams >> np.uint64(31)
    return grams, np.concatenate([[0], ends])


def _slices(texts: pl.Series) -> Iterator[tuple[int, int]]:
    """Yield begin and length of runs of texts that hold some `_SLICE` characters, or one text that holds more."""
    import numpy as np

    ends = np.cumsum(texts.str.len_chars().to_numpy().astype(np.int64))
    begin = 0
    while begin < len(texts):
        reached = int(ends[begin - 1]) if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, reached + _SLICE, side="right")))
        yield begin, stop - begin
        begin = stop


def _signatures(texts: pl.Series) -> npt.NDArray[np.uint32]:
    """Return the MinHash signature of every text, a slice of the texts at a time to bound memory."""
    import numpy as np
    from rensa import RMinHash

    signatures = np.zeros((len(texts), PERMUTATIONS), dtype=np.uint32)
    for begin, length in _slices(texts):
        shingles, offsets = _shingles(texts.slice(begin, length))
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, offsets.astype(np.uint64), PERMUTATIONS, 1)
        signatures[begin : begin + length] = matrix.to_rows()
    return signatures


def band_rows(near: float) -> int:
    """Return the most rows a band may have while a pair at the threshold is missed once in a thousand at most."""
    fitting = [rows for rows in (8, 6, 5, 4, 3, 2) if (1 - near**rows) ** (PERMUTATIONS // rows) <= _MISSED]
    return fitting[0] if fitting else 1


def _candidates(signatures: npt.NDArray[np.uint32], near: float) -> Iterator[tuple[Integers, Integers]]:
    """Yield the pairs of rows that share a band; small buckets band by band, large ones a member at a time."""
    import numpy as np
    import polars as pl

    rows = band_rows(near)
    for band in range(PERMUTATIONS // rows):
        columns = np.ascontiguousarray(signatures[:, band * rows : (band + 1) * rows])
        key = np.zeros(len(columns), dtype=np.uint64)
        for column in range(rows):
            key = (key ^ columns[:, column].astype(np.uint64)) * np.uint64(_MIX)
            key ^= key >> np.uint64(29)
        buckets = (
            pl.DataFrame({"key": key, "row": np.arange(len(key), dtype=np.int64)})
            .filter(pl.len().over("key") > 1)
            .group_by("key", maintain_order=True)
            .agg("row")
        )
        small = buckets.filter(pl.col("row").list.len() <= _SMALL)
        if small.height:
            members = small.explode("row")
            pairs = members.join(members, on="key", maintain_order="left_right").filter(
                pl.col("row") < pl.col("row_right")
            )
            yield pairs["row"].to_numpy(), pairs["row_right"].to_numpy()
        for bucket in buckets.filter(pl.col("row").list.len() > _SMALL)["row"]:
            large = bucket.to_numpy()
            for place in range(len(large) - 1):
                others = large[place + 1 :]
                yield np.full(len(others), large[place]), others


def _jaccard(one: Hashes, other: Hashes) -> float:
    import numpy as np

    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)
