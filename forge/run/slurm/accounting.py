"""What Slurm's accounting knows of jobs, where there is any: how they ended, how long they took, their memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import StepError, StoreError
from forge.core.step import bytes_of
from forge.run.slurm.client import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forge.run.slurm.client import Slurm
    from forge.run.slurm.folder import Submission
    from forge.store.actions import Actions

_FIELDS = ("JobID", "State", "ElapsedRaw", "MaxRSS", "Reason", "NodeList", "JobName")
_UNFINISHED = ("RUNNING", "PENDING", "COMPLETING", "REQUEUED")
_LAG = 3.0
"""Seconds for which the database may lag behind before we go without what it lacks."""


def note(actions: Actions, slurm: Slurm, settled: Mapping[str, Submission]) -> None:
    """Put what accounting says of jobs into the records of what they made."""
    wanted = {key: each.id for key, each in settled.items() if each.id and actions.read(key) is not None}
    if not wanted:
        return
    known = _asked(slurm, wanted.values())
    for key, job in wanted.items():
        record = actions.read(key)
        found = known.get(job, {})
        if record is None or found.get("name") != PREFIX + key:  # an id may have been given again
            continue
        about: dict[str, Any] = {**record.job}
        about |= {name: value for name, value in found.items() if name != "name" and (name != "memory" or value)}
        if about != record.job:
            try:
                actions.publish(attrs.evolve(record, job=about), durable=False)
            except StoreError:
                return  # the result is there all the same


def _asked(slurm: Slurm, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what is known of jobs by id, waiting a little for the database; nothing where there is no accounting."""
    listed = ",".join(sorted(set(ids)))
    deadline = time.monotonic() + _LAG
    while True:
        try:
            said = slurm.run("sacct", "--noheader", "--parsable2", f"--jobs={listed}", f"--format={','.join(_FIELDS)}")
        except StepError:
            return {}
        found = parsed(said)
        late = [job for job in listed.split(",") if found.get(job, {}).get("state", "PENDING") in _UNFINISHED]
        if not late or time.monotonic() >= deadline:
            return found
        time.sleep(0.5)


def parsed(said: str) -> dict[str, dict[str, Any]]:
    """Return the jobs of `sacct`'s answer; an array is the sum of its tasks, memory is the most of any step."""
    found: dict[str, dict[str, Any]] = {}
    for line in said.splitlines():
        cells = line.split("|")
        if len(cells) != len(_FIELDS):
            continue
        name, state, elapsed, memory, reason, nodes, called = cells
        job = name.partition(".")[0].partition("_")[0]
        about = found.setdefault(job, {"state": "", "elapsed": 0, "memory": 0})
        about["memory"] = max(about["memory"], bytes_of(memory) if memory else 0)
        if "." in name:
            continue
        about["name"] = called
        about["elapsed"] += int(elapsed or 0)
        about["state"] = state.split(" ")[0] if about["state"] in ("", "COMPLETED") else about["state"]
        if state.startswith("CANCELLED by"):
            about["cancelled_by"] = state.split(" ")[-1]
        about |= {k: v for k, v in {"reason": reason, "nodes": nodes}.items() if v not in ("", "None")}
    return found
