"""The cluster's executor, driven without a build, against a Slurm that a test tells what to say."""

import json
import os
import shutil
import time

import attrs
import pytest

from forge.core.artifact import Tree
from forge.core.record import Record
from forge.core.step import Resources, Step
from forge.plan.profile import Profile
from forge.run.room import Need
from forge.run.slurm.client import Declined, Listed, Unclear, Unreachable
from forge.run.slurm.executor import SlurmExecutor
from forge.store.base import Store

KEY = "ab" * 32


@attrs.define
class FakeSlurm:
    """Keep jobs in memory; ``errors`` are raised by the next submissions, ``accepts`` says that they are taken."""

    queue: list = attrs.Factory(list)
    errors: list = attrs.Factory(list)
    accepts: bool = False
    down: bool = False
    scripts: list = attrs.Factory(list)
    ended: list = attrs.Factory(list)
    looks: int = 0

    def comment(self, ticket):
        return f"{ticket}-place"

    def submit(self, script):
        error = self.errors.pop(0) if self.errors else None
        if error is None or self.accepts:
            self.scripts.append(script)
            ticket = script.stem.partition("-")[2]
            self.add(script.parent.name, ticket, "PENDING")
        if error is not None:
            raise error
        return self.queue[-1].id

    def add(self, key, ticket, state, index="N/A", number=None):
        number = str(number or len(self.queue) + 1)
        self.queue.append(Listed(number, number, index, f"forge-{key}", ticket, state, "n1", "0:01", "cpu", "None"))

    def state(self, state):
        self.queue[-1] = attrs.evolve(self.queue[-1], state=state)

    def jobs(self):
        self.looks += 1
        if self.down:
            raise Unreachable("no controller")
        return list(self.queue)

    def end(self, ids):
        self.ended += ids

    def cancel(self, keys):
        self.ended += keys

    def detail(self, job):
        return {"Reason": "None", "ExitCode": "0:53"}

    def run(self, *words):
        raise Declined("no accounting")


class FakeLocal:
    def __init__(self):
        self.jobs, self.closed = [], False

    def has_room(self, need):
        return not self.jobs

    def is_full(self):
        return bool(self.jobs)

    def submit(self, job, need):
        self.jobs.append(job)

    def ears(self):
        return []

    def wait(self, seconds):
        return []

    def close(self):
        self.closed = True


@attrs.frozen
class FakeJob:
    key: str = KEY
    step: str = "fit"
    root: str = "/project"
    cluster: dict = attrs.Factory(dict)

    def dump(self):
        return "{}"


def step(kind="trainer", verb="train", **resources):
    return Step("fit", kind, "a.b", "1", verb, None, {}, {}, resources=Resources(**resources))


PROFILE = Profile(poll="0.2s", grace="0.4s", retries=2)


@attrs.define
class Bench:
    store: Store
    slurm: FakeSlurm
    local: FakeLocal
    executor: SlurmExecutor
    leaving: list
    left: list = attrs.Factory(list)

    def submit(self, need=None, job=None):
        self.executor.submit(job or FakeJob(), need or Need.of(step(cpus=1)))

    def until(self, kind, seconds=15.0):
        """Wait for an event of one kind; return it and what came before."""
        before, deadline = [], time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.left += [event for _, event in self.executor.wait()]
            while self.left:
                event = self.left.pop(0)
                if event["event"] == kind:
                    return event, before
                before.append(event)
        raise AssertionError(f"no `{kind}` came, but {before}")

    def until_submitted(self, count=1):
        deadline = time.monotonic() + 15
        while len(self.slurm.scripts) < count or self.executor.active[KEY].submission is None:
            self.executor.wait()
            assert time.monotonic() < deadline
        return self.executor.active[KEY].submission

    def until_local(self):
        deadline = time.monotonic() + 15
        while not self.local.jobs:
            self.executor.wait()
            assert time.monotonic() < deadline
        return self.local.jobs

    def exit(self, code, index="x", restarts=0, ticket=None, *, bell=True, **result):
        """Leave what a job's script leaves."""
        active = self.executor.active[KEY]
        ticket = ticket or active.submission.ticket
        attempt = active.folder.attempt(ticket, index, restarts)
        attempt.mkdir(parents=True, exist_ok=True)
        if result:
            (attempt / "result.json").write_text(json.dumps(result))
        (attempt / "exit.json").write_text(json.dumps({"code": code, "job": "1", "node": "n1"}))
        if bell:
            (self.store.root / "jobs" / "ended" / f"{KEY}.{ticket}.{index}.{restarts}").touch()


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(profile=PROFILE, slurm=None):
        store, local, leaving = Store.open(tmp_path / "store"), FakeLocal(), []

        def leave(steps):
            leaving.extend(steps)
            return "detach"

        slurm = slurm or FakeSlurm()
        executor = SlurmExecutor(store, profile, slurm, local, "m.toml", leave)
        made.append(executor)
        return Bench(store, slurm, local, executor, leaving)

    yield make
    for executor in made:
        if not executor.local.closed:
            executor.active.clear()
            executor.close()


def test_a_light_step_runs_on_the_head_and_a_heavy_one_as_a_job(bench):
    here = bench()
    light, heavy = Need.of(step("transform", "transform")), Need.of(step(cpus=1))
    here.submit(light)
    assert ([KEY], 0) == ([job.key for job in here.local.jobs], len(here.slurm.scripts))
    assert (False, True, False) == (
        here.executor.has_room(light),
        here.executor.has_room(heavy),
        here.executor.is_full(),
    )
    assert not bench(attrs.evolve(PROFILE, most=1, light="cluster")).executor.is_full()


def test_a_job_is_done_when_its_exit_record_is_there_whatever_squeue_says(bench):
    here = bench()
    here.submit()
    here.until_submitted()
    here.slurm.down = True
    here.exit(0, event="done", ran=True)
    begun = time.monotonic()
    event, _ = here.until("done")
    assert (True, True) == (event["ran"], time.monotonic() - begun < 1.0)


def test_an_exit_record_whose_bell_is_not_heard_is_found(bench):
    here = bench()
    here.submit()
    here.until_submitted()
    here.exit(0, bell=False)
    here.slurm.state("COMPLETED")
    here.until("done")


def test_a_running_job_of_an_earlier_build_is_taken_up(bench):
    first = bench()
    first.submit()
    submission = first.until_submitted()
    first.executor.close()
    assert ["fit"] == first.leaving
    second = bench(slurm=first.slurm)
    second.submit()
    assert submission.ticket == second.until_submitted().ticket
    assert 1 == len(second.slurm.scripts)
    second.exit(0)
    second.until("done")


def test_a_job_that_ended_meanwhile_is_not_submitted_again(bench):
    first = bench()
    first.submit()
    first.until_submitted()
    first.executor.close()
    tree = first.store.publish_tree(Tree({}))
    first.executor.actions.publish(Record(KEY, "fit", "trainer", "a.b", {}, {}, tree.digest, 1.0))
    first.slurm.state("COMPLETED")
    second = bench(slurm=first.slurm)
    second.submit()
    event, _ = second.until("done")
    assert (False, 1) == (event["ran"], len(second.slurm.scripts))


@pytest.mark.parametrize("accepts", [False, True], ids=["not taken", "taken all the same"])
def test_a_submission_that_fails_transiently_is_asked_for_again_and_taken_once(bench, accepts):
    slurm = FakeSlurm(errors=[Unreachable("Unable to contact slurm controller")], accepts=accepts)
    here = bench(slurm=slurm)
    here.submit()
    here.until_submitted()
    assert 1 == len(slurm.queue)
    here.exit(0)
    here.until("done")


def test_a_controller_that_does_not_answer_is_told_once_and_costs_no_job(bench):
    here = bench()
    here.submit()
    here.until_submitted()
    here.slurm.down = True
    event, _ = here.until("warning")
    assert "no controller; jobs that run go on, and the controller is asked again" == event["message"]
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert [] == [e for _, e in here.executor.wait() if e["event"] != "progress"]
    here.exit(0)
    here.until("done")


def test_what_slurm_refuses_for_good_fails_the_step_at_once(bench):
    here = bench(slurm=FakeSlurm(errors=[Declined("`sbatch`: Invalid partition name specified")]))
    here.submit()
    event, _ = here.until("failed")
    assert "`sbatch`: Invalid partition name specified" == event["message"]
    assert "forge check --executor slurm" in event["hint"]


def test_an_unclear_failure_is_tried_again(bench):
    here = bench(slurm=FakeSlurm(errors=[Unclear("`sbatch`: odd")]))
    here.submit()
    here.until_submitted()


@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED", "COMPLETED", None])
def test_a_job_that_is_lost_is_submitted_again(bench, state):
    here = bench()
    here.submit()
    first = here.until_submitted()
    if state is None:
        here.slurm.queue.clear()
    else:
        here.slurm.state(state)
    event, _ = here.until("warning")
    assert event["message"].endswith("submitted again")
    assert first.ticket != here.until_submitted(2).ticket


def test_a_job_that_is_lost_again_and_again_fails(bench):
    here = bench()
    here.submit()
    for count in (1, 2):
        here.until_submitted(count)
        here.slurm.queue.clear()
        if count == 1:
            here.until("warning")
    event, _ = here.until("failed")
    assert "left no exit record (2 times)" in event["message"]


def test_a_late_end_of_a_lost_attempt_is_no_end_of_the_new_one(bench):
    here = bench()
    here.submit()
    first = here.until_submitted()
    here.slurm.queue.clear()
    here.until("warning")
    here.until_submitted(2)
    here.exit(1, ticket=first.ticket)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert {"progress"} >= {e["event"] for _, e in here.executor.wait()}
    here.exit(0)
    here.until("done")


def test_an_attempt_that_failed_on_a_node_that_was_given_up_does_not_count_while_the_next_one_runs(bench):
    here = bench()
    here.submit()
    here.until_submitted()
    here.slurm.state("RUNNING")
    here.exit(1, restarts=0)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert {"progress"} >= {e["event"] for _, e in here.executor.wait()}
    here.exit(0, restarts=1)
    here.until("done")


def test_a_job_that_is_held_is_told_once_with_what_lets_it_go_on(bench):
    here = bench()
    here.submit()
    here.until_submitted()
    here.slurm.queue[-1] = attrs.evolve(here.slurm.queue[-1], reason="launch_failed_requeued_held")
    event, _ = here.until("warning")
    assert "job 1 is held (launch_failed_requeued_held): `scontrol release 1` lets it go on" == event["message"]
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert {"progress"} >= {e["event"] for _, e in here.executor.wait()}


def test_a_job_cancelled_by_hand_is_reported_so(bench):
    here = bench()
    here.submit()
    here.until_submitted()
    here.slurm.state("CANCELLED")
    event, _ = here.until("failed")
    assert "job 1 was cancelled, by `scancel` or by an administrator" == event["message"]


@pytest.mark.parametrize(
    ("state", "words"),
    [("TIMEOUT", "ran into its time limit"), ("OUT_OF_MEMORY", "ran out of memory"), ("FAILED", "ExitCode 0:53")],
)
def test_a_job_that_ended_badly_without_a_record_says_how(bench, state, words):
    here = bench()
    here.submit()
    here.until_submitted()
    here.slurm.state(state)
    event, _ = here.until("failed")
    assert words in event["message"]


@pytest.mark.parametrize("kept", [False, True])
def test_a_job_that_was_killed_at_its_limit_goes_on_where_it_kept_something(bench, kept):
    here = bench()
    here.submit()
    submission = here.until_submitted()
    attempt = here.executor.active[KEY].folder.attempt(submission.ticket, "x", 0)
    attempt.mkdir()
    (attempt / "events.jsonl").write_text(json.dumps({"event": "begun", "at": time.time() - 1}) + "\n")
    scratch = here.executor.actions.scratch(KEY)
    (scratch / "checkpoint").write_text("1")
    if not kept:
        os.utime(scratch / "checkpoint", (1, 1))
    here.slurm.state("TIMEOUT")
    if kept:
        assert "goes on from what it kept" in here.until("warning")[0]["message"]
        here.until_submitted(2)
    else:
        assert "ran into its time limit" in here.until("failed")[0]["message"]


def test_a_job_that_another_build_has_just_submitted_is_taken_up(bench):
    first = bench()
    first.submit(job=FakeJob(key="0" * 64))
    second = bench(slurm=first.slurm)
    second.submit(job=FakeJob(key="1" * 64))  # both have listed the queue by now
    deadline = time.monotonic() + 10
    while len(first.slurm.queue) < 2:
        first.executor.wait()
        second.executor.wait()
        assert time.monotonic() < deadline
    first.submit()
    ticket = first.until_submitted(3).ticket
    second.submit()
    assert ticket == second.until_submitted(3).ticket
    assert 3 == len(first.slurm.queue)


def test_a_job_whose_folder_has_vanished_is_made_whole_again(bench):
    here = bench()
    here.submit()
    here.until_submitted()
    shutil.rmtree(here.store.root / "jobs")
    here.slurm.state("FAILED")
    event, _ = here.until("warning")
    assert "its folder is no longer in the store" in event["message"]
    here.until_submitted(2)
    assert "{}" == (here.executor.active[KEY].folder.path / "job.json").read_text()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (7, "ended with status 7"),
        (137, "was killed by signal 9 (SIGKILL)"),
        (127, "could not start its worker (status 127)"),
    ],
)
def test_a_worker_without_a_last_word_is_told_by_exit_or_signal_with_the_tail_of_its_log(bench, code, words):
    here = bench()
    here.submit()
    here.until_submitted()
    (here.store.root / "logs" / f"{KEY}.log").write_text("\n".join(f"line {n}" for n in range(100)))
    here.slurm.state("FAILED")
    here.exit(code)
    event, _ = here.until("failed")
    assert f"the worker of step `fit` in job 1 on `n1` {words}" == event["message"]
    assert [f"line {n}" for n in range(80, 100)] == event["tail"].splitlines()


def test_a_step_that_failed_says_what_it_would_have_said_here(bench):
    here = bench()
    here.submit()
    here.until_submitted()
    here.slurm.state("FAILED")
    here.exit(1, event="failed", message="no rows left", hint="look", traceback=None, exit_code=1)
    event, _ = here.until("failed")
    assert ("no rows left", "look", 1) == (event["message"], event["hint"], event["exit_code"])


def test_a_worker_that_kept_its_state_and_was_not_requeued_is_submitted_again(bench):
    here = bench()
    here.submit()
    here.until_submitted()
    here.slurm.state("FAILED")
    here.exit(75)
    here.until_submitted(2)


LABELER = Need.of(step("labeler", "request", cpus=1), 900)


def test_a_labeler_s_shards_are_one_array_and_its_own_action_runs_on_the_head(bench):
    here = bench()
    here.submit(LABELER)
    submission = here.until_submitted()
    assert ((0, 1, 2), 300, 900) == (submission.shards, submission.shard, submission.rows)
    assert "--array=0-2%16" in here.slurm.scripts[0].read_text()
    for index in "012":
        assert [] == here.local.jobs
        here.exit(0, index=index)
        here.executor.wait()
    [job] = here.until_local()
    assert {"array": "1", "tasks": 3} == job.cluster
    assert KEY not in here.executor.active


def test_only_shards_that_are_missing_are_submitted_again(bench):
    first = bench()
    first.submit(LABELER)
    first.until_submitted()
    first.exit(0, index="0")
    first.exit(0, index="2")
    first.executor.close()
    first.slurm.queue.clear()
    second = bench(slurm=first.slurm)
    second.submit(LABELER)
    assert (1,) == second.until_submitted(2).shards
    second.exit(0, index="1")
    assert 1 == len(second.until_local())


def test_when_all_shards_are_done_nothing_is_submitted(bench):
    first = bench()
    first.submit(LABELER)
    first.until_submitted()
    for index in "012":
        first.exit(0, index=index)
    first.executor.close()
    second = bench(slurm=FakeSlurm())
    second.submit(LABELER)
    assert (1, []) == (len(second.until_local()), second.slurm.scripts)


def test_a_failed_shard_is_told_when_the_others_are_done(bench):
    here = bench()
    here.submit(LABELER)
    here.until_submitted()
    here.exit(0, index="0")
    here.exit(1, index="1", event="failed", message="the key is wrong", hint=None, traceback=None, exit_code=1)
    here.exit(0, index="2")
    here.slurm.state("COMPLETED")
    event, _ = here.until("failed")
    assert "1 of 3 shards of step `fit` failed (tasks 1); the first: the key is wrong" == event["message"]
    assert "the replies that came are kept" in event["hint"]
    assert [] == here.local.jobs


def test_when_shard_after_shard_fails_the_others_are_not_started(bench):
    here = bench()
    here.submit(Need.of(step("labeler", "request", cpus=1), 3000))
    here.until_submitted()
    here.slurm.state("RUNNING")
    for index in "012":
        here.exit(1, index=index, event="failed", message="no", hint=None, traceback=None, exit_code=1)
    deadline = time.monotonic() + 10
    while not here.slurm.ended and time.monotonic() < deadline:
        here.executor.wait()
    assert ["1"] == here.slurm.ended


def test_thousands_of_jobs_are_asked_for_in_one_call_and_less_and_less_often(bench):
    here = bench(attrs.evolve(PROFILE, poll="1s"))
    for number in range(50):
        here.submit(job=FakeJob(key=f"{number:064x}"))
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        here.executor.wait()
    assert 50 == len(here.slurm.scripts)
    assert here.slurm.looks <= 6


@pytest.mark.parametrize("choice", ["detach", "cancel"])
def test_a_build_that_is_interrupted_detaches_or_cancels(bench, choice):
    here = bench()
    here.submit()
    here.until_submitted()
    here.executor.leaving = lambda _: choice
    here.executor.close()
    assert ([KEY] if choice == "cancel" else []) == here.slurm.ended
    assert here.local.closed


def test_what_a_job_reports_is_passed_on(bench):
    here = bench()
    here.submit()
    submission = here.until_submitted()
    attempt = here.executor.active[KEY].folder.attempt(submission.ticket, "x", 0)
    attempt.mkdir()
    lines = [
        {"event": "progress", "done": 3, "total": 9, "figures": {"loss": 1.5}},
        {"event": "warning", "message": "odd"},
    ]
    (attempt / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut')
    event, _ = here.until("warning")
    assert "odd" == event["message"]
    while (event := here.until("progress")[0])["done"] != 3:
        pass
    assert (9, 1.5) == (event["total"], event["figures"]["loss"])
