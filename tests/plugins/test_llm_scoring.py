"""Positions are compared where two models scored both of them."""

import numpy as np
import pytest

from forge_llm.check.scoring import score

IDS = [3, 1, 4, 1, 5, 9, 2, 6]


class Fixed:
    """Say at each position what a table of random logits says, whatever came before."""

    def __init__(self, seed):
        self.table = np.random.default_rng(seed).normal(size=(len(IDS), 10)).astype(np.float32)

    def logits_after(self, ids, count=1):
        return self.table[len(ids) - count : len(ids)]


@pytest.mark.parametrize(("ours", "theirs"), [(0, 0), (4, 0), (0, 4), (4, 4)])
def test_what_one_of_both_has_not_scored_is_not_compared(ours, theirs):
    base = score(Fixed(1), IDS, theirs, keep=True)
    whole = score(Fixed(2), IDS, 0, base=score(Fixed(1), IDS, 0, keep=True))
    found = score(Fixed(2), IDS, ours, base=base)
    assert max(ours, theirs) == found.start
    expected = whole.part(found.start)
    for name in ("best", "logs", "same", "divergence"):
        assert getattr(expected, name).tolist() == pytest.approx(getattr(found, name).tolist())
    assert len(IDS) - 1 - found.start == len(found.same)
