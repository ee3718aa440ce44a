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


def guarded(work: Callable[[], int | None]) -> int | None:
    """Return what *work* returns, or the exit code of what stopped it."""
    try:
        code = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted: finished steps are kept, the next build goes on from here", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
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
