"""What a build would ask a cluster for, before it does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from forge.core.step import seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.core.step import Resources
    from forge.plan.forecast import Forecast
    from forge.plan.profile import Profile

_HOUR = 3600


@attrs.frozen
class Planned:
    """State one step's job: *tasks* of an array (1: no array) or None where its rows are not known yet.

    ``gpu_hours`` are what is asked for, None where no time limit is.
    """

    resources: Resources
    tasks: int | None
    at_once: int
    gpu_hours: float | None

    def __str__(self) -> str:
        """Return it in a line: partition, GPUs, cores, memory, time, array."""
        asked = self.resources
        words = [
            asked.partition or "",
            f"gpu:{asked.gpus}" if asked.gpus else "",
            f"{asked.cpus} cpus" if asked.cpus else "",
            asked.memory or "",
            asked.time or "",
        ]
        if self.tasks is None:
            words.append("array, rows not known yet")
        elif self.tasks > 1:
            words.append(f"array of {self.tasks:,}, {min(self.at_once, self.tasks)} at once")
        return " ".join(word for word in words if word) or "as the cluster has it"


def planned(entries: Mapping[str, Forecast], profile: Profile) -> dict[str, Planned]:
    """Return the jobs of the steps that would run, by name."""
    found = {}
    for name, entry in entries.items():
        if entry.will == "hit" or not profile.is_job(entry.step):
            continue
        resources = profile.resources_of(entry.step)
        rows = entry.rows_in
        if rows is None and entry.last is not None:
            rows = entry.last.rows_in
        asks = entry.step.verb == "request"
        tasks = None if asks and rows is None else profile.shards_of(entry.step, rows)
        hours = None
        if not resources.gpus:
            hours = 0.0
        elif resources.time is not None:
            hours = resources.gpus * (tasks or 1) * seconds_of(resources.time) / _HOUR
        found[name] = Planned(resources, tasks, profile.at_once, hours)
    return found


def in_words(jobs: Mapping[str, Planned]) -> str:
    """Return how many jobs and arrays there are, and the GPU hours asked for at most."""
    arrays = [job for job in jobs.values() if job.tasks is None or job.tasks > 1]
    single = len(jobs) - len(arrays)
    parts = [f"{single:,} job{'s' if single != 1 else ''}"]
    if arrays:
        tasks = sum(job.tasks or 0 for job in arrays)
        known = f" of {tasks:,} tasks" if all(job.tasks for job in arrays) else ""
        parts.append(f"{len(arrays):,} array{'s' if len(arrays) != 1 else ''}{known}")
    hours = [job.gpu_hours for job in jobs.values()]
    asked = sum(hour for hour in hours if hour is not None)
    if asked or None in hours:
        open_end = ", and a step with a GPU and no time limit" if None in hours else ""
        parts.append(f"{math.ceil(asked * 10) / 10:g} GPU hours asked for{open_end}")
    return ", ".join(parts)
