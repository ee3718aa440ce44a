"""Builds that are cut off, and the next ones, which go on from there."""

import os
import shutil
import signal

import pytest

from .conftest import CHAIN

LONG = (
    CHAIN
    + """
    [trainers.long]
    use = "toy.long"
    from = "one"
    name = "NAME"
    """
)
DONE = ["both", "one", "other", "raw", "two"]


@pytest.fixture(scope="module")
def built(shared_toy):
    assert 0 == shared_toy.build().exit_code
    return shared_toy


@pytest.fixture
def busy(built, request):
    """Start a build and wait until its long step rests, with all other steps done."""
    toy = built
    toy.reset()
    toy.manifest(LONG.replace("NAME", request.node.name))
    for left in (toy.store / "staging").iterdir():  # a build that was killed can't clear up
        shutil.rmtree(left)
    with toy.start("build", "forge.toml", "--json") as process:
        yield toy, process, toy.wait_for_worker()
        process.kill()
        process.communicate()


def goes_on(toy):
    """Build again, and see that finished steps are kept and the long one goes on from its scratch."""
    toy.runs()
    again = toy.build(TOY_HURRY="1")
    assert 0 == again.exit_code, again.stderr
    assert {"long": "ran"} | dict.fromkeys(DONE, "hit") == again.statuses
    assert ["long", "long 3"] == toy.runs()
    assert [] == list((toy.store / "scratch").iterdir())
    assert [] == list((toy.store / "claims").iterdir())


def leaves_nothing_half_made(toy):
    assert [] == list((toy.store / "staging").iterdir())


def test_control_c_ends_the_workers_and_says_that_finished_steps_are_kept(busy, die):
    toy, process, pids = busy
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert (130, True) == (process.returncode, "interrupted: finished steps are kept" in said)
    assert "Traceback" not in said
    assert die(*pids)
    leaves_nothing_half_made(toy)
    goes_on(toy)


def test_a_terminated_build_ends_its_workers(busy, die):
    toy, process, pids = busy
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert die(*pids)
    leaves_nothing_half_made(toy)
    goes_on(toy)


def test_a_killed_build_takes_its_workers_with_it(busy, die):
    toy, process, pids = busy
    process.kill()
    process.communicate(timeout=120)
    assert die(*pids)
    goes_on(toy)


def test_a_killed_worker_fails_its_step_and_the_next_build_goes_on_from_scratch(busy, die):
    toy, process, pids = busy
    os.kill(pids[0], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert (1, True) == (process.returncode, "was killed by signal 9 (SIGKILL)" in said)
    assert die(*pids)
    leaves_nothing_half_made(toy)
    goes_on(toy)


def test_two_builds_at_once_run_each_action_once(toy):
    toy.manifest(CHAIN)
    arguments = ("build", "forge.toml", "--json", "--set", "one.pause=0.3", "--set", "other.pause=0.3")
    with toy.start(*arguments) as one, toy.start(*arguments) as two:
        codes = [(p.communicate(timeout=180), p.returncode)[1] for p in (one, two)]
    assert [0, 0] == codes
    assert ["!", "a", "upper", "z"] == sorted(toy.runs())
