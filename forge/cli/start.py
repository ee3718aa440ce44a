"""Start: the way that costs nothing first, then the whole command line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `forge`."""
    from forge.cli.app import run

    sys.exit(run(sys.argv[1:]))
