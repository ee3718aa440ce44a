"""What the store and the controller know of jobs, for whoever asks without building."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from forge.run.slurm.folder import JobFolder
from forge.store.actions import Actions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forge.run.slurm.client import Listed, Slurm
    from forge.run.slurm.folder import Submission
    from forge.store.base import Store


@attrs.frozen
class Entry:
    """State how the last submission of one action does: ``state`` in a word, ``detail`` in more of them."""

    step: str
    key: str
    manifest: str
    job: str
    state: str
    alive: bool = False
    detail: str = ""
    time: str = ""
    submitted: float = 0.0


def entries(store: Store, slurm: Slurm, manifest: str = "") -> list[Entry]:
    """Return the last submission of every action, the newest last; *manifest* is the path of one, absolute."""
    listed: dict[tuple[str, str], list[Listed]] = {}
    for job in slurm.jobs():
        listed.setdefault((job.key, job.ticket), []).append(job)
    found = [
        _entry(store, folder, submission, listed.get((folder.key, submission.ticket), []))
        for folder, submission in last_submissions(store)
        if not manifest or submission.manifest == manifest
    ]
    return sorted(found, key=lambda entry: entry.submitted)


def last_submissions(store: Store) -> Iterator[tuple[JobFolder, Submission]]:
    """Yield the folder and the last submission of every action that was ever a job."""
    for path in (store.root / "jobs").glob("*/job.json"):
        folder = JobFolder(path.parent, path.parent.name)
        submissions = folder.submissions()
        if submissions:
            yield folder, submissions[-1]


def newest(store: Store, step: str, manifest: str = "") -> str | None:
    """Return the key of the action that was last submitted for a step of this name."""
    found = [
        (submission.submitted, folder.key)
        for folder, submission in last_submissions(store)
        if submission.step == step and (not manifest or submission.manifest == manifest)
    ]
    return max(found)[1] if found else None


def _entry(store: Store, folder: JobFolder, submission: Submission, jobs: list[Listed]) -> Entry:
    alive = [job for job in jobs if job.alive]
    state, detail = _ended(store, folder, submission, jobs)
    if alive:
        states: dict[str, int] = {}
        for job in alive:
            states[job.state.lower()] = states.get(job.state.lower(), 0) + 1
        state = ", ".join(word if len(alive) == 1 else f"{count} {word}" for word, count in states.items())
        detail = _whereabouts(alive, folder, submission)
    return Entry(
        submission.step,
        folder.key,
        submission.manifest,
        submission.id or (jobs[-1].array if jobs else ""),
        state,
        bool(alive),
        detail,
        alive[0].time if alive else "",
        submission.submitted,
    )


def _whereabouts(alive: list[Listed], folder: JobFolder, submission: Submission) -> str:
    nodes = dict.fromkeys(job.node for job in alive if job.node)
    reasons = dict.fromkeys(job.reason for job in alive if job.state == "PENDING" and job.reason != "None")
    parts = [f"on {', '.join(nodes)}"] if nodes else []
    parts += [f"({', '.join(reasons)})"] if reasons else []
    if submission.shards:
        done = sum(folder.last_exit(submission.ticket, index) is not None for index in submission.indices)
        parts.append(f"{done} of {len(submission.shards)} tasks done")
    return " ".join(parts)


def _ended(store: Store, folder: JobFolder, submission: Submission, jobs: list[Listed]) -> tuple[str, str]:
    if Actions(store).read(folder.key) is not None:
        return "done", ""
    exits = [folder.last_exit(submission.ticket, index) for index in submission.indices]
    failed = [each for each in exits if each is not None and each.code]
    if failed:
        result: Mapping[str, object] = failed[0].result or {}
        return "failed", str(result.get("message", f"status {failed[0].code}")).split("\n", 1)[0]
    if all(exits):
        return "done", "waits for the next build to go on"
    with suppress(IndexError):
        return jobs[-1].state.lower(), ""
    if not submission.id:
        return "not submitted", "`sbatch` took no such job; the next build tries again"
    return "gone", "the next build submits it again"
