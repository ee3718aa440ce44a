"""What an action's jobs leave in the store: the script, the tickets of submissions, attempts, how each ended.

::

    jobs/KEY/job.json                          what the worker is to do
    jobs/KEY/script-TICKET.sh                  what was handed to `sbatch`, as the shell ran it
    jobs/KEY/submission-TICKET.json            when, with which shards of a labeler, under which id (a hint)
    jobs/KEY/slurm[-INDEX].log                 what the shell around the worker said
    jobs/KEY/attempt-TICKET-INDEX.RESTARTS/    events.jsonl, result.json, exit.json
    jobs/ended/KEY.TICKET.INDEX.RESTARTS       an empty file: that attempt's exit record is there

A ticket is drawn for each submission and is the job's comment; the index is ``x`` where the job is no array. An
exit record is the truth about an attempt; of a record in the store, exit records say nothing.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from forge.store.base import Store

NO_INDEX = "x"
"""Stands for the index of a job that is no array."""


def _numbers(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)


@attrs.frozen
class Submission:
    """State one submission: its *ticket*, and the *id* once it is known.

    ``shards`` are the tasks of an array, parts of a labeler's *rows*, of ``shard`` rows each, ``at_once`` of which run
    at once; a plain job has none.
    """

    ticket: str
    step: str
    manifest: str
    shards: tuple[int, ...] = attrs.field(default=(), converter=_numbers)
    rows: int = 0
    shard: int = 0
    at_once: int = 1
    submitted: float = attrs.Factory(time.time)
    id: str = ""

    @property
    def indices(self) -> tuple[str, ...]:
        """Return the indices of its tasks, as files are named."""
        return tuple(str(shard) for shard in self.shards) or (NO_INDEX,)


def draw() -> str:
    """Return a ticket that nobody has drawn."""
    return secrets.token_hex(4)


@attrs.frozen
class Exit:
    """State how one attempt ended; ``result`` is the worker's last word, where it came to one."""

    ticket: str
    index: str
    restarts: int
    code: int
    job: str = ""
    node: str = ""
    result: dict[str, Any] | None = None


@attrs.frozen
class JobFolder:
    """Read and write one action's folder."""

    path: Path
    key: str

    @classmethod
    def of(cls, store: Store, key: str) -> JobFolder:
        """Return the folder of an action, made or not."""
        return cls(store.root / "jobs" / key, key)

    def make(self) -> None:
        """Make it."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path.parent / "ended").mkdir(exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        """Put a file in place, whole."""
        target = self.path / name
        staged = self.path / f".{name}.{os.getpid()}"
        staged.write_text(text, encoding="utf-8")
        staged.rename(target)
        return target

    def note(self, submission: Submission) -> None:
        """Write a submission down."""
        self.write(f"submission-{submission.ticket}.json", json.dumps(attrs.asdict(submission)))

    def submissions(self) -> list[Submission]:
        """Return all submissions, the last one last."""
        found = []
        for path in self.path.glob("submission-*.json"):
            with suppress(OSError, ValueError, TypeError):
                found.append(Submission(**json.loads(path.read_bytes())))
        return sorted(found, key=lambda each: each.submitted)

    def attempt(self, ticket: str, index: str, restarts: int) -> Path:
        """Return the folder of one attempt."""
        return self.path / f"attempt-{ticket}-{index}.{restarts}"

    def exit(self, ticket: str, index: str, restarts: int) -> Exit | None:
        """Return how an attempt ended, or None while it has not."""
        folder = self.attempt(ticket, index, restarts)
        try:
            found = json.loads((folder / "exit.json").read_bytes())
            result = None
            with suppress(FileNotFoundError, ValueError):
                result = json.loads((folder / "result.json").read_bytes())
            return Exit(ticket, index, restarts, int(found["code"]), found["job"], found["node"], result)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def attempts(self, ticket: str, index: str) -> list[int]:
        """Return the restarts of a task of which there are attempts, the last one last."""
        names = self.path.glob(f"attempt-{ticket}-{index}.*")
        return sorted(int(path.suffix[1:]) for path in names if path.suffix[1:].isdigit())

    def last_exit(self, ticket: str, index: str) -> Exit | None:
        """Return how a task's last attempt that has ended did so; looked up where no bell was heard."""
        for restarts in reversed(self.attempts(ticket, index)):
            found = self.exit(ticket, index, restarts)
            if found is not None:
                return found
        return None


def bells(store: Store) -> list[tuple[str, str, str, int]]:
    """Return key, ticket, index and restarts of every attempt that has ended; one folder is read, whatever runs."""
    found = []
    with suppress(FileNotFoundError):
        for name in os.listdir(store.root / "jobs" / "ended"):
            parts = name.split(".")
            if len(parts) == 4 and parts[3].isdigit():  # noqa: PLR2004  # as written above
                found.append((parts[0], parts[1], parts[2], int(parts[3])))
    return found
