"""Run a shell command as a step."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from typing import TYPE_CHECKING

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


_TAIL = 5
"""Lines of its errors that a failed command's message shows."""


@attrs.frozen
class Command:
    """Run *command* with ``sh -c``.

    ``"$@"`` are the inputs' paths in the order of ``from``, a one-file artifact as that file; ``$OUT`` is the folder
    to fill; the working folder is scratch. Only the variables named in *environment* come through, besides PATH,
    HOME, LANG, LC_ALL and TMPDIR; their values are in no key, so a result must not depend on them.
    """

    command: str
    environment: tuple[str, ...] = ()

    def make(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Run the command and refuse a status other than 0."""
        environment = {n: os.environ[n] for n in (*_KEPT, *self.environment) if n in os.environ}
        arguments = [_place(artifact) for artifact in inputs.values()]
        tail: deque[str] = deque(maxlen=_TAIL)
        with subprocess.Popen(
            ["sh", "-c", self.command, "sh", *arguments],
            cwd=run.scratch,
            env=environment | {"OUT": str(out)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            assert process.stderr is not None  # noqa: S101  # it is a pipe
            for line in map(str.rstrip, process.stderr):
                run.log(line)
                if line:
                    tail.append(line)
        code = process.returncode
        if code:
            how = f"was killed by {_name(-code)}" if code < 0 else f"ended with status {code}"
            raise forge.StepError("\n  ".join([f"the command {how}", *tail]), hint=f"the command was: {self.command}")


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
