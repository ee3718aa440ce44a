"""The engine that labelers share: what was asked before is read, what is missing is asked, each reply paid once.

A row's way: `request` → key → journal, or `ask` and then journal → `parse` → columns. A reply that may not be used
is asked for again with the error shown to the model, up to the labeler's ``attempts``; each of these requests has
a key of its own, so a second run walks the same way without asking.

A labeler may carry these attributes, as parameters or settings of its class:
``concurrency`` requests in flight (8), ``attempts`` for a row whose replies are refused (3), ``retries`` of a
request that the provider did not answer (6), ``backoff`` seconds before the first of them (1.0), and
``completeness``, the share of rows that must be labelled (1.0). An ``async close()`` is awaited at the end of
the run, in its event loop.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import TYPE_CHECKING, Any, Literal

import attrs
from blake3 import blake3

from forge.core.errors import ProviderBusy, ProviderRefused, Refused, StepError
from forge.plugin.protocols import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from forge.plugin.context import Run
    from forge.plugin.protocols import Labeler
    from forge.store.journal import Journal

State = Literal["labelled", "refused", "failed", "skipped"]
STATE_COLUMNS = ("label_state", "label_reason", "label_reply", "label_source")

_LONGEST_WAIT = 60.0  # seconds between two tries of one request
_LONGEST_RETRY_AFTER = 300.0  # seconds; a provider that asks for more has closed for today
_STREAK = 20  # tries in a row without an answer …
_SILENCE = 90.0  # … and seconds, by a `backoff` of one, after which a run stops
_EVERY = 0.2  # seconds between two reports of progress
_WARNINGS = 5  # different messages of a provider that are shown
_ECHO = 2_000  # characters of a refused reply that are shown to the model again


@attrs.frozen
class Outcome:
    """Hold what became of one request."""

    state: State
    values: Mapping[str, Any] = attrs.Factory(dict)
    reason: str | None = None
    reply: str | None = None
    source: str | None = None


@attrs.frozen
class _Limits:
    concurrency: int = 8
    attempts: int = 3
    retries: int = 6
    backoff: float = 1.0
    completeness: float = 1.0

    @classmethod
    def of(cls, labeler: Labeler) -> _Limits:
        names = [field.name for field in attrs.fields(cls)]
        return cls(**{name: getattr(labeler, name) for name in names if hasattr(labeler, name)})


def request_key(request: Request) -> str:
    """Return the digest by which the journal knows *request*: of what is sent, not of code or the row's place."""
    sent = {"identity": request.identity, "messages": [dict(message) for message in request.messages]}
    text = json.dumps(sent, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_plain)
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest()


def label_rows(labeler: Labeler, rows: pl.DataFrame, journal: Journal, run: Run) -> pl.DataFrame:
    """Return *rows* with the labels and the states of every row.

    Raises `StepError` when fewer rows than ``labeler.completeness`` are labelled, or when the provider is down or
    refuses everything; the journal keeps every reply, so the next run goes on from there.
    """
    requests: dict[str, Request] = {}
    keys: list[str | None] = []
    skipped: dict[int, Outcome] = {}
    for index, row in enumerate(rows.iter_rows(named=True)):
        try:
            request = labeler.request(row)
        except Refused as refusal:
            skipped[index] = Outcome("skipped", reason=refusal.message)
            keys.append(None)
            continue
        key = request_key(request)
        requests.setdefault(key, request)
        keys.append(key)
    known = any(key in journal for key in requests)
    asking = _Asking(labeler, journal, run, _Limits.of(labeler), total=len(requests), known=known)
    try:
        asyncio.run(asking.all(requests))
    finally:
        journal.close()
    if journal.damaged:
        run.warn(f"the journal has {journal.damaged} damaged lines; their rows were asked for again")
    outcomes = [asking.outcomes[key] if key is not None else skipped[index] for index, key in enumerate(keys)]
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.state != "labelled":
            run.log(
                f"row {number} {outcome.state}: {outcome.reason}"
                + (f"; reply: {outcome.reply}" if outcome.reply else "")
            )
    _require(outcomes, asking.limits.completeness)
    return _joined(rows, outcomes)


@attrs.define
class _Asking:
    """Ask for what the journal lacks, a bounded number at a time."""

    labeler: Labeler
    journal: Journal
    run: Run
    limits: _Limits
    total: int
    known: bool  # the journal has a reply to one of the requests
    outcomes: dict[str, Outcome] = attrs.Factory(dict)
    asked: int = 0
    tokens: int = 0
    streak: int = 0  # tries without an answer since the last answer
    refusals: int = 0
    shown: float = 0.0  # when progress was last reported
    answered: float = attrs.Factory(time.monotonic)  # when the last answer came
    not_before: float = 0.0  # the provider asked everybody to wait until then
    started: float = attrs.Factory(time.monotonic)
    warned: set[str] = attrs.Factory(set)

    async def all(self, requests: Mapping[str, Request]) -> None:
        """Settle every request; the first error that stops the run ends the others."""
        waiting = iter(requests.items())
        count = max(1, min(self.limits.concurrency, len(requests)))
        window = [asyncio.create_task(self._work(waiting)) for _ in range(count)]
        try:
            await asyncio.gather(*window)
        finally:
            for task in window:
                task.cancel()
            await asyncio.gather(*window, return_exceptions=True)
            await self.journal.settle()
            close = getattr(self.labeler, "close", None)
            if close is not None:
                await close()

    async def _work(self, waiting: Iterator[tuple[str, Request]]) -> None:
        for key, request in waiting:
            self.outcomes[key] = await self._settle(key, request)
            done, now = len(self.outcomes), time.monotonic()
            if done == self.total or now - self.shown >= _EVERY:
                self.shown = now
                rate = self.asked / max(now - self.started, 1e-9)
                self.run.progress(done, self.total, asked=self.asked, rate=f"{rate:.1f}/s", tokens=self.tokens)

    async def _settle(self, key: str, request: Request) -> Outcome:
        """Walk one row through its attempts."""
        for attempt in range(1, max(1, self.limits.attempts) + 1):
            entry = self.journal.get(key)
            if entry is None:
                try:
                    reply = await self._ask(request)
                except ProviderBusy as failure:
                    return Outcome("failed", reason=failure.message)
                except ProviderRefused as failure:
                    if failure.every:
                        raise self._stopped(failure.message, failure.hint) from None
                    return Outcome("failed", reason=failure.message)
                await self.journal.put(key, attrs.asdict(reply))
            else:
                reply = _reply(entry)
            try:
                values = dict(self.labeler.parse(reply))
            except Refused as refusal:
                outcome = Outcome("refused", reason=f"{refusal.message} (attempt {attempt})", reply=reply.text)
                request = _again(request, reply, refusal)
                key = request_key(request)
            else:
                return Outcome("labelled", values, source=str(request.identity.get("model", "")))
        return outcome

    async def _ask(self, request: Request) -> Reply:
        """Ask until there is an answer, waiting longer and longer."""
        wait = self.limits.backoff
        for retry in range(self.limits.retries + 1):
            await self._gate()
            try:
                reply = await self.labeler.ask(request)
            except (ProviderBusy, TimeoutError, ConnectionError) as failure:
                busy = failure if isinstance(failure, ProviderBusy) else ProviderBusy(_named(failure))
                self._count_failure(busy.message)
                pause = self._pause(busy, wait)
                if retry == self.limits.retries or pause > _LONGEST_RETRY_AFTER:
                    raise busy from None
                await asyncio.sleep(pause)
                wait = min(wait * 2, _LONGEST_WAIT)
            except ProviderRefused as failure:
                if not failure.every:
                    self._count_refusal(failure.message)
                raise
            else:
                self.asked += 1
                self.tokens += reply.prompt_tokens + reply.completion_tokens
                self.streak, self.answered = 0, time.monotonic()
                return reply
        raise AssertionError("the last retry returns or raises")

    async def _gate(self) -> None:
        while (left := self.not_before - time.monotonic()) > 0:  # noqa: ASYNC110 - a time moves on, no event comes
            await asyncio.sleep(left)

    def _pause(self, busy: ProviderBusy, wait: float) -> float:
        """Return the seconds to wait; a wait that the provider asked for holds everybody back."""
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
        if busy.retry_after is None:
            return wait * jitter
        asked_for = max(0.0, busy.retry_after)
        if asked_for <= _LONGEST_RETRY_AFTER:
            self.not_before = max(self.not_before, time.monotonic() + asked_for)
        return asked_for + self.limits.backoff * jitter * 0.1

    def _count_failure(self, message: str) -> None:
        self._warn(f"the provider did not answer: {message}")
        self.streak += 1
        quiet = time.monotonic() - max(self.answered, self.not_before)
        if self.streak >= _STREAK and quiet >= _SILENCE * self.limits.backoff:
            raise self._stopped(f"{self.streak} tries in a row without an answer, the last: {message}", None)

    def _count_refusal(self, message: str) -> None:
        """Stop where a provider has refused row after row and never answered one, now or in the journal."""
        self._warn(f"the provider refused a row: {message}")
        self.refusals += 1
        if self.refusals >= _STREAK and not self.asked and not self.known:
            raise self._stopped(f"the provider refused all {self.refusals} requests, the last: {message}", None)

    def _warn(self, message: str) -> None:
        if message not in self.warned and len(self.warned) < _WARNINGS:
            self.warned.add(message)
            self.run.warn(message)

    def _stopped(self, message: str, hint: str | None) -> StepError:
        kept = "every reply so far is kept: build again to go on from here"
        count = f"stopped after {len(self.outcomes):,} of {self.total:,} requests: {message}"
        return StepError(count, hint=f"{hint}; {kept}" if hint else kept)


def _again(request: Request, reply: Reply, refusal: Refused) -> Request:
    """Return *request* continued by the refused reply and what is wrong with it."""
    shown = reply.text[:_ECHO] or "(empty)"
    turns = ({"role": "assistant", "content": shown}, {"role": "user", "content": _CORRECTION % refusal.message})
    return attrs.evolve(request, messages=[*request.messages, *turns])


_CORRECTION = "That reply can't be used: %s. Answer again, in the form that was asked for and nothing else."


def _reply(entry: Mapping[str, Any]) -> Reply:
    names = {field.name for field in attrs.fields(Reply)}
    return Reply(**{name: value for name, value in entry.items() if name in names})


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _plain(value: object) -> object:
    """Give json what a request's mapping may hold beside its own types."""
    from collections.abc import Mapping as AnyMapping

    if isinstance(value, AnyMapping):
        return dict(value)
    message = f"a request holds `{type(value).__name__}`, which is not JSON"
    raise StepError(message)


def _require(outcomes: Sequence[Outcome], completeness: float) -> None:
    if not outcomes:
        return
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.state] = counts.get(outcome.state, 0) + 1
    share = counts.get("labelled", 0) / len(outcomes)
    if share >= completeness:
        return
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
    worst = next(outcome for outcome in outcomes if outcome.state != "labelled")
    raise StepError(
        f"{share:.2%} of {len(outcomes):,} rows are labelled ({states}), `completeness` wants {completeness:.2%}; "
        f"first reason: {worst.reason}",
        hint="every reply is kept: build again to ask for the failed rows, raise `attempts` or change the prompt for "
        "the refused ones, or lower `completeness`",
    )


def _joined(rows: pl.DataFrame, outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Add the labels as columns; they are null for rows that are not labelled."""
    import polars as pl

    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.values))
    taken = [name for name in (*names, *STATE_COLUMNS) if name in rows.columns]
    if taken:
        listed = ", ".join(f"`{name}`" for name in taken)
        raise StepError(f"the rows have the columns {listed} already", hint="rename or drop them before labelling")
    labels = [pl.Series(name, _alike([outcome.values.get(name) for outcome in outcomes])) for name in names]
    replies = [outcome.reply and outcome.reply.encode("utf-8", "replace").decode() for outcome in outcomes]
    return rows.with_columns(
        *labels,
        pl.Series("label_state", [outcome.state for outcome in outcomes], pl.String),
        pl.Series("label_reason", [outcome.reason for outcome in outcomes], pl.String),
        pl.Series("label_reply", replies, pl.String),
        pl.Series("label_source", [outcome.source for outcome in outcomes], pl.String),
    )


def _alike(values: list[Any]) -> list[Any]:
    """Return numbers of one column as one type: a single `2.5` makes all of them floats."""
    types = {type(value) for value in values if value is not None}
    return [None if value is None else float(value) for value in values] if types == {int, float} else values
