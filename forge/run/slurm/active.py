"""One action whose job is in the queue, or on its way there: what is missing of it and what it has said."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from forge.run.slurm.client import Listed
    from forge.run.slurm.controller import Wish
    from forge.run.slurm.folder import Exit, JobFolder, Submission


_STUCK = frozenset(
    [
        "AccountNotAllowed",
        "BadConstraints",
        "InvalidAccount",
        "InvalidQOS",
        "PartitionConfig",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSNotAllowed",
    ]
)
"""Why a job waits that no patience helps."""


@attrs.define(eq=False)
class Active:
    """Hold what is known of one action's job.

    ``submission`` is None until it is in the queue, ``submitted`` says since when, ``gone`` since when the controller
    does not list it, by the monotonic clock; ``missing`` are the indices whose exit record has not come, ``failures``
    the records of those that failed; ``tries`` counts submissions that were lost.
    """

    wish: Wish
    folder: JobFolder
    submission: Submission | None = None
    submitted: float = 0.0
    gone: float | None = None
    missing: set[str] = attrs.Factory(set)
    failures: dict[str, Exit] = attrs.Factory(dict)
    tries: int = 0
    stopped: bool = False
    held: bool = False
    state: str = ""
    _offsets: dict[Path, int] = attrs.Factory(dict)
    _done: dict[Path, float] = attrs.Factory(dict)
    _figures: dict[str, Any] = attrs.Factory(dict)
    _total: float | None = None

    @property
    def key(self) -> str:
        """Return the action key."""
        return self.wish.job.key

    def begin(self, submission: Submission) -> None:
        """Note that a job is in the queue."""
        self.submission, self.submitted, self.gone = submission, time.monotonic(), None
        self.missing, self.failures, self.stopped = set(submission.indices), {}, False
        self._done = {}

    def waits_for(self, ticket: str, index: str, restarts: int) -> bool:
        """Say whether an exit record is news."""
        if self.submission is None or ticket != self.submission.ticket or index not in self.missing:
            return False
        known = self.failures.get(index)
        return known is None or known.restarts < restarts

    def seen(self, listed: Sequence[Listed]) -> str:
        """Return in words how the controller lists the job."""
        states: dict[str, int] = {}
        for job in listed:
            if job.alive:
                why = f" ({job.reason})" if job.state == "PENDING" and job.reason not in ("None", "") else ""
                where = f" on {job.node}" if job.state == "RUNNING" and len(listed) == 1 else ""
                text = f"{job.state.lower()}{why}{where}"
                states[text] = states.get(text, 0) + 1
        of = self.submission.id if self.submission is not None else ""
        if len(listed) <= 1:
            return f"{of} {', '.join(states)}".strip()
        return f"{of} " + ", ".join(f"{count} {text}" for text, count in states.items())

    def held_back(self, listed: Sequence[Listed]) -> str | None:
        """Return what to say, once, of a job that somebody has to let go on."""
        stuck = next((job for job in listed if job.state == "PENDING" and job.reason in _STUCK), None)
        if stuck is not None and not self.held:
            self.held = True
            hint = "`forge check --executor slurm` compares what it asks for with the cluster, `forge cancel` ends it"
            return f"job {stuck.shown} can't start as it is ({stuck.reason}): {hint}"
        held = next((job for job in listed if job.alive and "held" in job.reason.lower()), None)
        if held is None or self.held:
            return None
        self.held = True
        return f"job {held.shown} is held ({held.reason}): `scontrol release {held.id}` lets it go on"

    def progress(self) -> dict[str, Any]:
        """Return how far the work is, and what the job does, as an event."""
        done = sum(self._done.values())
        total = float(self.wish.rows) if self.wish.is_array else self._total
        figures = {"job": self.state} | ({} if self.wish.is_array else self._figures)
        return {"event": "progress", "done": done, "total": total, "figures": figures}

    def news(self) -> list[dict[str, Any]]:
        """Return what the job's attempts have said since the last look; of progress, the last."""
        if self.submission is None:
            return []
        found, moved = [], False
        for path in sorted(self.folder.path.glob(f"attempt-{self.submission.ticket}-*/events.jsonl")):
            for event in self._lines(path):
                if event["event"] == "warning":
                    found.append(event)
                elif event["event"] == "progress":
                    moved = True
                    self._done[path] = float(event["done"])
                    self._total = event["total"]
                    self._figures = dict(event["figures"])
                    if not self.wish.is_array:
                        self._done = {path: float(event["done"])}
        return [*found, self.progress()] if moved else found

    def _lines(self, path: Path) -> list[dict[str, Any]]:
        try:
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                whole, end, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        self._offsets[path] = self._offsets.get(path, 0) + len(whole) + len(end)
        events = []
        for line in whole.splitlines():
            with suppress(ValueError):  # a line that a crash cut short
                events.append(json.loads(line))
        return events
