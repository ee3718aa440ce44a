"""Start: the way that costs nothing first, then what follows from changed data, then the whole command line."""

from __future__ import annotations

import gc
import os
import sys

from forge.cli.snapshot import answer

_ALLOCATIONS = 20_000
"""Objects between two looks for cycles: imports make tens of thousands that stay."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from forge.run.spawn import Process


def main() -> None:
    """Run `forge`."""
    try:
        _main()
    except KeyboardInterrupt:
        sys.exit(130)  # while forge was still being imported


def _main() -> None:
    arguments = sys.argv[1:]
    found = answer(arguments)
    if isinstance(found, int):
        os._exit(found)  # nothing was begun that has to end; taking the interpreter down costs milliseconds
    gc.set_threshold(_ALLOCATIONS)
    spares: list[Process] = []
    if arguments[:1] == ["build"]:
        from forge.cli.boundary import end_when_asked
        from forge.run import spawn

        spares.append(spawn.fork(spares))
        end_when_asked()
    code = None
    try:
        if found is not None:
            from forge.cli.boundary import guarded
            from forge.cli.incremental import build_changed

            code = guarded(lambda: build_changed(arguments, found, spares))
        if code is None:
            from forge.cli.app import run

            code = run(arguments, spares)
    finally:
        for spare in spares:  # those that were used have ended with the build
            import signal  # its enumerations cost a millisecond

            spare.signal(signal.SIGKILL)
            spare.wait()
    if found is not None:
        sys.stderr.flush()
        os._exit(code)  # all that was begun has ended
    sys.exit(code)
