"""Talk to Slurm's controller in a thread of its own, one command at a time, for as long as it takes to be answered.

A build must not stand still because a controller does: wishes go in, answers come out, and a pipe says when.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import TYPE_CHECKING

import attrs

from forge.core.errors import ForgeError, StepError
from forge.run.slurm.client import Listed, Slurm, Unclear, Unreachable
from forge.run.slurm.folder import JobFolder, Submission, draw
from forge.run.slurm.script import script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forge.core.step import Resources
    from forge.plan.profile import Profile
    from forge.run.job import Job
    from forge.store.actions import Actions

_LONGEST = 30.0
"""Seconds between two tries, at most."""
_UNCLEAR = 4
"""Times that a command may fail for a reason that is not known."""
_NEVER = float("-inf")


@attrs.frozen
class Wish:
    """Ask for a job: of an action, or of an array over *shards* parts of a labeler's *rows*, of *shard* rows each."""

    job: Job
    resources: Resources
    rows: int = 0
    shard: int = 0
    shards: int = 1

    @property
    def is_array(self) -> bool:
        """Say whether it is for an array."""
        return self.shards > 1


@attrs.frozen
class Submitted:
    """A job of the action is in the queue, now or from an earlier build; or all its shards are done."""

    key: str
    submission: Submission | None
    adopted: bool = False


@attrs.frozen
class There:
    """The action's record has come meanwhile."""

    key: str


@attrs.frozen
class Refused:
    """Slurm does not take the job."""

    key: str
    error: ForgeError


@attrs.frozen
class Listing:
    """What the controller lists; *asked* is when, by the monotonic clock."""

    jobs: list[Listed]
    asked: float


@attrs.frozen
class Silent:
    """The controller does not answer; what was asked for is asked for again."""

    message: str


Answer = Submitted | There | Refused | Listing | Silent


@attrs.define(eq=False)
class Controller:
    """Submit jobs and list them; ``ear`` is readable when there are answers."""

    slurm: Slurm
    actions: Actions
    profile: Profile
    manifest: str
    ear: int = attrs.field(init=False)
    _mouth: int = attrs.field(init=False)
    _wishes: queue.SimpleQueue[Callable[[], Answer | None] | None] = attrs.Factory(queue.SimpleQueue)
    _answers: queue.SimpleQueue[Answer] = attrs.Factory(queue.SimpleQueue)
    _over: threading.Event = attrs.Factory(threading.Event)
    _thread: threading.Thread | None = None
    _listed: Listing = attrs.Factory(lambda: Listing([], _NEVER))
    _begun: float = attrs.Factory(time.monotonic)

    def __attrs_post_init__(self) -> None:
        """Open the pipe."""
        self.ear, self._mouth = os.pipe()
        os.set_blocking(self.ear, False)

    def submit(self, wish: Wish) -> None:
        """Ask for a job."""
        self._ask(lambda: self._submit(wish), wish.job.key)

    def look(self) -> None:
        """Ask for a listing; it comes, or `Silent`."""
        self._ask(self._look, None)

    def end(self, ids: Sequence[str]) -> None:
        """Ask for the end of jobs that have just been listed."""

        def end() -> None:
            self.slurm.end(ids)

        self._ask(end, "")

    def answers(self) -> list[Answer]:
        """Return what was answered since."""
        try:
            os.read(self.ear, 1 << 12)
        except BlockingIOError:
            return []
        found = []
        while not self._answers.empty():
            found.append(self._answers.get())
        return found

    def close(self) -> None:
        """Let the command that runs end, and ask nothing more."""
        self._over.set()
        self._wishes.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for end in (self.ear, self._mouth):
            os.close(end)

    def _ask(self, do: Callable[[], Answer | None], key: str | None) -> None:
        """Have *do* done; *key* is whose job it is about, None for what may fail without harm."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, daemon=True)
            self._thread.start()
        self._wishes.put(lambda: self._until_answered(do, key))

    def _serve(self) -> None:
        while (wish := self._wishes.get()) is not None and not self._over.is_set():
            answer = wish()
            if answer is not None:
                self._say(answer)

    def _say(self, answer: Answer) -> None:
        self._answers.put(answer)
        os.write(self._mouth, b"!")

    def _until_answered(self, do: Callable[[], Answer | None], key: str | None) -> Answer | None:
        pause, unclear = 1.0, 0
        while not self._over.is_set():
            try:
                return do()
            except (Unreachable, Unclear) as error:
                unclear += isinstance(error, Unclear)
                if key is None or unclear > _UNCLEAR:
                    return Refused(key, error) if key else Silent(error.message)
                self._say(Silent(error.message))
            except ForgeError as error:
                return Refused(key, error) if key else Silent(error.message)
            except OSError as error:
                text = f"the store can't be written: {error.strerror or error}"
                return Refused(key, StepError(text)) if key else Silent(text)
            self._over.wait(pause)
            pause = min(pause * 2, _LONGEST)
        return None

    def _look(self) -> Listing:
        asked = time.monotonic()
        self._listed = Listing(self.slurm.jobs(), asked)
        return self._listed

    def _submit(self, wish: Wish) -> Answer:
        """Take up the job that there is, or hand one in, written down before it is; nobody else does so meanwhile."""
        key = wish.job.key
        folder = JobFolder.of(self.actions.store, key)
        folder.make()
        with self.actions.hold(folder.path.with_suffix(".lock")):
            earlier = {each.ticket: each for each in folder.submissions()}
            # what somebody submitted before is on a listing of now; where nobody did, one of this build's will do
            if earlier or self._listed.asked < self._begun:
                self._look()
            live = [job for job in self._listed.jobs if job.key == key and job.alive]
            for job in reversed(live):
                found = earlier.get(job.ticket) or self._written_anew(wish, folder, job)
                if wish.is_array or not found.shards:
                    return Submitted(key, found, adopted=True)
            if self.actions.find(key) is not None:
                return There(key)
            shards = _missing(wish, folder, list(earlier.values())) if wish.is_array else ()
            if wish.is_array and not shards:
                return Submitted(key, None)
            return self._hand_in(wish, folder, self._drawn(wish, draw(), shards))

    def _hand_in(self, wish: Wish, folder: JobFolder, submission: Submission) -> Submitted:
        folder.write("job.json", wish.job.dump())
        folder.note(submission)
        text = script(
            self.profile, wish.resources, folder, submission, wish.job.root, self.slurm.comment(submission.ticket)
        )
        path = folder.write(f"script-{submission.ticket}.sh", text)
        try:
            submission = attrs.evolve(submission, id=self.slurm.submit(path))
        except ForgeError:
            self._listed = Listing([], _NEVER)  # it may have been taken all the same
            raise
        folder.note(submission)
        return Submitted(wish.job.key, submission)

    def _drawn(self, wish: Wish, ticket: str, shards: tuple[int, ...]) -> Submission:
        return Submission(
            ticket, wish.job.step, self.manifest, shards, wish.rows, wish.shard, min(self.profile.at_once, wish.shards)
        )

    def _written_anew(self, wish: Wish, folder: JobFolder, job: Listed) -> Submission:
        """Write down what is known of a job whose folder somebody removed: it waits, and will look for it."""
        is_array = job.index not in ("", "N/A")
        shards = tuple(range(wish.shards)) if is_array else ()
        submission = attrs.evolve(self._drawn(wish, job.ticket, shards), id=job.array if is_array else job.id)
        folder.write("job.json", wish.job.dump())
        folder.note(submission)
        return submission


def _missing(wish: Wish, folder: JobFolder, earlier: Sequence[Submission]) -> tuple[int, ...]:
    """Return the shards that no earlier submission has got through."""
    done = {
        shard
        for each in earlier
        if (each.rows, each.shard) == (wish.rows, wish.shard)
        for shard in each.shards
        if (found := folder.last_exit(each.ticket, str(shard))) is not None and found.code == 0
    }
    return tuple(shard for shard in range(wish.shards) if shard not in done)
