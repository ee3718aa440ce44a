"""Start: the way that costs nothing first, then the whole command line."""

from __future__ import annotations

import sys

from forge.cli.snapshot import answer


def main() -> None:
    """Run `forge`."""
    code = answer(sys.argv[1:])
    if code is None:
        from forge.cli.app import run

        code = run(sys.argv[1:])
    sys.exit(code)
