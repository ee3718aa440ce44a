"""Run a shell command as a step."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections import deque
from typing import TYPE_CHECKING

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


_TAIL = 5
"""Lines of its errors that a failed command's message shows."""
_LOOK = 0.1
"""Seconds between two looks whether the shell has ended, while something holds the pipe of its errors."""
_PIECE = 1 << 20
"""Bytes: as much as a pipe can hold."""
_GRACE = 10.0
"""Seconds that killed processes get to be gone."""


@attrs.frozen
class Command:
    """Run *command* with ``sh -c``.

    ``"$@"`` are the inputs' paths in the order of ``from``, a one-file artifact as that file; ``$OUT`` is the folder
    to fill; the working folder is empty at every attempt, and removed afterwards. The step ends when the shell does:
    what it left running is killed. Only the variables named in *environment* come through, besides PATH, HOME, LANG,
    LC_ALL and TMPDIR; their values are in no key, so a result must not depend on them.
    """

    command: str
    environment: tuple[str, ...] = ()

    def make(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Run the command and refuse a status other than 0."""
        environment = {n: os.environ[n] for n in (*_KEPT, *self.environment) if n in os.environ}
        arguments = [_place(artifact) for artifact in inputs.values()]
        work = out.with_name(f"{out.name}.work")  # what it leaves in `run.scratch` would be there in the next attempt
        work.mkdir()
        tail: deque[str] = deque(maxlen=_TAIL)
        with subprocess.Popen(
            ["sh", "-c", self.command, "sh", *arguments],
            cwd=work,
            env=environment | {"OUT": str(out)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
        ) as process:
            for line in map(str.rstrip, _errors(process)):
                run.log(line)
                if line:
                    tail.append(line)
        left = _end_what_is_left(out)
        if left:
            run.warn(f"the command ended and left {left} of its processes running: they were killed")
        code = process.returncode
        if code:
            how = f"was killed by {_name(-code)}" if code < 0 else f"ended with status {code}"
            raise forge.StepError("\n  ".join([f"the command {how}", *tail]), hint=f"the command was: {self.command}")


def _errors(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield the lines of its errors until it has ended; what it left running may hold the pipe for longer."""
    assert process.stderr is not None  # noqa: S101  # it is a pipe
    pipe = process.stderr.fileno()
    os.set_blocking(pipe, False)
    rest, ended = b"", False
    while not ended:
        ended = process.poll() is not None  # asked first: what it has said by then is in the pipe
        if select.select([pipe], [], [], 0 if ended else _LOOK)[0]:
            piece = os.read(pipe, _PIECE)
            ended = ended or not piece
            *lines, rest = (rest + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
    if rest:
        yield rest.decode(errors="replace")


def _end_what_is_left(out: Path) -> int:
    """Kill the processes of this group that were given *out* to fill, and return how many there were."""
    found: set[int] = set()
    deadline = time.monotonic() + _GRACE
    while left := _given(out):
        if time.monotonic() > deadline:
            listed = ", ".join(map(str, sorted(left)))
            raise forge.StepError(f"processes that the command left can't be ended: {listed}", hint="end them by hand")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            found.add(pid)
        time.sleep(0.01)
    return len(found)


def _given(out: Path) -> set[int]:
    """Return the processes of this group whose ``OUT`` is *out*; where the system has no `/proc` none are found."""
    mark, group, found = f"OUT={out}".encode(), os.getpgrp(), set()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        try:
            if not name.isdecimal() or os.getpgid(int(name)) != group:
                continue
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    found.add(int(name))
        except OSError:  # it has ended meanwhile, or is somebody else's
            continue
    return found


def _name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _place(artifact: forge.Artifact) -> str:
    """Return where the only file of an artifact lies, or the folder that holds several."""
    with os.scandir(artifact.path) as entries:
        first, *others = entries
    if not others and first.is_file():  # a command may have thousands of inputs, and most are of this kind
        return first.path
    files = artifact.files()
    return str(next(iter(files.values())) if len(files) == 1 else artifact.path)


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register `run.command`."""
    register.transform("command", Command, version="1")
