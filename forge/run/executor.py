"""What decides where an action runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forge.run.job import Job
    from forge.run.room import Need


class Executor(Protocol):
    """Run jobs somewhere and report on them.

    Results are in the store when a ``done`` event comes; an executor adds nothing to them.
    """

    def has_room(self, need: Need) -> bool:
        """Say whether a job that needs this much can start now."""

    def is_full(self) -> bool:
        """Say whether nothing at all can start now."""

    def submit(self, job: Job, need: Need) -> None:
        """Start a job."""

    def wait(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """Wait until something happened, and return it as pairs of action key and event."""

    def close(self) -> None:
        """Stop everything that is still running here; what runs elsewhere may go on for the next build to find."""
