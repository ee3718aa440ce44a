"""How threads of numeric libraries wait for one another."""

from __future__ import annotations

import os


def wait_asleep() -> None:
    """Let threads that wait sleep: where cores are shared, those that spin take a hundred times longer.

    It holds for libraries that are loaded later, and torch's OpenMP is llama.cpp's too: call it before either.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
