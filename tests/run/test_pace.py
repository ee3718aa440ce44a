import asyncio
import time

import pytest

from forge.run.pace import Pace, Rate


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still until it is moved; sleeping moves it."""

    class Clock:
        now = 1000.0

        async def sleep(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def test_a_429_halves_the_window_once_a_burst_and_answers_widen_it_again(clock):
    pace = Pace(64)
    for number in range(10):
        pace.failed(str(number), limited=True)
    assert 32 == pace.window
    pace.answered()
    clock.now += 1.0
    pace.failed("late", limited=True)
    assert 16 == int(pace.window)
    for _ in range(2_000):
        pace.answered()
    assert 64 == pace.window


def test_another_failure_takes_a_tenth(clock):
    pace = Pace(10)
    pace.failed("a", limited=False)
    assert 9 == pace.window


def test_without_any_answer_one_request_at_a_time_goes_out_at_growing_distances(clock):
    pace = Pace(64)
    waits = []
    for number in range(26):
        before = clock.now
        pace.failed(str(number % 40), limited=False)
        waits.append(max(0.0, pace.not_before - before))
    assert [0.0] * 19 + [1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0] == waits
    assert 1 == pace.window
    pace.answered()
    assert 0 == pace.streak


def test_a_provider_is_dead_after_many_requests_and_a_long_time_without_an_answer(clock):
    pace = Pace(64)
    for number in range(20):
        pace.failed(str(number), limited=False)
    assert not pace.dead
    clock.now += 91
    assert pace.dead
    pace.answered()
    assert not pace.dead


def test_a_few_rows_that_always_fail_do_not_make_it_dead(clock):
    pace = Pace(64)
    for number in range(100):
        pace.failed(str(number % 5), limited=False)
    clock.now += 1000
    assert not pace.dead


def test_failures_inside_batches_say_nothing_of_the_pace(clock):
    pace = Pace(64, adaptive=False)
    for number in range(100):
        pace.failed(str(number), limited=True)
    clock.now += 1000
    assert (64, False) == (pace.window, pace.dead)


def test_a_rate_is_kept_over_a_minute(clock, monkeypatch):
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    pace = Pace(64, requests=Rate(600))

    async def many():
        for _ in range(301):
            await pace.enter(0)
            pace.leave()

    begun = clock.now
    asyncio.run(many())
    assert 30.0 == pytest.approx(clock.now - begun, abs=0.2)


def test_tokens_are_reserved_as_expected_and_settled_as_used(clock):
    rate = Rate(6_000)
    assert 0.0 == rate.reserve(10)
    assert 10.0 == pytest.approx(rate.reserve(1_000))
    rate.settle(1_000, 500)
    assert 5.0 == pytest.approx(rate.reserve(0))


def test_no_more_than_the_window_goes_through_and_everybody_gets_a_turn():
    pace = Pace(3)
    seen = []

    async def one(number):
        await pace.enter(0)
        seen.append(pace.flying)
        await asyncio.sleep(0)
        pace.leave()
        return number

    async def every():
        return await asyncio.gather(*map(one, range(50)))

    assert list(range(50)) == asyncio.run(every())
    assert 3 == max(seen)
    assert 0 == pace.flying


def test_one_that_is_cancelled_while_it_waits_takes_no_place():
    pace = Pace(1)

    async def story():
        await pace.enter(0)
        lost = asyncio.create_task(pace.enter(0))
        waiting = asyncio.create_task(pace.enter(0))
        await asyncio.sleep(0)
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        pace.leave()
        await asyncio.wait_for(waiting, 5)
        return pace.flying

    assert 1 == asyncio.run(story())
