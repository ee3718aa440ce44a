"""Run heavy steps as jobs of a Slurm cluster, light ones where the profile says.

Exit records in the store are the truth about jobs; `squeue` only says whether one still lives. What is lost is
submitted again; what an earlier build submitted is taken up.
"""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge.core.errors import StepError
from forge.core.step import seconds_of
from forge.run.room import Need
from forge.run.slurm import accounting, verdict
from forge.run.slurm.active import Active
from forge.run.slurm.controller import Controller, Listing, Refused, Silent, Submitted, There, Wish
from forge.run.slurm.folder import NO_INDEX, JobFolder, bells
from forge.store.actions import Actions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from forge.plan.profile import Profile
    from forge.run.job import Job
    from forge.run.local import LocalExecutor
    from forge.run.slurm.client import Listed, Slurm
    from forge.run.slurm.folder import Exit, Submission
    from forge.store.base import Store

Events = list[tuple[str, dict[str, Any]]]

_TICK = 0.1
"""Seconds between two looks for exit records."""
_READ = 1.0
"""Seconds between two looks at what running jobs report."""
_LONGEST = 30.0
"""Seconds between two questions to the controller, at most, for up to `_MANY` jobs."""
_MANY = 500
_TOO_MANY = 3
"""Failed shards after which the others of a labeler are not started."""


@attrs.define(eq=False)
class SlurmExecutor:
    """Keep jobs in the queue of a cluster; *local* runs what is light.

    *leaving* is asked, with the steps that still have jobs, what becomes of them when the build is interrupted.
    """

    store: Store
    profile: Profile
    slurm: Slurm
    local: LocalExecutor
    manifest: str = ""
    leaving: Callable[[Sequence[str]], Literal["detach", "cancel"]] = lambda _: "detach"
    actions: Actions = attrs.field(init=False)
    controller: Controller = attrs.field(init=False)
    active: dict[str, Active] = attrs.field(factory=dict, init=False)
    settled: dict[str, Submission] = attrs.field(factory=dict, init=False)
    _events: Events = attrs.field(factory=list, init=False)
    _interval: float = attrs.field(init=False)
    _next_look: float = attrs.field(default=0.0, init=False)
    _looking: bool = attrs.field(default=False, init=False)
    _next_read: float = attrs.field(default=0.0, init=False)
    _next_listen: float = attrs.field(default=0.0, init=False)
    _silent_since: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Make ready to talk to the controller; nothing is asked yet."""
        self.actions = Actions(self.store)
        self.controller = Controller(self.slurm, self.actions, self.profile, self.manifest)
        self._interval = self._poll

    @property
    def _poll(self) -> float:
        return max(0.2, float(seconds_of(self.profile.poll)))

    # ---------------------------------------------------------------- the seam

    def has_room(self, need: Need) -> bool:
        """Say whether a step can start now: as a job, or beside what runs here."""
        if need.step is not None and self.profile.is_job(need.step):
            return len(self.active) < self.profile.most
        return self.local.has_room(need)

    def is_full(self) -> bool:
        """Say whether neither the queue nor this machine takes more."""
        return len(self.active) >= self.profile.most and self.local.is_full()

    def submit(self, job: Job, need: Need) -> None:
        """Hand a job to the cluster, or to a worker of this machine."""
        step = need.step
        if step is None or not self.profile.is_job(step):
            self.local.submit(job, need)
            return
        rows = need.rows or 0
        shard = self.profile.shard_of(rows)
        wish = Wish(job, self.profile.resources_of(step), rows, shard, self.profile.shards_of(step, need.rows))
        self.active[job.key] = Active(wish, JobFolder.of(self.store, job.key))
        self.controller.submit(wish)

    def wait(self) -> Events:
        """Wait for something to happen: to a worker here, an exit record in the store, an answer of the controller."""
        fast = _TICK if self.active else 1.0
        select.select([self.controller.ear, *self.local.ears()], [], [], fast)
        self._events = list(self.local.wait(0.0))
        self._take_answers()
        self._take_exits()
        self._read_along()
        if self.active and not self._looking and time.monotonic() >= self._next_look:
            self._looking = True
            self.controller.look()
        return self._events

    def close(self) -> None:
        """End what runs here; with jobs left, ask whether they go on without us. Then note what jobs took."""
        keys = list(self.active)
        cancel = bool(keys) and self.leaving([a.wish.job.step for a in self.active.values()]) == "cancel"
        try:
            self.controller.close()
            if cancel:
                self._cancel(keys)
            if not keys:
                accounting.note(self.actions, self.slurm, self.settled)
        finally:
            self.local.close()

    def _cancel(self, keys: list[str]) -> None:
        try:
            self.slurm.cancel(keys)
        except StepError as error:
            said = f"the jobs were NOT cancelled: {error.message}; `forge cancel` ends them later"
            print(said, file=sys.stderr)  # noqa: T201

    # ---------------------------------------------------------------- answers of the controller

    def _take_answers(self) -> None:
        for answer in self.controller.answers():
            if isinstance(answer, Silent):
                self._silent(answer)
                continue
            self._silent_since = None
            if isinstance(answer, Listing):
                self._looking = False
                self._judge(answer)
            elif (active := self.active.get(answer.key)) is None:
                continue
            elif isinstance(answer, Submitted):
                self._submitted(active, answer)
            elif isinstance(answer, There):
                self._end(active, {"event": "done", "ran": False})
            elif isinstance(answer, Refused):
                hint = (
                    answer.error.hint or "`forge check --executor slurm` compares what steps ask for with the cluster"
                )
                self._end(active, verdict.failed(answer.error.message, hint, code=answer.error.exit_code))

    def _submitted(self, active: Active, answer: Submitted) -> None:
        if answer.submission is None:
            self._label(active)
            return
        active.begin(answer.submission)
        how = "taken up" if answer.adopted else "submitted"
        self._tell(active, f"{how} as {answer.submission.id}" if answer.submission.id else how)
        self._interval = self._poll
        self._next_look = time.monotonic() + self._interval
        if answer.adopted:
            self._look_up_exits(active)

    def _silent(self, answer: Silent) -> None:
        self._looking = False
        self._back_off()
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            for active in list(self.active.values())[:1]:
                text = f"{answer.message}; jobs that run go on, and the controller is asked again"
                self._events.append((active.key, {"event": "warning", "message": text}))

    def _judge(self, listing: Listing) -> None:
        """Compare jobs with what the controller lists; one that is neither there nor has left a record is lost."""
        listed: dict[tuple[str, str], list[Listed]] = {}
        for job in listing.jobs:
            listed.setdefault((job.key, job.ticket), []).append(job)
        soon = False
        for active in list(self.active.values()):
            if active.submission is None or active.submitted > listing.asked:
                continue
            mine = listed.get((active.key, active.submission.ticket), [])
            if any(job.alive for job in mine) or any(job.state == "COMPLETING" for job in mine):
                active.gone = None
                self._tell(active, active.seen(mine))
                if (held := active.held_back(mine)) is not None:
                    self._events.append((active.key, {"event": "warning", "message": held}))
                soon = soon or bool(active.failures)
                if len(active.failures) >= _TOO_MANY and not active.stopped:
                    active.stopped = True
                    self.controller.end([job.array for job in mine][:1])
                continue
            self._look_up_exits(active)
            if active.key in self.active and active.submission is not None:
                soon = True
                self._gone(active, mine[-1] if mine else None)
        self._back_off(soon=soon)

    def _back_off(self, *, soon: bool = False) -> None:
        longest = _LONGEST * max(1.0, len(self.active) / _MANY)
        self._interval = min(1.0, self._poll) if soon else min(max(self._poll, self._interval * 1.5), longest)
        self._next_look = time.monotonic() + self._interval

    def _gone(self, active: Active, last: Listed | None) -> None:
        """Decide about a job that is no longer in the queue."""
        if active.failures:
            self._fail(active, last)
            return
        now = time.monotonic()
        active.gone = active.gone or now
        cancelled = last is not None and last.state == "CANCELLED"
        if now - active.gone < (1.0 if cancelled else seconds_of(self.profile.grace)):
            return
        if self.actions.find(active.key) is not None:
            self._end(active, {"event": "done", "ran": True})
            return
        if not cancelled and active.key in self.actions.claimed():
            return  # it runs on a node that the controller has given up: its result is as good as any
        assert active.submission is not None  # noqa: S101  # looked at by the caller
        found = verdict.of_absent(active.wish.job.step, active.folder, active.submission, last, self.slurm)
        active.tries += found.counted
        if found.what == "lost" and active.tries < self.profile.retries:
            self._events.append((active.key, {"event": "warning", "message": f"{found.message}: submitted again"}))
            active.submission = None
            self.controller.submit(active.wish)
            return
        again = f" ({active.tries} times)" if found.what == "lost" else ""
        end = verdict.tail(self._log(active)) or verdict.tail(active.folder.path / "slurm.log")
        self._end(active, verdict.failed(found.message + again, found.hint, end))

    # ---------------------------------------------------------------- exit records

    def _take_exits(self) -> None:
        now = time.monotonic()
        if not self.active or now < self._next_listen:
            return
        heard = bells(self.store)
        # a slow file system is not asked all the time
        self._next_listen = now + min(1.0, 10 * (time.monotonic() - now))
        for key, ticket, index, restarts in heard:
            active = self.active.get(key)
            if active is not None and active.waits_for(ticket, index, restarts):
                found = active.folder.exit(ticket, index, restarts)
                if found is not None:
                    self._ended(active, found)

    def _look_up_exits(self, active: Active) -> None:
        """Look for exit records whose bell was not heard."""
        assert active.submission is not None  # noqa: S101  # looked at by the callers
        for index in sorted(active.missing):
            found = active.folder.last_exit(active.submission.ticket, index)
            if found is not None and active.waits_for(found.ticket, index, found.restarts):
                self._ended(active, found)

    def _ended(self, active: Active, found: Exit) -> None:
        if found.code != 0:
            # an attempt on a node that was given up may end beside one that goes on: the controller says which it is
            active.failures[found.index] = found
            self._next_look = min(self._next_look, time.monotonic() + _TICK)
            return
        active.missing.discard(found.index)
        active.failures.pop(found.index, None)
        self._read(active)
        if active.missing:
            return
        if found.index != NO_INDEX:
            self._label(active)
            return
        ran = bool((found.result or {}).get("ran", True))
        self._end(active, {"event": "done", "ran": ran})

    def _fail(self, active: Active, last: Listed | None) -> None:
        failures = list(active.failures.values())
        step, log = active.wish.job.step, self._log(active)
        if all(each.code == verdict.LEFT_OFF for each in failures):
            active.submission, active.failures = None, {}
            self.controller.submit(active.wish)  # it kept its state and could not be requeued
            return
        events = [verdict.of_exit(step, active.folder, each, last, log) for each in failures]
        self._end(active, verdict.of_shards(step, events, active.wish.shards, failures))

    def _label(self, active: Active) -> None:
        """Run the labeler itself, whose requests its shards have all been answered."""
        if active.submission is not None:
            self.settled[active.key] = active.submission
        about = {"array": active.submission.id, "tasks": active.wish.shards} if active.submission is not None else {}
        job = attrs.evolve(active.wish.job, cluster=about)
        if self.profile.light == "head":
            del self.active[active.key]
            self.local.submit(job, Need())
            return
        active.submission = None
        active.wish = attrs.evolve(active.wish, job=job, shards=1)
        self.controller.submit(active.wish)

    def _end(self, active: Active, event: dict[str, Any]) -> None:
        if active.submission is not None:
            self.settled[active.key] = active.submission
            self._read(active)
        self.active.pop(active.key, None)
        self._events.append((active.key, event))

    # ---------------------------------------------------------------- what running jobs say

    def _read_along(self) -> None:
        now = time.monotonic()
        if now < self._next_read:
            return
        for active in self.active.values():
            self._read(active)
        # reading a thousand files takes its time: no more than a tenth of ours
        self._next_read = now + max(_READ, 10 * (time.monotonic() - now))

    def _read(self, active: Active) -> None:
        self._events += [(active.key, event) for event in active.news()]

    def _tell(self, active: Active, state: str) -> None:
        if state != active.state:
            active.state = state
            self._events.append((active.key, active.progress()))

    def _log(self, active: Active) -> Path:
        return self.store.root / "logs" / f"{active.key}.log"
