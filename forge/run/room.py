"""What a machine has, what steps need of it, and whether one more fits beside those that run."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

import attrs

from forge.core.step import bytes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forge.core.step import Step


@attrs.frozen
class Need:
    """Say what one step takes while it runs: cores, bytes of memory, GPUs, or the whole machine.

    ``step`` is whose need it is, where a cluster is to be asked; ``rows`` is how many come in, where that is known.
    """

    cpus: int = 1
    memory: int = 0
    gpus: int = 0
    alone: bool = False
    step: Step | None = attrs.field(default=None, eq=False, repr=False)
    rows: int | None = attrs.field(default=None, eq=False, repr=False)

    @classmethod
    def of(cls, step: Step, rows: int | None = None) -> Need:
        """Return what *step* declares; a heavy one that declares no cores wants the machine for itself."""
        asked = step.resources
        memory = bytes_of(asked.memory) if asked.memory else 0
        return cls(asked.cpus or 1, memory, asked.gpus, step.heavy and asked.cpus is None, step, rows)


@attrs.frozen
class Room:
    """Hold what a machine has for *jobs* steps at once."""

    jobs: int
    cpus: int
    memory: int
    gpus: int

    @classmethod
    def here(cls, jobs: int) -> Room:
        """Return what this machine has."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        gpus = len(glob.glob("/dev/nvidia[0-9]*"))
        return cls(jobs, max(jobs, os.cpu_count() or 1), memory, gpus)

    def fits(self, need: Need, running: Sequence[Need]) -> bool:
        """Say whether a step can start beside those that run; one that wants more than there is starts alone."""
        if not running:
            return True
        if need.alone or any(each.alone for each in running) or len(running) >= self.jobs:
            return False
        beside = (*running, need)
        return (
            sum(each.cpus for each in beside) <= self.cpus
            and sum(each.memory for each in beside) <= self.memory
            and (not need.gpus or sum(each.gpus for each in beside) <= self.gpus)
        )
