"""Ask a provider for what the journal lacks: each reply is written down, fsynced, before it is read."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge.core.errors import ProviderBusy, ProviderRefused, Refused, StepError
from forge.plugin.protocols import Reply, Request
from forge.plugin.requests import ballots, request_key
from forge.run.limits import Bill, Budget, Limits, Share
from forge.run.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from forge.plugin.context import Run
    from forge.plugin.protocols import Labeler
    from forge.store.journal import Journal

State = Literal["labelled", "refused", "failed", "skipped"]

_LONGEST_WAIT = 60.0  # seconds between two tries of one request
_LONGEST_RETRY_AFTER = 300.0  # seconds; a provider that asks for more has closed for today
_REFUSALS = 20  # requests refused one by one, and none answered, after which a run stops
_EVERY = 0.2  # seconds between two reports of progress
_WARNINGS = 5  # different messages of a provider that are shown
_ECHO = 2_000  # characters of a refused reply that are shown to the model again
_SHOWN = 200  # characters of a refused reply that an error shows
_WAITING = 24  # rows beyond two windows that may wait for the disk or for a retry

Row = dict[str, Any]


@attrs.frozen
class Outcome:
    """Hold what became of one row, or of one request."""

    state: State
    values: Mapping[str, Any] = attrs.Factory(dict)
    reason: str | None = None
    reply: str | None = None
    source: str | None = None


@attrs.define
class Asking:
    """Walk rows through their requests, a bounded number at a time."""

    labeler: Labeler
    journal: Journal
    run: Run
    total: int
    share: tuple[float, int] = (1.0, 1)  # of the caps, and how many processes share the rates
    limits: Limits = attrs.field(init=False)
    pace: Pace = attrs.field(init=False)
    outcomes: dict[int, Outcome] = attrs.field(factory=dict, init=False)
    bill: Bill = attrs.field(factory=Bill, init=False)
    refusals: int = 0
    known: bool = False  # the journal had a reply to one of the requests
    shown: float = 0.0  # when progress was last reported
    started: float = attrs.Factory(time.monotonic)
    warned: set[str] = attrs.Factory(set)
    stop: StepError | None = None  # what ended the run
    halt: tuple[str, str] | None = (
        None  # why nothing more is asked, and a hint; what is in flight is waited for, and kept
    )
    refused: int = 0  # rows whose replies were all refused
    labelled: bool = False  # a row was labelled
    budget: Budget = attrs.field(init=False)
    _settled: dict[tuple[int, str], Outcome | asyncio.Future[Outcome]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Take the limits from the labeler."""
        self.limits = Limits.of(self.labeler).part(*self.share)
        self.pace = self.limits.pace()
        self.budget = Budget(self.limits, self.bill)

    async def all(self, rows: Iterable[Row]) -> None:
        """Settle every row; the first error that stops the run ends the others."""
        waiting = enumerate(rows)
        voters = ballots(self.labeler)
        count = max(1, min(2 * self.pace.most + _WAITING, self.total))
        walkers = [asyncio.create_task(self._work(waiting, voters)) for _ in range(count)]
        try:
            await asyncio.gather(*walkers)
        finally:
            for task in walkers:
                task.cancel()
            await asyncio.gather(*walkers, return_exceptions=True)
            await self.journal.settle()
            for labeler in {id(stage): stage for stages in voters for stage in stages}.values():
                close = getattr(labeler, "close", None)
                if close is not None:
                    await close()
        if self.halt is not None and len(self.outcomes) < self.total:
            raise self._stopped(*self.halt)

    async def _work(self, waiting: Iterator[tuple[int, Row]], voters: Sequence[Sequence[Labeler]]) -> None:
        for index, row in waiting:
            if len(voters) == 1:
                outcome = await self._walk(voters[0], row)
            else:
                walks = [asyncio.create_task(self._walk(stages, row)) for stages in voters]
                try:
                    votes = await asyncio.gather(*walks)
                finally:
                    for walk in walks:
                        walk.cancel()
                outcome = None if None in votes else self._decided([vote for vote in votes if vote is not None])
            if outcome is None:
                return
            self.outcomes[index] = outcome
            self._count(index, outcome)
            self._report()

    async def _walk(self, stages: Sequence[Labeler], row: Row) -> Outcome | None:
        """Walk a row through the stages, each of which sees the values of those before; None where a cap ends it."""
        values: Row = {}
        outcome = Outcome("skipped")
        for stage in stages:
            try:
                request = stage.request({**row, **values} if values else row)
            except Refused as refusal:
                return Outcome("skipped", reason=refusal.message)
            found = await self._once(stage, request)
            if found is None or found.state != "labelled":
                return found
            outcome = found
            values |= outcome.values
        return attrs.evolve(outcome, values=values)

    def _decided(self, votes: Sequence[Outcome]) -> Outcome:
        """Return what the labeler makes of the votes, if at least one could be used."""
        used = [vote for vote in votes if vote.state == "labelled"]
        if not used:
            return votes[0]
        decide: Any = getattr(self.labeler, "decide")  # noqa: B009 - only labelers with voters have it
        try:
            values = dict(decide([vote.values if vote.state == "labelled" else None for vote in votes]))
        except Refused as refusal:
            worst = next((vote for vote in votes if vote.state != "labelled"), votes[0])
            reason = refusal.message if worst.reason is None else f"{refusal.message}: {worst.reason}"
            return Outcome("refused", reason=reason, reply=worst.reply)
        return Outcome("labelled", values, source=" + ".join(dict.fromkeys(vote.source or "" for vote in used)))

    async def _once(self, stage: Labeler, request: Request) -> Outcome | None:
        """Settle *request*, or wait for the row that is settling the same one."""
        key = request_key(request)
        name = (id(stage), key)
        found = self._settled.get(name)
        if isinstance(found, Outcome):
            return found
        if found is not None:
            return await asyncio.shield(found)
        mine: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._settled[name] = mine
        try:
            outcome = await self._settle(stage, key, request)
        except BaseException:
            mine.cancel()
            raise
        if outcome is None:
            mine.set_result(None)
            return None
        self._settled[name] = outcome
        mine.set_result(outcome)
        return outcome

    async def _settle(self, stage: Labeler, key: str, request: Request) -> Outcome | None:
        """Walk one request through its attempts."""
        outcome: Outcome | None = None
        for attempt in range(1, max(1, self.limits.attempts) + 1):
            entry = self.journal.get(key)
            if entry is None:
                try:
                    reply = await self._ask(stage, key, request)
                except ProviderBusy as failure:
                    return Outcome("failed", reason=failure.message)
                except ProviderRefused as failure:
                    if failure.every:
                        raise self._stopped(failure.message, failure.hint) from None
                    return Outcome("failed", reason=failure.message)
                if reply is None:
                    return None
            else:
                reply, self.known = reply_of(entry), True
                self.budget.learn(stage, reply)
            try:
                values = dict(stage.parse(reply))
            except Refused as refusal:
                outcome = Outcome("refused", reason=f"{refusal.message} (attempt {attempt})", reply=reply.text)
                request = again(request, reply, refusal)
                key = request_key(request)
            else:
                return Outcome("labelled", values, source=str(request.identity.get("model", "")))
        return outcome

    async def _ask(self, stage: Labeler, key: str, request: Request) -> Reply | None:
        """Ask until there is an answer, waiting longer and longer; return None once nothing more is asked."""
        wait = self.limits.backoff
        for retry in range(self.limits.retries + 1):
            try:
                return await self._try(stage, key, request)
            except (ProviderBusy, TimeoutError, ConnectionError) as failure:
                busy = failure if isinstance(failure, ProviderBusy) else ProviderBusy(_named(failure))
                pause = self._failed(key, busy, wait)
                if retry == self.limits.retries or pause > _LONGEST_RETRY_AFTER:
                    raise busy from None
                wait = min(wait * 2, _LONGEST_WAIT)
            except ProviderRefused as failure:
                if not failure.every:
                    self._count_refusal(failure.message)
                raise
            await asyncio.sleep(pause)
        raise AssertionError("the last retry returns or raises")

    async def _try(self, stage: Labeler, key: str, request: Request) -> Reply | None:
        """Ask once, and return the answer when it is on the disk.

        The place in the window is free again as soon as the answer is there, unless a whole window of others waits
        for the disk: a crash loses two windows of answers at most.
        """
        expected = self.bill.mean_tokens
        await self.pace.enter(expected)
        try:
            share = await self.budget.admit(stage, request, lambda: self.halt is not None or self.stop is not None)
            if not isinstance(share, Share):
                if share is not None and self.halt is None:
                    self.halt = (share, "raise the cap to go on")
                return None
            try:
                reply = await stage.ask(request)
                self.bill.add(stage, reply)
                self.budget.learn(stage, reply)
            finally:
                self.budget.land(share)
            self.pace.answered(expected, reply.prompt_tokens + reply.completion_tokens)
            written = self.journal.hand_in(key, attrs.asdict(reply)) if self.limits.journalled else None
            if written is not None and self.journal.unsynced > self.pace.most:
                await asyncio.shield(written)
        finally:
            self.pace.leave()
        if written is not None:
            await asyncio.shield(written)
        return reply

    def _failed(self, key: str, busy: ProviderBusy, wait: float) -> float:
        """Count a failure and return the seconds to wait; a wait that the provider asked for holds everybody back."""
        self._warn(f"the provider did not answer: {busy.message}")
        self.bill.errors += 1
        self.pace.failed(key, limited=busy.limited)
        if self.pace.dead:
            raise self._stopped(f"{self.pace.streak} tries in a row without an answer, the last: {busy.message}", None)
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
        if busy.retry_after is None:
            return wait * jitter
        asked_for = max(0.0, busy.retry_after)
        if asked_for <= _LONGEST_RETRY_AFTER:
            self.pace.hold(asked_for)
        return asked_for + self.limits.backoff * jitter * 0.1

    def _count(self, index: int, outcome: Outcome) -> None:
        """Ask no more where row after row is refused and none was ever labelled: the next would be paid for nothing."""
        self.labelled = self.labelled or outcome.state == "labelled"
        self.refused += outcome.state == "refused"
        most = self.limits.most_refused
        if self.halt is None and self.limits.journalled and most is not None and self.refused >= most:
            if self.labelled:
                return
            reply = (outcome.reply or "")[:_SHOWN]
            self.halt = (
                f"all {self.refused} replies so far are refused, as row {index + 1}: {outcome.reason}: {reply!r}",
                "mend the prompt or the schema, or raise `most_refused` to ask about more rows all the same",
            )

    def _count_refusal(self, message: str) -> None:
        """Stop where a provider has refused row after row and never answered one, now or in the journal."""
        self._warn(f"the provider refused a row: {message}")
        self.refusals += 1
        self.bill.errors += 1
        if self.refusals >= _REFUSALS and not self.bill.asked and not self.known:
            raise self._stopped(f"the provider refused all {self.refusals} requests, the last: {message}", None)

    def _report(self) -> None:
        done, now = len(self.outcomes), time.monotonic()
        if done != self.total and now - self.shown < _EVERY:
            return
        self.shown = now
        bill, seconds = self.bill, max(now - self.started, 1e-9)
        figures: dict[str, float | str] = {"asked": bill.asked, "rate": f"{bill.asked / seconds:.1f}/s"}
        figures["tokens"] = bill.tokens
        if bill.money is not None:
            figures["cost"] = f"{bill.money:.4f}"
        if bill.errors:
            figures["errors"] = bill.errors
        if done < self.total:
            figures["left"] = f"{(self.total - done) * seconds / done:.0f} s"
        self.run.progress(done, self.total, **figures)

    def _warn(self, message: str) -> None:
        if message not in self.warned and len(self.warned) < _WARNINGS:
            self.warned.add(message)
            self.run.warn(message)

    def _stopped(self, message: str, hint: str | None) -> StepError:
        kept = "every reply so far is kept: build again to go on from here"
        count = f"stopped after {len(self.outcomes):,} of {self.total:,} rows: {message}"
        self.stop = self.stop or StepError(count, hint=f"{hint}; {kept}" if hint else kept)
        return self.stop


def again(request: Request, reply: Reply, refusal: Refused) -> Request:
    """Return *request* continued by the refused reply and what is wrong with it."""
    shown = reply.text[:_ECHO] or "(empty)"
    turns = ({"role": "assistant", "content": shown}, {"role": "user", "content": _CORRECTION % refusal.message})
    return attrs.evolve(request, messages=[*request.messages, *turns])


_CORRECTION = "That reply can't be used: %s. Answer again, in the form that was asked for and nothing else."


def reply_of(entry: Mapping[str, Any]) -> Reply:
    """Return the reply that a journal's *entry* holds."""
    names = {field.name for field in attrs.fields(Reply)}
    return Reply(**{name: value for name, value in entry.items() if name in names})


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
