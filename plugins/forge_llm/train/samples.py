"""Samples, the order they are trained in, and how a batch of them lies in memory."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


WEIGHT = "weight"
"""The column of `train.tokens` that holds a sample's weight; without it every sample weighs 1."""


@attrs.frozen
class Sample:
    """Hold one row's token ids and the indexes of the tokens to learn (never the first: nothing predicts it).

    Each learned token counts *weight* times in the loss, above and below the line of its mean.
    """

    id: str
    ids: Sequence[int]
    learned: tuple[int, ...]
    weight: float = 1.0


@attrs.frozen
class Flat:
    """Lay a batch out as one row without padding: the beginning that all samples share once, then each one's rest.

    ``rests`` are the bounds ``(start, end)`` of each sample's rest in the row; ``shared`` is the length before them.
    ``asked`` are the places whose next token is learned, ``wanted`` those tokens, ``weights`` theirs; None where
    all of them are 1.
    The shared beginning ends before the first learned token, so each loss term keeps a place of its own.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    shared: int
    rests: tuple[tuple[int, int], ...]
    asked: torch.Tensor
    wanted: torch.Tensor
    weights: torch.Tensor | None = None


def read_samples(table: forge.Artifact, name: str) -> list[Sample]:
    """Read the rows that `train.tokens` wrote."""
    rows = table.rows()
    missing = {"id", "input_ids", "loss_mask"} - set(rows.collect_schema().names())
    if missing:
        raise forge.StepError(
            f"input `{name}` has no column {', '.join(f'`{column}`' for column in sorted(missing))}",
            hint="token ids come from a `train.tokens` step",
        )
    weighted = [WEIGHT] if WEIGHT in rows.collect_schema() else []
    frame = rows.select("id", "input_ids", "loss_mask", *weighted).collect()
    samples = []
    for key, ids, mask, *weight in frame.iter_rows():
        samples.append(Sample(key, ids, tuple(i for i, learned in enumerate(mask) if learned and i), *weight))
    if not any(sample.learned for sample in samples):
        raise forge.StepError(f"input `{name}` has no token to learn", hint="look at the loss masks: `forge show`")
    return samples


def data_order(count: int, epochs: float, seed: int) -> list[int]:
    """Return the indexes of all samples to train on: each epoch a new permutation, the last one cut short."""
    order: list[int] = []
    for epoch in range(math.ceil(epochs)):
        indexes = list(range(count))
        Random(f"{seed}:{epoch}").shuffle(indexes)  # noqa: S311 - an order, not a secret
        order += indexes
    return order[: max(1, round(count * epochs))]


def order_digest(samples: Sequence[Sample], order: Sequence[int]) -> str:
    """Return a digest of what is trained on, in its order: ids, tokens, masks and weights."""
    contents = []
    for s in samples:
        content = (s.id, list(s.ids), s.learned) if s.weight == 1 else (s.id, list(s.ids), s.learned, s.weight)
        contents.append(hashlib.blake2b(repr(content).encode(), digest_size=16).digest())
    digest = hashlib.blake2b(digest_size=16)
    for index in order:
        digest.update(contents[index])
    return digest.hexdigest()


def terms_of(samples: Sequence[Sample]) -> float:
    """Return by what the summed loss of *samples* is divided: their learned tokens, each as often as it weighs."""
    terms = math.fsum(len(sample.learned) * sample.weight for sample in samples)
    return int(terms) if terms.is_integer() else terms


def cut(samples: Sequence[Sample], most: int, tokens: int | None = None) -> list[list[Sample]]:
    """Cut *samples* into batches of like lengths: at most *most*, and at most *tokens* tokens where that is given.

    A sample that is longer than *tokens* is a batch of its own.
    """
    batches: list[list[Sample]] = []
    held = 0
    for sample in sorted(samples, key=lambda sample: len(sample.ids)):
        held += len(sample.ids)
        if not batches or len(batches[-1]) == most or (tokens is not None and held > tokens):
            batches.append([])
            held = len(sample.ids)
        batches[-1].append(sample)
    return batches


def shared_beginning(samples: Sequence[Sample]) -> int:
    """Return how many tokens all samples begin with, short of the first that any of them learns."""
    limit = min(
        min(sample.learned[0] if sample.learned else len(sample.ids) - 1, len(sample.ids) - 1) for sample in samples
    )
    first = samples[0].ids
    for length in range(limit):
        if any(sample.ids[length] != first[length] for sample in samples):
            return length
    return limit


def lay_flat(samples: Sequence[Sample], *, share: bool = True) -> Flat:
    """Lay *samples* out as one row; sharing pays from the second sample on."""
    import torch

    shared = shared_beginning(samples) if share and len(samples) > 1 else 0
    ids: list[int] = list(samples[0].ids[:shared])
    positions = list(range(shared))
    bounds = [shared]
    asked: list[int] = []
    wanted: list[int] = []
    weights: list[float] = []
    for sample in samples:
        here = len(ids) - shared  # what to add to an index in the sample to have its place in the row
        ids += sample.ids[shared:]
        positions += range(shared, len(sample.ids))
        bounds.append(len(ids))
        asked += [i - 1 if i - 1 < shared else i - 1 + here for i in sample.learned]
        wanted += [sample.ids[i] for i in sample.learned]
        weights += [sample.weight] * len(sample.learned)
    row: Any = torch.tensor
    return Flat(
        row([ids]),
        row([positions]),
        shared,
        tuple(pairwise(bounds)),
        row(asked, dtype=torch.long),
        row(wanted),
        None if set(weights) <= {1.0} else row(weights),
    )
