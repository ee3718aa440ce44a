"""How a labeler wants to be asked, what it has cost so far, and what more it may cost."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import attrs

from forge.plugin.requests import price
from forge.run.pace import Pace, Rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from forge.plugin.protocols import Labeler, Reply, Request

_CHARACTERS_A_TOKEN = 4.0  # of Latin script, as tokenizers of today have it
_DENSE_CHARACTERS_A_TOKEN = 1.5  # of other scripts
_DENSE_FROM = 0x2E80  # the first code point of Chinese, Japanese and Korean


def tokens_of(request: Request) -> float:
    """Return about how many tokens a request's messages have, by their characters."""
    text = "".join(message.get("content", "") for message in request.messages)
    dense = sum(ord(c) >= _DENSE_FROM for c in text)
    return dense / _DENSE_CHARACTERS_A_TOKEN + (len(text) - dense) / _CHARACTERS_A_TOKEN


def _most_tokens_of(request: Request) -> float:
    """Return about how many tokens a request may have at most, with the schema and whatever else is sent."""
    sent = json.dumps([dict(request.identity), [dict(turn) for turn in request.messages]], default=str)
    return len(sent) / _DENSE_CHARACTERS_A_TOKEN


@attrs.frozen
class Limits:
    """Hold how a labeler wants to be asked; see `forge.run.labels`."""

    concurrency: int = 8
    attempts: int = 3
    retries: int = 6
    backoff: float = 1.0
    completeness: float = 1.0
    journalled: bool = True
    adaptive: bool = True
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    most_tokens: int | None = None
    most_money: float | None = None
    most_refused: int | None = 50

    @classmethod
    def of(cls, labeler: Labeler) -> Limits:
        """Return what *labeler* says of itself, and defaults for the rest."""
        names = [field.name for field in attrs.fields(cls)]
        return cls(**{name: getattr(labeler, name) for name in names if hasattr(labeler, name)})

    def part(self, share: float, beside: int) -> Limits:
        """Return the limits of one of several processes: its *share* of the caps, and of rates that *beside* use."""

        def of(value: int | None, by: float) -> int | None:
            return None if value is None else max(1, int(value * by))

        return attrs.evolve(
            self,
            requests_per_minute=of(self.requests_per_minute, 1 / beside),
            tokens_per_minute=of(self.tokens_per_minute, 1 / beside),
            most_tokens=of(self.most_tokens, share),
            most_money=None if self.most_money is None else self.most_money * share,
        )

    @property
    def capped(self) -> bool:
        """Say whether tokens or money are bounded."""
        return self.most_tokens is not None or self.most_money is not None

    def pace(self) -> Pace:
        """Return the pace that these limits allow."""
        requests, tokens = self.requests_per_minute, self.tokens_per_minute
        return Pace(
            max(1, self.concurrency),
            self.backoff,
            None if requests is None else Rate(requests),
            None if tokens is None else Rate(tokens),
            self.adaptive,
        )


@attrs.define
class Bill:
    """Count what was asked for: requests, failures, tokens and money."""

    asked: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float | None = None

    def __str__(self) -> str:
        """Say in one line what this run asked for."""
        money = "" if self.money is None else f", cost {self.money:.4f}"
        return f"{self.asked:,} requests answered, {self.errors:,} failed, {self.tokens:,} tokens{money}"

    @property
    def tokens(self) -> int:
        """Return all tokens that were paid for."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def mean_tokens(self) -> float:
        """Return the tokens of one request so far."""
        return self.tokens / self.asked if self.asked else 0.0

    def add(self, labeler: Labeler, reply: Reply) -> None:
        """Count a reply."""
        self.asked += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        money = price(labeler, reply.prompt_tokens, reply.completion_tokens)
        if money is not None:
            self.money = (self.money or 0.0) + money


@attrs.frozen
class Share:
    """Hold what one request in flight may cost."""

    tokens: float = 0.0
    money: float = 0.0


@attrs.define
class Budget:
    """Let requests through as long as the caps hold for what was paid and for all that is in flight.

    A request is thought to cost what the others of its stage did, or before any was answered what it may cost at
    most: its prompt by characters, counted high, and a reply of ``max_tokens``. Where a stage says no bound, the first
    goes alone. One that would break a cap waits until something in flight is answered, which mostly costs less than it
    might; if nothing is in flight, the cap is reached. A first request is always sent: a cap can't forbid to learn.
    """

    limits: Limits
    bill: Bill
    flying: int = 0
    held: float = 0.0  # tokens of what is in flight
    held_money: float = 0.0
    _seen: dict[int, tuple[int, int, int]] = attrs.Factory(dict)  # by stage: replies, prompt and completion tokens
    _gate: asyncio.Lock = attrs.Factory(asyncio.Lock)
    _landed: asyncio.Event = attrs.Factory(asyncio.Event)

    def learn(self, stage: Labeler, reply: Reply) -> None:
        """Note what a reply cost, now or in an earlier build."""
        count, prompts, completions = self._seen.get(id(stage), (0, 0, 0))
        self._seen[id(stage)] = (count + 1, prompts + reply.prompt_tokens, completions + reply.completion_tokens)

    async def admit(self, stage: Labeler, request: Request, halted: Callable[[], bool]) -> Share | str | None:
        """Return the request's share once there is room for it, which cap is reached, or None once *halted*."""
        if not self.limits.capped:
            return None if halted() else Share()
        async with self._gate:
            while True:
                if halted():
                    return None
                share = self._expected(stage, request)
                cap = self._beyond(share)
                alone = id(stage) not in self._seen and (cap is not None or not getattr(stage, "max_tokens", 0))
                if (cap is None and not alone) or (alone and not self.flying and self._beyond(Share()) is None):
                    self.flying += 1
                    self.held += share.tokens
                    self.held_money += share.money
                    return share
                if not self.flying:
                    return cap or self._beyond(Share())
                self._landed.clear()
                await self._landed.wait()

    def land(self, share: Share) -> None:
        """Give back what was held for a request that is answered, and on the bill, or that came to nothing."""
        if self.limits.capped:
            self.flying -= 1
            self.held -= share.tokens
            self.held_money -= share.money
            self._landed.set()

    def _expected(self, stage: Labeler, request: Request) -> Share:
        count, prompts, completions = self._seen.get(id(stage), (0, 0, 0))
        prompt = prompts / count if count else _most_tokens_of(request)
        completion = completions / count if count else float(getattr(stage, "max_tokens", 0))
        return Share(prompt + completion, price(stage, round(prompt), round(completion)) or 0.0)

    def _beyond(self, share: Share) -> str | None:
        """Say which cap the request would break, beside what is paid and in flight."""
        limits, used, paid = self.limits, self.bill.tokens, self.bill.money or 0.0
        if limits.most_tokens is not None and used + self.held + share.tokens > limits.most_tokens:
            return f"the cap of {limits.most_tokens:,} tokens (`most_tokens`) is reached, {used:,} are used"
        if limits.most_money is not None and paid + self.held_money + share.money > limits.most_money:
            return f"the cap of {limits.most_money:g} (`most_money`) is reached, {paid:.4f} is spent"
        return None
