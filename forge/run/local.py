"""Run jobs in worker processes on this machine."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from forge.run.job import Job

_GRACE = 5.0
"""Seconds that a worker gets to end before it is killed."""

ENVIRONMENT = {
    # fetching is a step of its own: nothing else opens a connection
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    # logs are read by people; progress goes through `Run`
    "TQDM_DISABLE": "1",
    # threads that spin at a barrier starve each other wherever cores are shared: 27 tokens/s against 84 at load 7
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONUNBUFFERED": "1",
}


@attrs.define(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    job: Job | None = None
    heavy: bool = False
    buffer: bytes = b""


@attrs.define
class LocalExecutor:
    """Keep up to *jobs* workers; a worker lives on from job to job, so that imports are paid for once."""

    jobs: int
    workers: list[_Worker] = attrs.Factory(list)
    selector: selectors.BaseSelector = attrs.Factory(selectors.DefaultSelector)

    def has_room(self, *, heavy: bool) -> bool:
        """Say whether a job can start now; a heavy one runs alone."""
        busy = [w for w in self.workers if w.job is not None]
        if any(w.heavy for w in busy):
            return False
        return not busy if heavy else len(busy) < self.jobs

    def submit(self, job: Job, *, heavy: bool) -> None:
        """Hand the job to an idle worker, or to a new one."""
        worker = next((w for w in self.workers if w.job is None), None) or self._start()
        worker.job, worker.heavy = job, heavy
        assert worker.process.stdin is not None  # noqa: S101  # for the type checker
        try:
            worker.process.stdin.write(job.dump().encode() + b"\n")
            worker.process.stdin.flush()
        except BrokenPipeError:
            # it died while idle; its closed output tells `wait`
            return

    def wait(self) -> list[tuple[str, dict[str, Any]]]:
        """Wait for events of any worker; one that died has failed its job."""
        found: list[tuple[str, dict[str, Any]]] = []
        for key, _ in self.selector.select(timeout=1.0):
            worker: _Worker = key.data
            data = os.read(key.fd, 1 << 16)
            if not data:
                found += self._died(worker)
                continue
            *lines, worker.buffer = (worker.buffer + data).split(b"\n")
            for line in lines:
                if worker.job is None:
                    continue
                event = json.loads(line)
                found.append((worker.job.key, event))
                if event["event"] in ("done", "failed"):
                    worker.job, worker.heavy = None, False
        return found

    def close(self) -> None:
        """End all workers: by closing their input, then by force."""
        for worker in self.workers:
            _signal(worker.process, signal.SIGKILL if worker.job is None else signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for worker in self.workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(worker.process, signal.SIGKILL)
                worker.process.wait()
            self._close_pipes(worker)
        self.workers.clear()

    def _start(self) -> _Worker:
        process = subprocess.Popen(
            [sys.executable, "-m", "forge.run.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | ENVIRONMENT,
        )
        assert process.stdout is not None  # noqa: S101  # for the type checker
        worker = _Worker(process)
        self.workers.append(worker)
        self.selector.register(process.stdout, selectors.EVENT_READ, worker)
        return worker

    def _died(self, worker: _Worker) -> list[tuple[str, dict[str, Any]]]:
        _signal(worker.process, signal.SIGKILL)
        code = worker.process.wait()
        self._close_pipes(worker)
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

    def _close_pipes(self, worker: _Worker) -> None:
        for pipe in (worker.process.stdout, worker.process.stdin):
            if pipe is None:
                continue
            if pipe is worker.process.stdout:
                self.selector.unregister(pipe)
            try:
                pipe.close()
            except BrokenPipeError:
                continue


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a worker and all it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
