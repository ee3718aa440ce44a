"""Slurm's own commands, and what their answers mean.

`squeue` asks about all jobs of ours at once; a name and a ticket say which job is whose, never an id, which a
controller that lost its state gives again.
"""

from __future__ import annotations

import os
import subprocess
import zlib
from typing import TYPE_CHECKING

import attrs

from forge.core.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from forge.store.base import Store

PREFIX = "forge-"
"""What the names of our jobs begin with; the action key follows."""
ALIVE = frozenset(
    [
        "PENDING",
        "RUNNING",
        "SUSPENDED",
        "CONFIGURING",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "RESIZING",
        "SIGNALING",
        "SPECIAL_EXIT",
        "STAGE_OUT",
        "STOPPED",
        "RESV_DEL_HOLD",
    ]
)
"""States of a job from which more is to come; one that is COMPLETING has ended."""
_FORMAT = "%A|%F|%K|%j|%k|%T|%N|%M|%P|%r"
_FIELDS = 10
_OPTIONS = ("SBATCH_", "SQUEUE_", "SCANCEL_", "SACCT_", "SINFO_")
"""What the names of variables begin with that would change where a job runs, or how a command answers."""
_UNCONFIGURED = "could not establish a configuration source"
_PATIENCE = 60.0
"""Seconds for which a command of Slurm's may think; without a controller `sbatch` gives up after 9."""
_BUSY = (
    "unable to contact",
    "socket timed out",
    "connection refused",
    "connect failure",
    "temporarily unable",
    "temporarily unavailable",
    "try again",
    "zero bytes",
    "communication",
    "transmission",
    "backup controller",
    "in standby mode",
    "connection timed out",
    "protocol authentication error",
    "munge",
)
_REFUSED = (
    "invalid",
    "not available",
    "unrecognized",
    "unknown",
    "not permitted",
    "denied",
    "can not be satisfied",
    "more processors requested",
    "violates",
    "exceeds",
    "bad constraint",
    "too large",
    "configuration source",
    "missing",
)


class Unreachable(StepError):
    """Say that the controller did not answer now; nothing follows from it for any job."""


class Unclear(StepError):
    """Say that a command failed for a reason that is not known to be for good."""


class Declined(StepError):
    """Say that Slurm refuses a job for good."""


@attrs.frozen
class Listed:
    """Hold one job, or task of an array, as `squeue` lists it; ``index`` is an array's task, or several."""

    id: str
    array: str
    index: str
    name: str
    ticket: str
    state: str
    node: str
    time: str
    partition: str
    reason: str

    @property
    def key(self) -> str:
        """Return the action key that the job's name holds."""
        return self.name.removeprefix(PREFIX)

    @property
    def alive(self) -> bool:
        """Say whether more is to come from it."""
        return self.state in ALIVE

    @property
    def shown(self) -> str:
        """Return its id as people write it."""
        return self.id if self.index in ("", "N/A") else f"{self.array}_{self.index}"


@attrs.frozen
class Slurm:
    """Ask one cluster about the jobs of one store, by the commands on the path of *environment*.

    Two stores may want the same action: *place* stands for ours in the jobs' comments, behind the ticket.
    """

    place: str
    environment: Mapping[str, str] = attrs.Factory(lambda: dict(os.environ))

    @classmethod
    def of(cls, store: Store) -> Slurm:
        """Return what asks about the jobs of *store*."""
        return cls(f"{zlib.crc32(os.path.realpath(store.root).encode('utf-8', 'surrogateescape')):08x}")

    def comment(self, ticket: str) -> str:
        """Return the comment of the job with *ticket*."""
        return f"{ticket}-{self.place}"

    def submit(self, script: Path, options: Sequence[str] = ()) -> str:
        """Hand a script in and return the job's id."""
        return self.run("sbatch", "--parsable", *options, str(script)).strip().partition(";")[0]

    def jobs(self) -> list[Listed]:
        """Return all jobs of ours that the controller knows, ended ones too for a while, newest last."""
        said = self.run("squeue", "--me", "--states=all", "--noheader", f"--format={_FORMAT}")
        rows = (line.split("|", _FIELDS - 1) for line in said.splitlines())
        found = [Listed(*(cell.strip() for cell in row)) for row in rows if len(row) == _FIELDS]
        ours = [
            attrs.evolve(job, ticket=job.ticket.partition("-")[0])
            for job in found
            if job.name.startswith(PREFIX) and job.ticket.endswith(f"-{self.place}")
        ]
        return sorted(ours, key=lambda job: int(job.id) if job.id.isdigit() else 0)

    def cancel(self, keys: Iterable[str]) -> None:
        """End all jobs of these actions, also those whose id nobody has seen."""
        wanted = set(keys)
        self.end(sorted({job.array for job in self.jobs() if job.alive and job.key in wanted}))

    def end(self, ids: Sequence[str]) -> None:
        """End the jobs of these ids, which have just been listed."""
        if ids:
            self.run("scancel", *ids)

    def detail(self, job: str) -> dict[str, str]:
        """Return what the controller still knows of an ended job: its reason, exit code and the like."""
        try:
            said = self.run("scontrol", "show", "job", "--oneliner", job)
        except StepError:
            return {}
        return dict(word.split("=", 1) for word in said.split() if "=" in word)

    def _environment(self) -> dict[str, str]:
        """Return the environment without the variables that stand for options: what a job asks for is all written."""
        kept = {name: value for name, value in self.environment.items() if not name.startswith(_OPTIONS)}
        return kept | {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}

    def run(self, command: str, *arguments: str) -> str:
        """Run one command and return what it says.

        It is kept from the terminal's signals: Ctrl-C in the middle of `sbatch` would leave a job that nobody knows.
        """
        try:
            done = subprocess.run(
                [command, *arguments],
                env=self._environment(),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PATIENCE,
                start_new_session=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            hint = "run this where Slurm's commands are, or build with `--executor local`"
            raise Declined(f"there is no `{command}` on this machine", hint=hint) from None
        except subprocess.TimeoutExpired:
            raise Unreachable(f"`{command}` did not answer within {_PATIENCE:.0f} s") from None
        if done.returncode == 0:
            return done.stdout
        raise _error(command, done.stderr.strip() or done.stdout.strip(), done.returncode)


def _error(command: str, said: str, code: int) -> StepError:
    words = said.lower()
    text = " ".join(said.split()) or f"ended with status {code}"
    message = f"`{command}`: {text.removeprefix(f'{command}: ').removeprefix('error: ')}"
    if _UNCONFIGURED in words:
        hint = "is SLURM_CONF set? `--executor local` builds on this machine"
        return Declined(f"`{command}` finds no cluster: none is configured here", hint=hint)
    if any(each in words for each in _BUSY):
        return Unreachable(message)
    return Declined(message) if any(each in words for each in _REFUSED) else Unclear(message)
