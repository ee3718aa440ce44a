"""Every expected failure, as one tree.

ForgeError                      an expected failure: shown without a traceback
├── UsageError          exit 2  the command line or the manifest
│   └── ManifestError           carries every problem found, each with file, line and step
├── StepError           exit 1  a step failed while it ran
│   ├── CheckFailed             a check's figure is beyond its bound
│   ├── Stopped                 a step left off, its state kept, because its machine's time is over
│   ├── Refused                 a labeler's reply that may not be used
│   ├── ProviderBusy            a provider that may answer if it is asked again
│   └── ProviderRefused         a provider that will not answer, however often it is asked
├── PluginError         exit 3  a plugin can't be loaded or breaks its contract
└── StoreError          exit 4  the store is damaged, full, read-only or unreachable

Anything else that escapes is a bug in forge, and keeps its traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forge.core.manifest import Manifest


class ForgeError(Exception):
    """Carry one message for a person and, where there is something to do, a hint."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ForgeError):
    """Say that the command line or a file named on it can't be used."""

    exit_code = 2


@attrs.frozen
class Problem:
    """Name one thing wrong in a manifest: where it stands and what to do."""

    message: str
    file: str
    line: int | None = None
    step: str | None = None
    hint: str | None = None


class ManifestError(UsageError):
    """Hold every problem of a manifest, in the order of their lines.

    ``partial`` is what could be read all the same, so that the rest can be looked at too.
    """

    def __init__(self, problems: Sequence[Problem], partial: Manifest | None = None) -> None:
        self.partial = partial
        self.problems = sorted(problems, key=lambda p: (p.file, p.line or 0))
        super().__init__("; ".join(p.message for p in self.problems))


class StepError(ForgeError):
    """Say that a step can't do its work on this input."""


class CheckFailed(StepError):
    """Say which figures of a check are beyond their bounds."""


class Stopped(StepError):
    """Say that a step has kept its state and left off, to go on in another process."""


class Refused(StepError):
    """Say why a labeler's reply may not be used; the row keeps the reply and the reason."""


class ProviderBusy(StepError):
    """Say that a provider did not answer now (429, 5xx, a reset, a time-out) and may when it is asked again.

    ``retry_after`` is the wait in seconds that the provider itself asked for, ``limited`` says that it was asked
    too much (429).
    """

    def __init__(
        self, message: str, retry_after: float | None = None, *, limited: bool = False, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.limited = limited or retry_after is not None


class ProviderRefused(StepError):
    """Say that a provider will not answer this request.

    ``every`` says that it refuses every other request as well (the key, the model, the address, the account):
    the run stops at once. Without it only this one fails (too long, its content filtered).
    """

    def __init__(self, message: str, *, every: bool = True, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.every = every


class PluginError(ForgeError):
    """Say that a plugin can't be loaded or breaks its contract."""

    exit_code = 3


class StoreError(ForgeError):
    """Say that the store can't be read or written, or that it is damaged."""

    exit_code = 4
