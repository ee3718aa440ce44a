"""What runs in a job: the worker of every step, for one action or for one shard of a labeler's rows.

It ends with 0 when the work is done, with 75 when it left off and kept its state (the script then has the job
requeued), with the exit code of what failed otherwise.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import ForgeError, StepError
from forge.core.step import seconds_of
from forge.plan.facts import facts_of
from forge.plugin.discovery import Registry
from forge.plugin.parameters import structure
from forge.run.job import Job
from forge.run.labels import ask_rows, shards
from forge.run.slurm import preflight
from forge.run.slurm.folder import JobFolder, Submission
from forge.run.slurm.verdict import LEFT_OFF
from forge.run.tracing import Leave
from forge.run.worker import Worker, inputs_of, redirect
from forge.store.journal import Journal
from forge.store.process import hostname
from forge.store.used import lease

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from forge.plugin.registry import StepType
    from forge.store.actions import Actions

_SHARE = 0.8
"""Share of the notice after which a step that does not leave off is ended."""
_EARLY = 0.25
"""Share of the notice before which no job can be told in time: its limit is shorter than the notice, and a step that
left off at once would get nowhere however often it is requeued. It works on until SIGTERM says that time is up."""
_EVERY = 0.5
"""Seconds between two reports of progress, which cross a network file system."""


@attrs.define
class Task:
    """Run one attempt of a job: its *attempt* folder takes events, and the last of them as ``result.json``."""

    job: Job
    folder: JobFolder
    attempt: Path
    notice: float
    leave: Leave = attrs.Factory(lambda: Leave(caught=True))
    begun: float = attrs.Factory(time.time)
    _told: float = 0.0

    @classmethod
    def load(cls, folder: Path, attempt: Path, notice: float) -> Task:
        """Read what is to be done; the cores that the step may use are those of this machine, up to what it asks."""
        job = Job.load((folder / "job.json").read_text(encoding="utf-8"))
        asked = int(os.environ.get("SLURM_CPUS_PER_TASK", "0")) or job.threads
        job = attrs.evolve(job, threads=max(1, min(asked, os.cpu_count() or 1)))
        return cls(job, JobFolder(folder, folder.name), attempt, notice)

    def run(self) -> int:
        """Do the work and return the exit code."""
        self.attempt.mkdir(parents=True, exist_ok=True)
        store = Path(self.job.store)
        redirect(store / "logs" / f"{self.job.key}.log")
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, self._signalled)
            if (self.attempt / f"told.{number.name.removeprefix('SIG')}").exists():  # while this was being started
                self._signalled(number, None)
        index = os.environ.get("SLURM_ARRAY_TASK_ID")
        self.send({"event": "begun", "at": self.begun})
        worker = Worker(self.send, leave=self.leave, job=self.described)
        with lease(store):
            try:
                submission = self._submission()
                if index is not None and submission.shards:
                    shard = partial(label_shard, worker, self.job, submission, int(index))
                    event = worker.guarded(self.job, shard)
                else:
                    self._compare_facts()
                    event = worker.run(self.job)
            except ForgeError as error:
                event = _failed(error)
        return self._end(event)

    def send(self, event: Mapping[str, Any]) -> None:
        """Report to the head, which reads along; progress now and then."""
        now = time.monotonic()
        if event["event"] == "progress" and event["done"] != event["total"] and now - self._told < _EVERY:
            return
        self._told = now
        with suppress(FileNotFoundError), (self.attempt / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def described(self) -> dict[str, Any]:
        """Return what the record says of this job; ``memory`` is the most that was resident, in bytes."""
        return about_job() | {"memory": _peak()}

    def _submission(self) -> Submission:
        ticket = self.attempt.name.split("-")[1]
        found = [each for each in self.folder.submissions() if each.ticket == ticket]
        if not found:
            raise StepError(f"the submission `{ticket}` is no longer in the store", hint="build again")
        return found[-1]

    def _compare_facts(self) -> None:
        """Refuse to make, under a key that says one thing, what another device or version would make."""
        registry = Registry(dict(self.job.modules))
        found: StepType = registry.find(self.job.use)
        instance, _ = structure(found.cls, self.job.spec, Path(self.job.root))
        here = facts_of(found, instance) if instance is not None else {}
        planned: Mapping[str, str] = dict(self.job.action.get("facts", {}))
        other = [name for name in planned if here.get(name, planned[name]) != planned[name]]
        if other:
            listed = ", ".join(f"`{name}` is `{here[name]}` here and `{planned[name]}` in the plan" for name in other)
            table = ", ".join(f'{name} = "{here[name]}"' for name in other)
            hint = f"install the same on both, or say what holds on the nodes: `facts = {{ {table} }}` in the profile"
            raise StepError(f"the node differs from the machine that planned: {listed}", hint=hint)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        """Ask the step to leave off; one that can't is ended, before the limit or at once."""
        early = number == signal.SIGUSR1 and time.time() - self.begun < self.notice * _EARLY
        if self.leave.now or early:
            return
        self.leave.now = True
        # a step that has never offered to leave off will not do so now, and whoever sent SIGTERM is waiting
        wait = self.notice * _SHARE if self.leave.asked or number == signal.SIGUSR1 else 0.0
        threading.Thread(target=self._give_up, args=(wait,), daemon=True).start()

    def _give_up(self, wait: float) -> None:
        time.sleep(wait)
        if self.leave.now and not self._kept_state():
            message = f"step `{self.job.step}` ran into its time limit and has kept nothing to go on from"
            self._write(_failed(StepError(message, hint="give its `resources` more `time`")))
            os._exit(1)
        with suppress(OSError, ValueError):  # nobody shall wait for a claim whose holder is gone
            claim = Path(self.job.store) / "claims" / self.job.key
            if claim.read_text().split()[:2] == [hostname(), str(os.getpid())]:
                claim.unlink()
        os._exit(LEFT_OFF)

    def _kept_state(self) -> bool:
        """Say whether this attempt has left something that the next one goes on from."""
        scratch = Path(self.job.store) / "scratch" / self.job.key
        journals = Path(self.job.store) / "journals"
        places = [scratch.rglob("*"), journals.glob("*.jsonl") if self.job.verb == "request" else ()]
        return any(path.stat().st_mtime >= self.begun for found in places for path in found if path.is_file())

    def _end(self, event: dict[str, Any]) -> int:
        if event["event"] == "failed" and event["exit_code"] == LEFT_OFF:
            return LEFT_OFF
        self._write(event | {"job": self.described()})
        return 0 if event["event"] == "done" else int(event["exit_code"])

    def _write(self, event: Mapping[str, Any]) -> None:
        self.attempt.mkdir(parents=True, exist_ok=True)  # somebody may have removed it meanwhile
        staged = self.attempt / "result.tmp"
        staged.write_text(json.dumps(event), encoding="utf-8")
        staged.rename(self.attempt / "result.json")


def label_shard(worker: Worker, job: Job, submission: Submission, shard: int, actions: Actions) -> bool:
    """Ask for one shard of the labeler's rows; the journal keeps the replies for whoever labels the whole table."""
    _, labeler = worker.instance(job)
    first, count = shards(submission.rows, submission.shard)[shard]
    inputs, _ = inputs_of(actions.store, job)
    rows = next(iter(inputs.values())).rows().slice(first, count).collect()
    share = (count / submission.rows, min(submission.at_once, len(submission.shards)))
    ask_rows(labeler, rows, Journal(actions.store.root / "journals"), worker.ledger(job, actions, lambda: None), share)
    return True


def about_job() -> dict[str, Any]:
    """Return which job this process runs in."""
    found = os.environ.get
    array = found("SLURM_ARRAY_JOB_ID")
    values = {
        "id": found("SLURM_JOB_ID", ""),
        "task": f"{array}_{found('SLURM_ARRAY_TASK_ID')}" if array else "",
        "restarts": int(found("SLURM_RESTART_COUNT", "0")),
        "cluster": found("SLURM_CLUSTER_NAME", ""),
        "partition": found("SLURM_JOB_PARTITION", ""),
        "node": found("SLURMD_NODENAME", ""),
    }
    return {name: value for name, value in values.items() if value != ""}


def _peak() -> int:
    """Return the most memory that this process or one of its children had, in bytes."""
    kibibytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return int(kibibytes) * 1024


def _failed(error: ForgeError) -> dict[str, Any]:
    return {
        "event": "failed",
        "message": error.message,
        "hint": error.hint,
        "traceback": None,
        "exit_code": error.exit_code,
    }


def main(folder: str, attempt: str, notice: str) -> int:
    """Run the job of *folder*, or answer it, where it is a probe."""
    if (Path(folder) / preflight.QUESTION).exists():
        return preflight.answer(JobFolder(Path(folder), Path(folder).name), os.environ.get("SLURMD_NODENAME", ""))
    return Task.load(Path(folder), Path(attempt), seconds_of(f"{notice}s")).run()
