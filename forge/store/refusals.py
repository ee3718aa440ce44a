"""Find the operating system's refusals in what a step raised: a full disk is no fault of the step's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from forge.core.errors import CheckFailed, StepError, StoreError
from forge.store.disk import REASONS

_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LEAST = 1 << 16
"""Bytes: with less left, a command that failed is taken to have failed for want of room, whatever its language."""


def refusal(error: BaseException, root: Path) -> StoreError | None:
    """Return an error of the store at *root*, if that is why *error* came about.

    Want of room shows in the error, in what caused it or in its words, for libraries and commands pass on no numbers.
    """
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in REASONS and (each.errno in _ROOM or _is_below(each, root)):
            return _named(each.errno, root)
        for number in _ROOM:
            if os.strerror(number) in str(each):
                return _named(number, root, error)
    if isinstance(error, StepError) and not isinstance(error, CheckFailed) and _free(root) < _LEAST:
        return _named(errno.ENOSPC, root, error)
    return None


def _named(number: int, root: Path, said: BaseException | None = None) -> StoreError:
    message, hint = REASONS[number]
    return StoreError(message.format(root=root) + (f": {said}" if said is not None else ""), hint=hint)


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _is_below(error: OSError, root: Path) -> bool:
    return isinstance(error.filename, str) and Path(error.filename).is_relative_to(root)


def _free(root: Path) -> int:
    try:
        info = os.statvfs(root)
    except OSError:
        return _LEAST
    return info.f_bavail * info.f_frsize
