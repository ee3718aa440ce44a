"""How threads of numeric libraries wait for one another."""

from __future__ import annotations

import os

SPINS = "GOMP_SPINCOUNT"
"""The variable that says how often a waiting thread looks before it sleeps."""

AWAKE = "10000"
"""For a process that does little but write tokens: each crosses hundreds of barriers, and two threads that sleep at
each write a third as many."""


def wait_asleep() -> None:
    """Let threads that wait sleep soon: where cores are shared, those that spin take a hundred times longer.

    It holds for libraries that are loaded later, and torch's OpenMP is llama.cpp's too: call it before either.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault(SPINS, "2000")
