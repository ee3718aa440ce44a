"""What decides where an action runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forge.run.job import Job


class Executor(Protocol):
    """Run jobs somewhere and report on them.

    Results are in the store when a ``done`` event comes; an executor adds nothing to them.
    """

    def has_room(self, *, heavy: bool) -> bool:
        """Say whether a job can start now; a heavy one wants the place for itself."""

    def submit(self, job: Job, *, heavy: bool) -> None:
        """Start a job."""

    def wait(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """Wait until something happened, and return it as pairs of action key and event."""

    def close(self) -> None:
        """Stop everything that is still running."""
