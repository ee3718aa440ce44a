"""Score a text's tokens by a model: what it would have said at each position, and how far it is from another model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forge_llm.check.decoding import Model

CHUNK = 128
"""Positions whose logits are held at once: a vocabulary of 150,000 makes 77 MB of them."""

LIKELY, MASS = 64, 0.999
"""The likeliest tokens that are kept of a distribution: so many at most, and no more than hold this share."""

_FAR = 20.0
"""Tokens whose logit is so far below the largest hold less than 2e-9 of its probability each."""

_LEAST = 1e-7
"""Below this what is left of a distribution is float32's rounding."""


@attrs.frozen(eq=False)
class Likely:
    """Hold one distribution: the ids and log-probabilities of its likeliest tokens, the rest left out."""

    ids: Any
    logs: Any


@attrs.frozen(eq=False)
class Scores:
    """Hold what a model makes of each position of a text, the first of them *start*.

    ``best`` is the token it would say next, ``logs`` the log-probability of the one that comes; ``likely`` is its
    distribution, where it was asked for; ``same`` and ``divergence`` compare it with another model's.
    """

    start: int
    best: Any
    logs: Any
    likely: tuple[Likely, ...] = ()
    same: Any = None
    divergence: Any = None

    def part(self, place: int) -> Scores:
        """Return the positions from *place* on."""
        cut = max(0, place - self.start)
        return Scores(
            self.start + cut,
            self.best[cut:],
            self.logs[cut:],
            self.likely[cut:],
            None if self.same is None else self.same[cut:],
            None if self.divergence is None else self.divergence[cut:],
        )


def score(
    model: Model, ids: Sequence[int], start: int = 0, *, keep: bool = False, base: Scores | None = None
) -> Scores:
    """Score the tokens of *ids* after place *start*; what *model* holds of *ids* before it is not read again.

    *keep* keeps the distributions; *base* holds those of another model, with which the positions that both have are
    compared: what comes before them is not scored.
    """
    import numpy as np

    if base is not None:
        start = max(start, base.start)
        base = base.part(start)
    best, logs, likely, divergence = [], [], [], []
    last = len(ids) - 1
    for begin in range(start, last, CHUNK):
        stop = min(begin + CHUNK, last)
        logits = model.logits_after(ids[:stop], stop - begin)
        top = logits.max(axis=1, keepdims=True)
        shares = logits - top
        np.exp(shares, out=shares)
        norms = (top + np.log(shares.sum(axis=1, keepdims=True)))[:, 0]
        places = np.arange(stop - begin)
        best.append(logits.argmax(axis=1))
        logs.append(logits[places, ids[begin + 1 : stop + 1]] - norms)
        if keep:
            likely += [_likely(logits[i], norms[i]) for i in places]
        if base is not None:
            others = base.likely[begin - base.start : stop - base.start]
            divergence += [_divergence(p, logits[i, p.ids] - norms[i]) for i, p in zip(places, others, strict=True)]
    chosen = np.concatenate(best).astype(np.int32) if best else np.zeros(0, np.int32)
    found = np.concatenate(logs).astype(np.float32) if logs else np.zeros(0, np.float32)
    if base is None:
        return Scores(start, chosen, found, tuple(likely))
    return Scores(start, chosen, found, tuple(likely), chosen == base.best, np.array(divergence, np.float32))


def _likely(logits: Any, norm: Any) -> Likely:
    """Return the likeliest tokens in the order of their ids."""
    import numpy as np

    near = np.flatnonzero(logits > logits.max() - _FAR)
    if len(near) > LIKELY:
        near = near[np.argpartition(-logits[near], LIKELY - 1)[:LIKELY]]
    near = near[np.lexsort((near, -logits[near]))]
    logs = logits[near] - norm
    count = int(np.searchsorted(np.cumsum(np.exp(logs)), MASS)) + 1
    order = np.argsort(near[:count])
    return Likely(near[:count][order].astype(np.int32), logs[:count][order].astype(np.float32))


def _divergence(base: Likely, logs: Any) -> float:
    """Return the KL divergence in nats of *logs* from *base*, all that *base* leaves out taken as one token."""
    import numpy as np

    shares = np.exp(base.logs)
    rest, other = 1 - float(shares.sum()), 1 - float(np.exp(logs).sum())
    found = float((shares * (base.logs - logs)).sum())
    if rest > _LEAST:
        found += rest * float(np.log(rest / max(other, _LEAST)))
    return max(0.0, found)
