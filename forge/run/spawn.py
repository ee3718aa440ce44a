"""Start worker processes, each in a session of its own, with pipes to talk through. Little is imported here.

A worker is a fresh Python. The first ones of a build may be forked from `forge` itself, while there is one thread
and before any plugin was imported: they make ready while the build looks what there is to do.
"""

from __future__ import annotations

import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

ENVIRONMENT = {
    # fetching is a step of its own: nothing else opens a connection
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    # logs are read by people; progress goes through `Run`
    "TQDM_DISABLE": "1",
    # threads that spin at a barrier starve each other wherever cores are shared: 27 tokens/s against 84 at load 7;
    # those that sleep at once lose a tenth where they are not: some microseconds are in between
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "2000",
    "PYTHONUNBUFFERED": "1",
}
PREPARE = "prepare "
"""What a line begins with that is no job."""
_LOOK = 0.005
"""Seconds between two looks whether a process has ended."""


class Process:
    """Hold a worker: its process, the pipe to it, and the pipe from it."""

    def __init__(self, pid: int, to: int, out: int) -> None:
        """Hold process *pid*, which reads jobs from *to* and writes events to *out* (our ends of the pipes)."""
        self.pid = pid
        self.to = to
        self.out = out
        self.status: int | None = None

    def prepare(self, modules: Iterable[str]) -> None:
        """Have the worker import *modules*, which its jobs will want, while nobody waits for it."""
        try:  # noqa: SIM105  # contextlib costs a millisecond
            os.write(self.to, f"{PREPARE}{' '.join(modules)}\n".encode())
        except BrokenPipeError:
            pass  # its closed output tells whoever gives it a job

    def wait(self, seconds: float | None = None) -> int | None:
        """Return the exit status, negative for a signal, or None if it still runs after *seconds*.

        What a worker has started ends with it: a step's command that ignores signals would go on beside the next build.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while self.status is None:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | (0 if deadline is None else os.WNOHANG)):
                self.signal(signal.SIGKILL)  # until it is waited for nobody else can get its number
                self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            elif deadline is not None:
                if time.monotonic() >= deadline:
                    return None
                time.sleep(_LOOK)
        return self.status

    def signal(self, number: int) -> None:
        """Send a signal to the worker and to all that it started."""
        if self.status is None:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                os.kill(self.pid, number)  # it was forked a moment ago and has no session of its own yet

    def close(self) -> None:
        """Close the pipes."""
        for end in (self.to, self.out):
            os.close(end)


def keep_standard() -> None:
    """Open what is closed of the standard streams on nothing (`forge build … >&-`): a pipe would take its number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # Python found it closed; a file gets the lowest number that is free
            nothing = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115  # it stays open
            os.set_inheritable(nothing.fileno(), True)  # noqa: FBT003  # a worker has it too, as it has what is open
            setattr(sys, name, nothing)


def start(words: tuple[str, ...] = ("-m", "forge.run.worker")) -> Process:
    """Start a fresh Python that serves jobs."""
    keep_standard()
    (their_in, to), (out, their_out) = os.pipe(), os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, *words],
        os.environ | ENVIRONMENT,
        file_actions=[(os.POSIX_SPAWN_DUP2, their_in, 0), (os.POSIX_SPAWN_DUP2, their_out, 1)],
        setsid=True,
    )
    os.close(their_in)
    os.close(their_out)
    return Process(pid, to, out)


def fork(spares: list[Process]) -> Process:
    """Fork one more worker than *spares* from this process, which must have one thread and no heavy module."""
    keep_standard()
    (their_in, to), (out, their_out) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        # the end of its input tells a worker that the build is gone: nobody else may hold the other end
        _serve(their_in, their_out, (to, out, *(end for spare in spares for end in (spare.to, spare.out))))
    os.close(their_in)
    os.close(their_out)
    return Process(pid, to, out)


def _serve(their_in: int, their_out: int, others: tuple[int, ...]) -> NoReturn:
    try:
        os.setsid()
        for end in others:
            os.close(end)
        os.dup2(their_in, 0)
        os.dup2(their_out, 1)
        os.close(their_in)
        os.close(their_out)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # `nohup` has it ignored
                signal.signal(number, signal.SIG_DFL)
        os.environ.update(ENVIRONMENT)
        from forge.run.worker import main

        main()
    except BaseException:  # noqa: BLE001  # nothing of the parent's code may run in the child
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)
