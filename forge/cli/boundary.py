"""The one place where errors end: each becomes words on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from forge.core.errors import ForgeError

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130


def guarded(work: Callable[[], int | None]) -> int | None:
    """Return what *work* returns, or the exit code of what stopped it."""
    try:
        return work()
    except ForgeError as error:
        from forge.cli.render import show_error

        show_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted: finished steps are kept, the next build goes on from here", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has gone (`forge show … | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
