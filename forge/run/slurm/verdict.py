"""What became of a job that ended badly, or of which nothing is left, in words and with what to do."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge.core.errors import Interrupted
from forge.run.slurm.folder import NO_INDEX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from forge.run.slurm.client import Listed, Slurm
    from forge.run.slurm.folder import Exit, JobFolder, Submission

_TAIL = 20
"""Lines of a log that are shown."""
_MOST = 8192
"""Bytes of it that are read for them."""
LEFT_OFF = Interrupted.exit_code
"""Exit code of a worker that kept its state and wants to go on later; the script knows it too."""
_NOT_FOUND = (126, 127)
_SIGNAL = 128
_AGAIN = "build again: finished steps and checkpoints are kept"
_LOST = frozenset({"NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL", "COMPLETED"})
"""States in which a job ended through no fault of the step: it is submitted again."""


@attrs.frozen
class Verdict:
    """Say whether a job was *lost*, and is to be submitted again, or *failed*; preemption is never counted."""

    what: Literal["lost", "failed"]
    message: str
    hint: str | None = None
    counted: bool = True


def of_absent(step: str, folder: JobFolder, submission: Submission, last: Listed | None, slurm: Slurm) -> Verdict:
    """Return what to make of a job without an exit record; *last* is how the controller lists it, if it still does."""
    job = f"job {last.shown if last else submission.id}"
    if last is None:
        return Verdict("lost", f"the controller no longer knows {job} of step `{step}`, which left no exit record")
    if last.state == "CANCELLED":
        who = _who(slurm.detail(last.id))
        return Verdict("failed", f"{job} was cancelled{who}, by `scancel` or by an administrator", _AGAIN)
    if last.state in ("TIMEOUT", "DEADLINE"):
        return _timed_out(f"{job} of step `{step}`", folder, submission, last)
    if last.state == "OUT_OF_MEMORY":
        return Verdict("failed", f"{job} ran out of memory", "give its `resources` more `memory`")
    if last.state in _LOST or not (folder.path / "job.json").exists():
        gone = "" if last.state in _LOST else ", and its folder is no longer in the store"
        message = f"{job} of step `{step}` ended as {last.state} without an exit record{gone}"
        return Verdict("lost", message, counted=last.state != "PREEMPTED")
    detail = slurm.detail(last.id)
    why = "".join(f", {name} {detail[name]}" for name in ("ExitCode", "Reason") if detail.get(name, "None") != "None")
    hint = f"`scontrol show job {last.id}` and the log of the node's slurmd may say more"
    return Verdict("failed", f"{job} ended as {last.state} before its worker could say more{why}", hint)


def _timed_out(job: str, folder: JobFolder, submission: Submission, last: Listed) -> Verdict:
    message = f"{job} ran into its time limit after {last.time}"
    if last.state == "TIMEOUT" and _kept_state(folder, submission):
        return Verdict("lost", f"{message} and goes on from what it kept", counted=False)
    return Verdict("failed", message, "give its `resources` more `time`, or let it checkpoint more often")


def of_exit(step: str, folder: JobFolder, found: Exit, last: Listed | None, log: Path) -> dict[str, Any]:
    """Return the event of a step whose attempt failed, with the end of its log."""
    index = "" if found.index == NO_INDEX else f"_{found.index}"
    job = f"job {found.job}" + (f" (task {found.index})" if index else "")
    shell = folder.path / f"slurm{'' if not index else '-' + found.index}.log"
    if found.result is not None and found.result.get("event") == "failed":
        keep = ("event", "message", "hint", "traceback", "exit_code")
        return {name: found.result.get(name) for name in keep} | {"tail": tail(log)}
    hint: str | None = _AGAIN
    if last is not None and last.state == "OUT_OF_MEMORY":
        how, hint = "ran out of memory", "give its `resources` more `memory`"
    elif found.code in _NOT_FOUND:
        how = f"could not start its worker (status {found.code})"
        hint = "`python` and `setup` of the profile say how one is started on a node"
    elif found.code > _SIGNAL:
        number = found.code - _SIGNAL
        name = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
        how = f"was killed by signal {number} ({name})"
        if number == signal.SIGKILL:
            hint = f"where nobody killed it, the node ran out of memory; {_AGAIN}"
    else:
        how = f"ended with status {found.code}"
    text = f"the worker of step `{step}` in {job} on `{found.node}` {how}"
    return failed(text, hint, tail(log) or tail(shell))


def of_shards(step: str, events: Sequence[dict[str, Any]], count: int, all_failed: Sequence[Exit]) -> dict[str, Any]:
    """Return the event of a labeler some of whose shards failed: the first, and how many there are."""
    if count == 1:
        return events[0]
    tasks = ", ".join(sorted((each.index for each in all_failed), key=int)[:10])
    first = events[0]
    message = f"{len(all_failed)} of {count} shards of step `{step}` failed (tasks {tasks}); the first: "
    kept = "the replies that came are kept: build again to ask for the others"
    hint = f"{first['hint']}; {kept}" if first.get("hint") else kept
    return first | {"message": message + str(first["message"]), "hint": hint}


def failed(message: str, hint: str | None, end_of_log: str = "", code: int = 1) -> dict[str, Any]:
    """Return the event of a failed step."""
    return {
        "event": "failed",
        "message": message,
        "hint": hint,
        "traceback": None,
        "exit_code": code,
        "tail": end_of_log,
    }


def tail(path: Path) -> str:
    """Return the last lines of a log; nothing where there is none."""
    with suppress(OSError), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _MOST))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-_TAIL:])
    return ""


def _kept_state(folder: JobFolder, submission: Submission) -> bool:
    """Say whether the last attempt of a plain job has left something that the next one goes on from."""
    attempts = folder.attempts(submission.ticket, NO_INDEX)
    if not attempts:
        return False
    begun = folder.attempt(submission.ticket, NO_INDEX, attempts[-1]) / "events.jsonl"
    scratch = folder.path.parents[1] / "scratch" / folder.key
    with suppress(OSError, ValueError):
        # the folder's own time moves with what is put into it; its first event is the worker's start
        first = json.loads(begun.read_bytes().partition(b"\n")[0]).get("at", 0.0)
        return any(path.stat().st_mtime >= first for path in scratch.rglob("*") if path.is_file())
    return False


def _who(detail: dict[str, str]) -> str:
    reason = detail.get("Reason", "None")
    return "" if reason in ("None", "") else f" ({reason})"
