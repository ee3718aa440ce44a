"""How a labeler wants to be asked, and what it has cost so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from forge.plugin.requests import price
from forge.run.pace import Pace, Rate

if TYPE_CHECKING:
    from forge.plugin.protocols import Labeler, Reply


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
    flying: int = 0

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

    def beyond(self, limits: Limits) -> str | None:
        """Say which cap one more request would break, if those in flight cost what the others did."""
        flying = (self.flying + 1) / self.asked if self.asked else 0.0
        if limits.most_tokens is not None and self.tokens * (1 + flying) > limits.most_tokens:
            return f"the cap of {limits.most_tokens:,} tokens (`most_tokens`) is reached, {self.tokens:,} are used"
        money = self.money or 0.0
        if limits.most_money is not None and money * (1 + flying) > limits.most_money:
            return f"the cap of {limits.most_money:g} (`most_money`) is reached, {money:.4f} is spent"
        return None
