"""Builds that are killed at random moments: nothing is lost, nothing is done twice, nothing is wrong.

``FORGE_KILLS`` says how many kills (12 unless told otherwise; `make kills` does 200), ``FORGE_KILLS_SEED`` which ones.
"""

import os
import random
import subprocess
import time

import attrs
import pytest

import forge
from forge.run.labels import request_key
from forge.store.journal import Journal

from .conftest import SIMPLE, is_running, kill, make_project, workers_of

KILLS = int(os.environ.get("FORGE_KILLS", "12"))
SEED = int(os.environ.get("FORGE_KILLS_SEED", str(time.time_ns() % 1_000_000)))
COUNTED = ("words", "big", "one", "two", "three", "join", "last")
STARTING = 0.15
"""Seconds that a build takes to import what it needs, in which there is little to kill."""


@attrs.define
class Reference:
    """Hold what undisturbed builds of each state of the data came to, and how long they took."""

    keys: dict = attrs.Factory(dict)
    digests: dict = attrs.Factory(dict)
    seconds: float = 0.0


@attrs.define
class Hunt:
    """Build, kill, look, and build again."""

    project: object
    reference: Reference
    random: random.Random
    kills: int = 0
    stores: int = 0
    told: list = attrs.Factory(list)
    whom: dict = attrs.Factory(dict)

    @property
    def store(self):
        return self.project.root / f"store{self.stores}"

    def chain(self, variant):
        """Build one state of the data into the store, killing until it is done or enough were killed."""
        write_data(self.project, variant)
        while not self.build(variant):
            pass
        result = self.project.build("--store", str(self.store), "--jobs", "2")
        assert (0, self.reference.digests[variant]) == (result.exit_code, self.project.digests(result)), self.story()
        assert {"hit"} == set(result.statuses.values()), self.story()

    def build(self, variant):
        """Build once and kill meanwhile; say whether the build came to its end."""
        records, replies, runs = self.project.records(self.store), self.replies(), self.project.runs()
        process = self.project.command("build", "forge.toml", "--store", str(self.store), "--jobs", "2")
        if self.kills < KILLS:
            time.sleep(STARTING + self.random.random() * self.reference.seconds * 0.9)
            whom = self.random.choice(("head", "all", "worker"))
            self.strike(process, whom)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            kill(process.pid, *workers_of(process.pid))
            raise AssertionError(f"the build after a kill hangs: {self.story()}") from None
        said = (self.project.root / "out").read_text()
        assert "Traceback" not in said, self.story() + said
        assert code in (0, 1, -9), self.story() + said
        self.look(variant, records, replies, runs)
        return code == 0

    def strike(self, process, whom):
        """Kill the head, or it with all it started, or one worker; a build that has ended is let be."""
        if process.poll() is not None:
            return
        family = workers_of(process.pid)
        workers = family[:2]  # what they started themselves comes after them
        self.told.append(f"{whom} in store {self.stores}")
        if whom == "worker" and workers:
            kill(self.random.choice(workers))
        elif whom == "head":
            kill(process.pid)
        else:
            kill(process.pid, *family)
        self.kills += 1
        self.whom[whom] = self.whom.get(whom, 0) + 1
        deadline = time.monotonic() + 20
        while whom != "worker" and any(map(is_running, family)):
            assert time.monotonic() < deadline, f"workers outlive their build: {self.story()}"
            time.sleep(0.005)

    def look(self, variant, records, replies, runs):
        """Compare the store and what ran with what they were before."""
        assert [] == self.project.damage(self.store), self.story()
        now = self.project.records(self.store)
        assert records == {key: now.get(key) for key in records}, f"a record was lost or changed: {self.story()}"
        after = self.project.runs()
        done = [step for step in COUNTED if self.reference.keys[variant][step] in records]
        assert {s: runs[s] for s in done} == {s: after[s] for s in done}, f"a finished step ran again: {self.story()}"
        paid = {f"ask {word}" for word in replies}
        assert {w: runs[w] for w in paid} == {w: after[w] for w in paid}, f"a reply was paid twice: {self.story()}"
        assert replies <= self.replies(), f"a reply was lost: {self.story()}"

    def replies(self):
        """Return the words whose replies are written down."""
        journal = Journal(self.store / "journals")
        words = {word for path in (self.project.root / "data").iterdir() for word in path.read_text().split()}
        found = {word for word in words if key_of(word) in journal}
        assert 0 == journal.damaged
        return found

    def story(self):
        return f"FORGE_KILLS_SEED={SEED} FORGE_KILLS={KILLS}, kill {self.kills}: {', '.join(self.told[-6:])}\n"


def key_of(word):
    return request_key(forge.Request({"model": "echo"}, [{"role": "user", "content": word}]))


def write_data(project, variant):
    project.write("data/b.txt", "".join(f"b{variant}word{number * 37 % 101}\n" for number in range(12)) + "no\n")


@pytest.fixture(scope="module")
def hunt(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("kill") / "project")
    reference = Reference()
    for variant in (0, 1):
        write_data(project, variant)
        begun = time.monotonic()
        result = project.build("--store", "undisturbed", "--jobs", "2")
        assert 0 == result.exit_code, result.stderr
        reference.seconds = time.monotonic() - begun
        reference.keys[variant] = {name: step.key for name, step in result.steps.items()}
        reference.digests[variant] = project.digests(result)
    assert 0 == len(set(project.runs().values()) - {1, 2})
    return Hunt(project, reference, random.Random(SEED))


@pytest.mark.timeout(60 + 6 * KILLS)
def test_a_build_that_is_killed_at_any_moment_loses_nothing_and_repeats_nothing(hunt):
    begun = time.monotonic()
    while hunt.kills < KILLS:
        hunt.stores += 1
        for variant in (0, 1):
            hunt.chain(variant)
    # what `make kills` is run for
    print(f"{hunt.kills} kills ({hunt.whom}) over {hunt.stores} stores in {time.monotonic() - begun:.0f} s")  # noqa: T201
    assert KILLS <= hunt.kills


# ---------------------------------------------------------------- before every change of the store, one after another


@pytest.fixture(scope="module")
def struck(tmp_path_factory):
    """Give a project, what it came to undisturbed, to be ended before changes of the store."""
    project = make_project(tmp_path_factory.mktemp("strike") / "project", SIMPLE)
    result = project.build("--store", "undisturbed", "--jobs", "1")
    assert 0 == result.exit_code, result.stderr
    return project, result


def strike(project, result, who, moment, store):
    """End *who* before its change of the store number *moment*; say whether that came before the build's end."""
    before = project.runs()
    hit = project.build("--store", store, "--jobs", "1", WHO=who, STRIKE=str(moment))
    assert "Traceback" not in hit.stderr, hit.stderr
    assert [] == project.damage(project.root / store), moment
    records, runs = project.records(project.root / store), project.runs()
    again = project.build("--store", store, "--jobs", "1")
    assert (0, project.digests(result)) == (again.exit_code, project.digests(again)), (moment, again.stderr)
    now = project.records(project.root / store)
    assert records == {key: now.get(key) for key in records}, moment
    finished = {step.name for step in result.steps.values() if step.key in records} & {"one", "two"}
    after = project.runs()
    assert {s: runs[s] for s in finished} == {s: after[s] for s in finished}, moment
    assert all(after[s] - before[s] <= 2 for s in ("one", "two")), moment
    return hit.exit_code != 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("who", ["head", "worker"])
def test_a_build_that_ends_before_any_change_of_the_store_goes_on_from_there(struck, who):
    project, result = struck
    chosen = random.Random(f"{SEED} {who}")
    moment = tried = 0
    while strike(project, result, who, moment, f"struck/store-{who}-{moment}"):
        tried += 1
        # there are some thirty moments of the head, and twice as many of the worker
        moment += 1 if KILLS >= 200 else chosen.randrange(4, 20)
    assert tried >= 1, f"FORGE_KILLS_SEED={SEED}"
    print(f"{tried} moments of the {who}")  # noqa: T201
