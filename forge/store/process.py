"""Whether a process of this machine is still the one that wrote its number down."""

from __future__ import annotations

import os


def hostname() -> str:
    """Return what this machine calls itself; `socket`, which says the same, takes milliseconds to import."""
    return os.uname().nodename


_STARTTIME = 19
"""Where proc(5)'s `starttime`, its 22nd field, stands after the process's name."""


def birth(pid: int) -> str:
    """Return when a process began, in ticks since the machine did; nothing where the system does not say."""
    return next(iter(_stat(pid)[_STARTTIME:]), "")


def lives(pid: int, born: str = "") -> bool:
    """Say whether process *pid* runs, and is the one that began at *born*: numbers are given again.

    One that has ended and that nobody has waited for, as in a container whose first process reaps none, is dead.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's is there all the same
    if _stat(pid)[:1] in (["Z"], ["X"]):
        return False
    return not born or birth(pid) in ("", born)


def _stat(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []
