"""Find out before anything is submitted what a cluster would refuse, and what differs on its nodes.

`sinfo` says what partitions have; a probe job in each that is used says whether the store is there too, whether a
worker starts, and which versions it has.
"""

from __future__ import annotations

import json
import platform
import time
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge.core.errors import Problem, StepError
from forge.core.step import Resources, bytes_of, seconds_of
from forge.core.suggest import did_you_mean
from forge.run.slurm.client import PREFIX
from forge.run.slurm.folder import NO_INDEX, JobFolder, Submission, draw
from forge.run.slurm.script import script
from forge.run.slurm.verdict import tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forge.core.step import Step
    from forge.plan.graph import Graph
    from forge.plan.profile import Profile
    from forge.run.slurm.client import Slurm
    from forge.store.base import Store

QUESTION = "question.json"
"""What makes a job's folder that of a probe."""
ANSWER = "answer.json"
_FIELDS = "%P|%l|%G|%c|%m|%a"
_LIMIT = "5m"
"""Time limit of a probe."""
_PACKAGES = ("torch", "transformers", "peft", "polars", "llama-cpp-python")
"""Distributions that decide what most steps make, whatever the steps themselves declare."""
_MEBIBYTE = 1 << 20


@attrs.frozen
class Partition:
    """State what one partition offers: the most that one of its nodes has; *seconds* is None without a limit."""

    name: str
    gpus: int
    cpus: int
    memory: int
    seconds: int | None
    up: bool
    default: bool


def partitions(slurm: Slurm) -> dict[str, Partition]:
    """Return the cluster's partitions by name."""
    found: dict[str, Partition] = {}
    for line in slurm.run("sinfo", "--noheader", f"--format={_FIELDS}").splitlines():
        name, limit, gres, cpus, memory, state = (cell.strip() for cell in line.split("|"))
        plain = name.rstrip("*")
        one = Partition(
            plain,
            _gpus(gres),
            int(cpus.rstrip("+")),
            int(memory.rstrip("+")) * _MEBIBYTE,
            _limit(limit),
            state == "up",
            name.endswith("*"),
        )
        before = found.get(plain, one)
        most = {field: max(getattr(before, field), getattr(one, field)) for field in ("gpus", "cpus", "memory")}
        found[plain] = attrs.evolve(one, **most)
    return found


def problems(graph: Graph, profile: Profile, slurm: Slurm) -> list[Problem]:
    """Return what the cluster would refuse of the graph's jobs, by what `sinfo` says."""
    known = partitions(slurm)
    places = {table.name: table for table in graph.manifest.steps}
    found = []
    for step in graph.steps.values():
        if not profile.is_job(step):
            continue
        place = places[step.name].place_of("resources")
        for message, hint in _refusals(profile.resources_of(step), known):
            found.append(Problem(message, place.file, place.line, step.name, hint))
    return found


def _refusals(asked: Resources, known: Mapping[str, Partition]) -> Iterator[tuple[str, str | None]]:
    names = asked.partition.split(",") if asked.partition else [p.name for p in known.values() if p.default]
    if not names:
        yield "no `partition` is asked for and the cluster has no default", "name one in `[executor.resources]`"
    for name in names:
        there = known.get(name)
        if there is None:
            yield f"the cluster has no partition `{name}`", did_you_mean(name, known) or _listed(known)
            continue
        if not there.up:
            yield f"the partition `{name}` is not up", None
        if asked.gpus > there.gpus:
            yield f"`gpus = {asked.gpus}`: a node of partition `{name}` has {there.gpus}", _listed(known)
        if (asked.cpus or 0) > there.cpus:
            yield f"`cpus = {asked.cpus}`: a node of partition `{name}` has {there.cpus}", None
        if asked.memory is not None and bytes_of(asked.memory) > there.memory:
            has = f"{there.memory // _MEBIBYTE:,} MiB"
            yield f'`memory = "{asked.memory}"`: a node of partition `{name}` has {has}', None
        if asked.time is not None and there.seconds is not None and seconds_of(asked.time) > there.seconds:
            hours = f"{there.seconds / 3600:g} h"
            hint = "a step that checkpoints may ask for less: it is requeued and goes on"
            yield f'`time = "{asked.time}"`: partition `{name}` allows {hours}', hint


def probe(graph: Graph, profile: Profile, slurm: Slurm, store: Store, patience: float) -> tuple[list[str], list[str]]:
    """Run a probe job for each kind of place that the graph's jobs go to; return what differs and what is known.

    A probe that is still waiting after *patience* seconds is ended; that is told and is no fault.
    """
    asked = {
        attrs.evolve(r, time=_LIMIT, cpus=None, memory=None): step
        for step in graph.steps.values()
        if profile.is_job(step)
        for r in [profile.resources_of(step)]
    }
    packages = sorted({*_PACKAGES, *(name for step in graph.steps.values() for name in step.facts)})
    faults: list[str] = []
    notes: list[str] = []
    probes = [(resources, *_submitted(resources, profile, slurm, store, graph, packages)) for resources in asked]
    deadline = time.monotonic() + patience
    for resources, folder, submission in probes:
        place = f"partition `{resources.partition or 'default'}`" + (" with a GPU" if resources.gpus else "")
        answer = _answer(folder, submission, slurm, deadline)
        if isinstance(answer, str):
            (notes if answer.startswith("waits") else faults).append(f"{place}: the probe job {answer}")
            continue
        differ = list(_differences(answer["versions"], versions(packages)))
        faults += [f"{place}, node `{answer['node']}`: {each}" for each in differ]
        if not differ:
            notes.append(f"{place}: node `{answer['node']}` shares the store and has the same versions")
    return faults, notes


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions here of Python, forge, the distributions that bring plugins, and *packages*."""
    found = {"python": platform.python_version(), "forge": forge.__version__}
    names = {point.dist.name for point in entry_points(group="forge") if point.dist is not None}
    for name in sorted({*names, *packages} - {"forge"}):
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def answer(folder: JobFolder, node: str) -> int:
    """Answer a probe: what runs in its job."""
    question = json.loads((folder.path / QUESTION).read_text(encoding="utf-8"))
    told = {"nonce": question["nonce"], "node": node, "versions": versions(question["packages"])}
    folder.write(ANSWER, json.dumps(told))
    return 0


def _submitted(
    resources: Resources, profile: Profile, slurm: Slurm, store: Store, graph: Graph, packages: list[str]
) -> tuple[JobFolder, Submission]:
    ticket = draw()
    folder = JobFolder.of(store, f"probe-{ticket}")
    folder.make()
    submission = Submission(ticket, "probe", str(graph.manifest.path.absolute()))
    folder.write(QUESTION, json.dumps({"nonce": ticket, "packages": packages}))
    root = str(graph.manifest.root.absolute())
    text = script(profile, resources, folder, submission, root, slurm.comment(ticket))
    path = folder.write(f"script-{ticket}.sh", text)
    return folder, attrs.evolve(submission, id=slurm.submit(path))


def _answer(folder: JobFolder, submission: Submission, slurm: Slurm, deadline: float) -> dict[str, Any] | str:
    """Return the probe's answer, or in words what became of it."""
    pause, state = 0.1, ""
    while True:
        try:
            found: dict[str, Any] = json.loads((folder.path / ANSWER).read_bytes())
        except (OSError, ValueError):
            pass
        else:
            return found if found.get("nonce") == submission.ticket else "answered another question"
        ended = folder.last_exit(submission.ticket, NO_INDEX)
        if ended is not None and not (folder.path / ANSWER).exists():
            said = tail(folder.path / "slurm.log")
            return f"ended with status {ended.code}, so no worker starts there:\n{said}".rstrip(":\n")
        mine = [job for job in slurm.jobs() if job.name == PREFIX + folder.key]
        if not any(job.alive for job in mine):
            time.sleep(1.0)  # what a node writes may take a moment to be seen here
            if not (folder.path / ANSWER).exists() and folder.last_exit(submission.ticket, NO_INDEX) is None:
                state = mine[-1].state if mine else "gone"
                return f"ended ({state}) and left nothing in the store: is `{folder.path.parents[1]}` shared?"
            continue
        if time.monotonic() > deadline:
            slurm.end([job.id for job in mine if job.alive])
            return f"waits for its turn ({mine[-1].reason}), so its nodes are not known: `--wait` waits longer"
        time.sleep(pause)
        pause = min(pause * 1.5, 3.0)


def _differences(there: Mapping[str, str], here: Mapping[str, str]) -> Iterator[str]:
    for name, value in here.items():
        other = there.get(name, "not installed")
        if other != value:
            yield f"`{name}` is {other} there and {value} here"


def _gpus(gres: str) -> int:
    """Return the GPUs in what `sinfo` says of a node's resources: ``gpu:a40:2(S:0-1),fs:1``."""
    count = 0
    for each in gres.split(","):
        words = each.partition("(")[0].split(":")
        if words[0] == "gpu" and words[-1].isdigit():
            count += int(words[-1])
    return count


def _limit(text: str) -> int | None:
    """Return the seconds of a limit as `sinfo` writes it: ``infinite``, ``1-00:00:00``, ``30:00``."""
    if not text[:1].isdigit():
        return None
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + part
    return int(days or 0) * 86400 + seconds * (60 if len(parts) == 1 else 1)


def _listed(known: Mapping[str, Partition]) -> str:
    return "it has " + ", ".join(f"`{p.name}` ({p.gpus} GPUs, {p.cpus} cpus a node)" for p in known.values())


def check(graph: Graph, profile: Profile, slurm: Slurm, store: Store, patience: float) -> tuple[list[str], int]:
    """Return what the probes say, and how many steps are jobs; raise StepError where a node would not do."""
    steps: list[Step] = [step for step in graph.steps.values() if profile.is_job(step)]
    faults, notes = probe(graph, profile, slurm, store, patience) if steps else ([], [])
    if faults:
        listed = "".join(f"\n  {fault}" for fault in faults)
        hint = "`python` and `setup` of the profile say what runs there; the store must lie where all nodes see it"
        raise StepError(f"the nodes are not as this machine:{listed}", hint=hint)
    return notes, len(steps)
