"""What fits beside what."""

import pytest

from forge.core.step import Resources, Step, bytes_of
from forge.run.room import Need, Room

GIB = 1 << 30
ROOM = Room(jobs=4, cpus=8, memory=16 * GIB, gpus=1)


@pytest.mark.parametrize(
    ("need", "running", "fits"),
    [
        (Need(), [], True),
        (Need(), [Need()] * 3, True),
        (Need(), [Need()] * 4, False),
        (Need(alone=True), [], True),
        (Need(alone=True), [Need()], False),
        (Need(), [Need(alone=True)], False),
        (Need(cpus=4), [Need(cpus=4)], True),
        (Need(cpus=5), [Need(cpus=4)], False),
        (Need(cpus=64), [], True),
        (Need(cpus=64), [Need()], False),
        (Need(memory=10 * GIB), [Need(memory=6 * GIB)], True),
        (Need(memory=10 * GIB), [Need(memory=7 * GIB)], False),
        (Need(gpus=1), [Need()], True),
        (Need(gpus=1), [Need(gpus=1)], False),
        (Need(), [Need(gpus=2)], True),
    ],
)
def test_a_step_starts_where_there_is_room_for_it(need, running, fits):
    assert fits == ROOM.fits(need, running)


def step(heavy, **resources):
    return Step("s", "trainer", "a.b", "1", "train", None, {}, {}, heavy=heavy, resources=Resources(**resources))


def test_a_heavy_step_that_declares_its_cores_shares_the_machine():
    assert Need(8, 32 * GIB, 1) == Need.of(step(heavy=True, cpus=8, memory="32G", gpus=1))
    assert Need(alone=True) == Need.of(step(heavy=True))
    assert Need() == Need.of(step(heavy=False))


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("1K", 1024), ("1.5G", 3 * GIB // 2), ("2 GiB", 2 * GIB), ("3mb", 3 << 20)]
)
def test_memory_is_read_as_people_write_it(text, size):
    assert size == bytes_of(text)


def test_memory_that_is_no_size_is_named():
    with pytest.raises(ValueError, match="got `lots`"):
        bytes_of("lots")
