"""How fast a provider is asked: a window that adapts, rates by the minute, and the sign that nobody answers."""

from __future__ import annotations

import asyncio
import time
from collections import deque

import attrs

_STREAK = 20  # tries, or different requests, in a row without an answer
_SILENCE = 90.0  # seconds, by a `backoff` of one, without an answer after which a run stops
_LONGEST_PROBE = 5.0  # seconds, by a `backoff` of one, between two tries while nobody answers
_ROUND = 1.0  # seconds at least between two cuts of the window, by a `backoff` of one: one burst counts once
_LIMITED, _TROUBLED = 0.5, 0.9  # what a 429 and any other failure leave of the window


@attrs.define
class Rate:
    """Hand out *most* a minute, a tenth of a minute's worth at once at most."""

    most: float
    level: float = attrs.field(init=False)
    moved: float = attrs.Factory(lambda: time.monotonic())  # noqa: PLW0108 - looked up late, for tests with a clock of their own

    def __attrs_post_init__(self) -> None:
        """Begin full."""
        self.level = self._burst

    @property
    def _burst(self) -> float:
        return max(1.0, self.most / 600)

    def reserve(self, count: float) -> float:
        """Take *count* and return the seconds to wait until they are there."""
        now = time.monotonic()
        self.level = min(self._burst, self.level + (now - self.moved) * self.most / 60) - count
        self.moved = now
        return max(0.0, -self.level * 60 / self.most)

    def settle(self, expected: float, used: float) -> None:
        """Give back what was reserved beyond what was used, or take what was missing."""
        self.level += expected - used


@attrs.define
class Pace:
    """Let requests through, at most *most* at a time: fewer after failures, more again after answers.

    A try that fails cuts the window, a 429 by half and anything else by a tenth, once a burst; an answer widens it.
    After 20 tries in a row without an answer one request at a time goes out, at growing distances, until there is
    an answer or `dead` says that the provider is down.
    """

    most: int
    backoff: float = 1.0
    requests: Rate | None = None
    tokens: Rate | None = None
    adaptive: bool = True
    not_before: float = 0.0  # the provider asked everybody to wait until then
    window: float = attrs.field(init=False)
    flying: int = 0
    streak: int = 0  # tries without an answer since the last answer
    answered_at: float = attrs.Factory(lambda: time.monotonic())  # noqa: PLW0108 - looked up late, for tests with a clock of their own
    _unanswered: set[str] = attrs.Factory(set)  # the requests of the streak
    _held: float = 0.0  # the longest wait that was asked for since the last answer, in seconds
    _cut_at: float = 0.0
    _waiting: deque[asyncio.Future[None]] = attrs.Factory(deque)

    def __attrs_post_init__(self) -> None:
        """Begin with the whole window."""
        self.window = float(self.most)

    async def enter(self, tokens: float) -> None:
        """Wait for a place in the window, then for the rates; *tokens* is what the request is thought to use."""
        while self.flying >= max(1, int(self.window)):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                self._wake()
                raise
        self.flying += 1
        try:
            waits = [rate.reserve(n) for rate, n in ((self.requests, 1.0), (self.tokens, tokens)) if rate is not None]
            if (wait := max(waits, default=0.0)) > 0:
                await asyncio.sleep(wait)
            while (left := self.not_before - time.monotonic()) > 0:  # noqa: ASYNC110 - a time moves on, no event comes
                await asyncio.sleep(left)
        except asyncio.CancelledError:
            self.leave()
            raise

    def leave(self) -> None:
        """Make room for the next request."""
        self.flying -= 1
        self._wake()

    def answered(self, expected: float = 0.0, used: float = 0.0) -> None:
        """Count an answer."""
        self.streak, self._held, self.answered_at = 0, 0.0, time.monotonic()
        self._unanswered.clear()
        if self.tokens is not None:
            self.tokens.settle(expected, used)
        if self.window < self.most:
            self.window = min(float(self.most), self.window + 2.0 / self.window)
            self._wake()

    def failed(self, key: str, *, limited: bool) -> None:
        """Count a try without an answer; *limited* says that there were too many."""
        now = time.monotonic()
        self.streak += 1
        if not self.adaptive:
            return
        self._unanswered.add(key)
        if self.streak >= _STREAK:
            self.window = 1.0
            probe = min(2.0 ** min(self.streak - _STREAK, 9), _LONGEST_PROBE)
            self.not_before = max(self.not_before, now + probe * self.backoff)
        elif now - self._cut_at >= _ROUND * self.backoff:
            self._cut_at = now
            self.window = max(1.0, self.window * (_LIMITED if limited else _TROUBLED))

    def hold(self, seconds: float) -> None:
        """Hold everybody back for as long as the provider asked for; that is no silence of its own."""
        self._held = max(self._held, seconds)
        self.not_before = max(self.not_before, time.monotonic() + seconds)

    @property
    def dead(self) -> bool:
        """Say whether the provider is down: many different requests, and a long time, without an answer."""
        quiet = time.monotonic() - self.answered_at
        return len(self._unanswered) >= _STREAK and quiet >= _SILENCE * self.backoff + self._held

    def _wake(self) -> None:
        room = max(1, int(self.window)) - self.flying
        while room > 0 and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                room -= 1
