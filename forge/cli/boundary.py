"""The one place where errors end: each becomes words on standard error and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130
_UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a write to standard output fails with; all of the store's own are a `StoreError` by then."""


class Asked(KeyboardInterrupt):
    """Say that SIGTERM or SIGHUP came: to be told from Ctrl-C, by which a person is there to be asked."""


def end_when_asked() -> None:
    """Let SIGTERM and SIGHUP end a build as Ctrl-C does: what runs is told to keep its state."""
    import signal

    def end(*_: object) -> None:
        raise Asked

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(number, end)


def guarded(work: Callable[[], int | None]) -> int | None:
    """Return what *work* returns, or the exit code of what stopped it."""
    try:
        code = work()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        kept = "finished steps are kept, the next build goes on from here"
        asked = isinstance(stop, Asked)
        print(f"\n{'stopped as asked' if asked else 'interrupted'}: {kept}", file=sys.stderr)  # noqa: T201
        if not asked:
            return INTERRUPTED
        from forge.core.errors import Interrupted

        return Interrupted.exit_code
    except BrokenPipeError:
        # whoever read our output has gone (`forge show … | head`)
        _say_no_more()
        return 0
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITTEN:
            raise
        _say_no_more()
        print(f"error: standard output can't be written: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    except Exception as error:
        from forge.core.errors import ForgeError  # `forge --help` need not import it

        if not isinstance(error, ForgeError):
            raise
        from forge.cli.render import show_error

        show_error(error)
        return error.exit_code
    return code


def _say_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
