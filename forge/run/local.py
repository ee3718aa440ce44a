"""Run jobs in worker processes on this machine."""

from __future__ import annotations

import json
import os
import select
import selectors
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from forge.plugin.table import MAPPED_FROM
from forge.run import spawn
from forge.run.room import Need, Room
from forge.store.disk import remove

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forge.core.files import Files
    from forge.plan.graph import Graph
    from forge.run.job import Job
    from forge.run.spawn import Process

_GRACE = 5.0
"""Seconds that a worker gets to end before it is killed."""
_KEEPS = 60.0
"""Seconds that one which trains gets to end the step of its training, and to keep what it goes on from."""
_LOOK = 0.02


_TABULAR = {"read", "transform", "merge", "split", "label", "request"}
"""What steps do that needs Polars."""
_POLARS = "polars"


def prepare_early(spares: Sequence[Process], verb: str) -> None:
    """Have the first of *spares* import what a step of this *verb* needs, while the others are still looked up."""
    if spares and verb in _TABULAR:
        spares[0].prepare([_POLARS])


def prepare(spares: Sequence[Process], graph: Graph) -> None:
    """Have *spares* import what the first jobs will want, while the build still looks what there is to do.

    Nothing of a plugin is among it: a step's code is imported once its key is known, and compared with it.
    """
    steps = graph.steps.values()
    wanted = [_POLARS] if any(step.verb in _TABULAR for step in steps) else []
    with suppress(OSError):  # files that can't be looked at fail their own step
        if wanted and any(_are_large(files) for step in steps for files in step.files.values()):
            wanted.append("pyarrow.ipc")
    for step in steps:
        ask = getattr(step.instance, "imports", None)
        if not step.needs and callable(ask):
            with suppress(OSError):
                wanted += [module for module in ask() if module.partition(".")[0] not in graph.packages]
    if wanted:
        for spare in spares[: sum(not step.needs for step in steps)]:
            spare.prepare(dict.fromkeys(wanted))


def _are_large(files: Files) -> bool:
    """Say whether the table that is made of *files* will be mapped when it is read."""
    return sum(os.path.getsize(file.path) for file in files) >= MAPPED_FROM


@attrs.define(eq=False)
class _Worker:
    """Hold a worker and its job; ``staged`` is the folder in which the job's result is being made."""

    process: Process
    job: Job | None = None
    need: Need = attrs.Factory(Need)
    buffer: bytes = b""
    staged: str = ""

    def hear(self, data: bytes) -> list[dict[str, Any]]:
        """Return the events that *data* completes, but for where a result is being made, which nobody else asks."""
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        events = [json.loads(line) for line in lines] if self.job is not None else []
        for event in events:
            if event["event"] == "staged":
                self.staged = event["folder"]
        return [event for event in events if event["event"] != "staged"]


@attrs.define
class LocalExecutor:
    """Keep up to *jobs* workers; a worker lives on from job to job, so that imports are paid for once.

    *spares* were started before it was known whether there is work; those that are used are taken out.
    """

    jobs: int
    spares: list[Process] = attrs.Factory(list)
    room: Room = attrs.Factory(lambda self: Room.here(self.jobs), takes_self=True)
    workers: list[_Worker] = attrs.Factory(list)
    selector: selectors.BaseSelector = attrs.Factory(selectors.DefaultSelector)

    def has_room(self, need: Need) -> bool:
        """Say whether a job can start now beside those that run."""
        return self.room.fits(need, [w.need for w in self.workers if w.job is not None])

    def is_full(self) -> bool:
        """Say whether not even the smallest job can start now."""
        return not self.has_room(Need())

    def submit(self, job: Job, need: Need) -> None:
        """Hand the job to an idle worker, or to a new one."""
        worker = next((w for w in self.workers if w.job is None), None) or self._start()
        worker.job, worker.need = job, need
        line = memoryview(job.dump().encode() + b"\n")
        try:
            while line:
                line = line[os.write(worker.process.to, line) :]
        except BrokenPipeError:
            # it died while idle; its closed output tells `wait`
            return

    def wait(self, seconds: float = 1.0) -> list[tuple[str, dict[str, Any]]]:
        """Wait for events of any worker; one that died has failed its job."""
        found: list[tuple[str, dict[str, Any]]] = []
        for key, _ in self.selector.select(timeout=seconds):
            worker: _Worker = key.data
            data = os.read(key.fd, 1 << 16)
            if not data:
                found += self._died(worker)
                continue
            for event in worker.hear(data):
                if worker.job is None:
                    continue
                found.append((worker.job.key, event))
                if event["event"] in ("done", "failed"):
                    worker.job = None
        return found

    def ears(self) -> list[int]:
        """Return the descriptors that can be read when a worker has something to say."""
        return [worker.process.out for worker in self.workers]

    def close(self) -> None:
        """End all workers: by a signal on which a step may keep its state, then by force."""
        for worker in self.workers:
            worker.process.signal(signal.SIGKILL if worker.job is None else signal.SIGTERM)
        long = [w.job.step for w in self.workers if w.job is not None and w.job.kind == "trainer"]
        if long:
            names = ", ".join(f"`{name}`" for name in long)
            said = f"\n{names} may keep a checkpoint: waiting for at most {_KEEPS:.0f} s; again to end at once"
            print(said, file=sys.stderr, flush=True)  # noqa: T201
        deadline = time.monotonic() + (_KEEPS if long else _GRACE)
        for worker in self.workers:
            while worker.job is not None and worker.process.wait(_LOOK) is None and time.monotonic() < deadline:
                self._hear_last(worker)
            worker.process.signal(signal.SIGKILL)
            worker.process.wait()
            self._leave(worker)
        self.workers.clear()

    def _hear_last(self, worker: _Worker) -> None:
        """Hear whether a worker that was told to end has said its last word: its step has left off."""
        heard = select.select([worker.process.out], [], [], _LOOK)[0]
        data = os.read(worker.process.out, 1 << 16) if heard else b""
        if any(event["event"] in ("done", "failed") for event in worker.hear(data)):
            worker.job = None

    def _start(self) -> _Worker:
        worker = _Worker(self.spares.pop(0) if self.spares else spawn.start())
        self.workers.append(worker)
        self.selector.register(worker.process.out, selectors.EVENT_READ, worker)
        return worker

    def _died(self, worker: _Worker) -> list[tuple[str, dict[str, Any]]]:
        worker.process.signal(signal.SIGKILL)
        code = worker.process.wait() or 0
        self._leave(worker)
        self.workers.remove(worker)
        if worker.job is None:
            return []
        how = (
            f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with status {code}"
        )
        hint = "build again: finished steps and checkpoints are kept"
        if code == -signal.SIGKILL:
            hint = "where nobody killed it, the machine ran out of memory; " + hint
        message = f"the process that ran step `{worker.job.step}` {how}"
        return [
            (worker.job.key, {"event": "failed", "message": message, "hint": hint, "traceback": None, "exit_code": 1})
        ]

    def _leave(self, worker: _Worker) -> None:
        """Forget a worker that has ended, and remove what it has left half made."""
        if worker.job is not None and os.path.isdir(worker.staged):
            # what can't be removed is garbage that a collection takes
            with suppress(OSError):
                remove(Path(worker.staged))
        self.selector.unregister(worker.process.out)
        worker.process.close()
