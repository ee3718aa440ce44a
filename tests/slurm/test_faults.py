"""What goes wrong on a cluster: no action is committed twice, none is lost, and results are the local executor's."""

import json
import os
import random
import signal
import time

import pytest

from .waiting import wait_until
from .work import kill, labels, make_project, step

KILLS = int(os.environ.get("FORGE_SLURM_KILLS", "5"))
SEED = int(os.environ.get("FORGE_SLURM_SEED", str(time.time_ns() % 1_000_000)))
GRAPH = [
    step("one"),
    step("two", pause=0.5),
    step("three", "one two"),
    step("four", "one", pause=1.0),
    step("five", "three four"),
    labels("words.txt"),
]


def our_names(slurm):
    """Return the names of all of forge's jobs that the controller knows, ended ones too; of an array once."""
    lines = slurm.run("squeue", "--noheader", "--states=all", "--format=%F %j").splitlines()
    return sorted(name for _, name in {tuple(line.split()) for line in lines} if name.startswith("forge-"))


def assert_nothing_was_submitted_twice(slurm):
    names = our_names(slurm)
    assert sorted(set(names)) == names
    assert names, "the controller knows of no job of ours"


def running(slurm, count=1):
    """Wait until that many of forge's jobs run, and return their ids."""

    def found():
        jobs = [job for job, (name, state) in slurm.jobs().items() if name.startswith("forge-") and state == "RUNNING"]
        return jobs if len(jobs) >= count else None

    return wait_until(found)


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * KILLS)
def test_a_head_that_is_killed_at_any_moment_finds_its_jobs_again(slurm, project):
    """``FORGE_SLURM_KILLS`` says how many kills (5 unless told otherwise), ``FORGE_SLURM_SEED`` which ones."""
    chance, kills, rounds, told = random.Random(SEED), 0, 0, []
    while kills < KILLS:
        # each round has keys of its own
        project.write("raw.txt", f"raw {project.root} {rounds}\n")
        project.write("words.txt", "".join(f"word{rounds}of{number}\n" for number in range(12)))
        project.steps(*GRAPH, executor=project.executor + "shard = 4\n")
        while True:
            process = project.command("build", "forge.toml")
            if kills < KILLS:
                time.sleep(0.2 + chance.random() * 3.0)
            if kills < KILLS and process.poll() is None:
                kill(process)
                kills += 1
                told.append(process.pid)
                continue
            code = process.wait(120)
            break
        story = f"FORGE_SLURM_SEED={SEED}, {kills} kills, round {rounds}\n{project.said()}"
        assert 0 == code, story
        assert_nothing_was_submitted_twice(slurm)
        rounds += 1
    result = project.build()
    project.check_whole(result)
    asked = {line: count for line, count in project.notes().items() if line.startswith("ask ")}
    assert dict.fromkeys((f"ask word{r}of{n}" for r in range(rounds) for n in range(12)), 1) == asked


def test_a_build_that_was_killed_adopts_the_job_that_runs_on(slurm, project):
    project.steps(step("one", gate=True), step("two", "one"))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    jobs = set(slurm.living())
    kill(process)
    again = project.command("build", "forge.toml")
    time.sleep(2)
    assert jobs == set(slurm.living()), "the job that ran was not adopted"
    project.open("one")
    assert 0 == again.wait(60), project.said()
    assert_nothing_was_submitted_twice(slurm)
    assert {1} == {project.notes()[f"{done} {name}"] for done in ("begun", "done") for name in ("one", "two")}
    project.check_whole(project.build())


def test_a_job_that_ended_while_no_head_lived_is_a_hit(slurm, project):
    project.steps(step("one", gate=True), step("two", "one"))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    kill(process)
    project.open("one")
    wait_until(lambda: not slurm.living())
    slurm.set(MinJobAge=2)
    wait_until(lambda: not slurm.jobs())
    result = project.build()
    assert ("hit", "ran") == (result.statuses["one"], result.statuses["two"])
    project.check_whole(result)


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_head_that_dies_in_the_middle_of_sbatch_leaves_a_job_that_is_found_by_its_name(slurm, project, how):
    # fact 6: a job was accepted whose id was never seen
    call = {"before": "", "after": 'REAL "$@"\n'}[how]
    project.program(
        "sbatch", f'#!/bin/sh\nif mkdir {project.root}/struck; then\n{call}kill -9 $PPID\nexit 1\nfi\nexec REAL "$@"\n'
    )
    project.steps(step("one", pause=2.0), executor=project.executor.replace('light = "cluster"', ""))
    project.steps(step("one", pause=2.0))
    process = project.command("build", "forge.toml")
    assert -signal.SIGKILL == process.wait(30), project.said()
    assert {"before": 0, "after": 1}[how] == len(slurm.living())
    result = project.build()
    assert_nothing_was_submitted_twice(slurm)
    project.check_whole(result)


@pytest.mark.parametrize("accepted", [False, True])
def test_an_sbatch_that_fails_transiently_is_asked_again_and_submits_once(slurm, project, accepted):
    # facts 3 and 6: without an answer nothing is known of the job
    call = 'REAL "$@" >/dev/null\n' if accepted else ""
    refusal = 'echo "sbatch: error: Batch job submission failed: Unable to contact slurm controller" >&2'
    project.program(
        "sbatch", f'#!/bin/sh\nif mkdir {project.root}/struck; then\n{call}{refusal}\nexit 1\nfi\nexec REAL "$@"\n'
    )
    project.steps(step("one"), step("two", "one"))
    result = project.build()
    assert_nothing_was_submitted_twice(slurm)
    project.check_whole(result)


def test_a_controller_that_is_killed_and_comes_back_costs_nothing(slurm, project):
    project.steps(step("one", gate=True), step("two", gate=True), step("three", "one two"))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"] and project.notes()["begun two"])
    time.sleep(6)  # the controller writes its state every five seconds
    slurm.kill_controller()
    time.sleep(1)
    project.open("one")
    time.sleep(3)
    assert None is process.poll(), project.said()
    slurm.start_controller()
    project.open("two")
    assert 0 == process.wait(90), project.said()
    assert_nothing_was_submitted_twice(slurm)
    project.check_whole(project.build())


def forget_all(slurm):
    """Let the controller lose every job, as one does that is killed right after `sbatch`."""
    slurm.kill_controller()
    for path in (slurm.cluster.state / "controller").glob("job*"):
        path.unlink()
    slurm.start_controller()


def test_a_lost_job_whose_id_another_one_got_is_submitted_again(slurm, project):
    # fact 4: an id is a hint, not a name
    hold = slurm.run("sbatch", "--parsable", "--exclusive", "--nodes=4", "--output=/dev/null", "--wrap", "sleep 300")
    wait_until(lambda: slurm.jobs()[hold.strip()][1] == "RUNNING")
    project.steps(step("one"), step("two", "one"))
    process = project.command("build", "forge.toml")
    [lost] = wait_until(lambda: [job for job, name in slurm.living().items() if name.startswith("forge-")])
    forget_all(slurm)
    words = ("sbatch", "--parsable", "--output=/dev/null", "--job-name=stranger", "--wrap", "sleep 2; exit 3")
    while int(stranger := slurm.run(*words).strip()) < int(lost):
        pass
    assert lost == stranger
    assert 0 == process.wait(90), project.said()
    project.check_whole(project.build())


def test_a_node_that_goes_down_has_its_job_requeued_and_attempts_never_mix(slurm, project):
    project.steps(step("one", gate=True), step("two", "one"))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    [job] = slurm.living()
    node = slurm.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    wait_until(lambda: project.notes()["begun one"] == 2, 60)
    assert [job] == list(slurm.living()), "the job was not requeued under its id"
    project.open("one")
    assert 0 == process.wait(90), project.said()
    assert 1 == project.notes()["done one"]
    assert_nothing_was_submitted_twice(slurm)
    project.check_whole(project.build())


@pytest.mark.slow
def test_a_node_that_falls_silent_while_its_job_runs_on_commits_once(slurm, project):
    # fact 5: run 0 goes on while run 1 starts
    project.steps(step("one", gate=True), step("two", "one"))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    [job] = slurm.living()
    node = slurm.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    slurm.kill_node(node)
    wait_until(lambda: slurm.cluster.node_states()[node].startswith("down"), 90)
    restarted = f"JobId={job}"
    wait_until(lambda: "Restarts=1" in slurm.run("scontrol", "show", "job", job) and restarted, 30)
    wait_until(lambda: slurm.jobs()[job][1] == "RUNNING", 60)
    project.open("one")
    assert 0 == process.wait(120), project.said()
    project.check_whole(project.build())


def test_a_job_that_is_cancelled_by_hand_is_reported_so_and_runs_at_the_next_build(slurm, project):
    project.steps(step("one", gate=True), step("two", "one"), step("three"))
    process = project.command("build", "forge.toml", "--json")
    wait_until(lambda: project.notes()["begun one"] and project.notes()["done three"])
    slurm.run("scancel", *slurm.living())
    assert 1 == process.wait(60), project.said()
    said = project.said()
    assert "cancel" in said.lower(), said
    project.open("one")
    result = project.build()
    assert {"raw": "hit", "one": "ran", "two": "ran", "three": "hit"} == result.statuses
    project.check_whole(result)


def test_a_job_that_waits_and_is_cancelled_by_hand_is_reported_so(slurm, project):
    project.steps(step("one"), executor=project.executor + '[executor.resources]\nextra = ["--begin=now+1hour"]\n')
    process = project.command("build", "forge.toml")
    jobs = wait_until(slurm.living)
    slurm.run("scancel", *jobs)
    assert 1 == process.wait(60), project.said()
    assert "cancel" in project.said().lower(), project.said()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["notice", "limit"])
def test_a_step_whose_time_is_up_keeps_its_state_and_goes_on(slurm, project, how):
    project.steps(step("count", use="count", steps=150))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["from 0"])
    time.sleep(1)
    [job] = slurm.living()
    if how == "notice":
        slurm.run("scancel", "--signal=USR1", "--batch", job)
    else:
        slurm.run("scontrol", "update", f"jobid={job}", "endtime=now")
    assert 0 == process.wait(120), project.said()
    begun = sorted(int(line.split()[1]) for line in project.notes() if line.startswith("from "))
    assert 2 == len(begun)
    assert 0 == begun[0]
    assert 0 < begun[1] < 150, "the second attempt began from nothing"
    assert_nothing_was_submitted_twice(slurm)
    project.check_whole(project.build())


def test_a_requeued_job_as_after_preemption_runs_again(slurm, project):
    project.steps(step("one", gate=True))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    [job] = slurm.living()
    slurm.run("scontrol", "requeue", job)
    wait_until(lambda: project.notes()["begun one"] == 2, 60)
    project.open("one")
    assert 0 == process.wait(60), project.said()
    assert_nothing_was_submitted_twice(slurm)
    project.check_whole(project.build())


@pytest.mark.parametrize(
    ("how", "words"),
    [("exit", "7"), ("signal", "SIGKILL"), ("error", "the step says no")],
)
def test_a_step_that_falls_is_told_with_the_tail_of_its_log_and_stops_only_what_needs_it(slurm, project, how, words):
    # fact 1: what hung on it by `afterok` would wait for ever
    project.steps(step("fall", use="fall", how=how), step("after", "fall"), step("other"))
    result = project.build()
    assert 1 == result.exit_code
    assert {"raw": "ran", "fall": "failed", "after": "skipped", "other": "ran"} == result.statuses
    assert words in result.steps["fall"].error["message"]
    shown = project.forge("build", "forge.toml").stderr
    assert "the last words of the step" in shown
    assert {} == slurm.living()


def test_a_command_that_fails_is_told_with_its_status_and_its_last_words(slurm, project):
    project.manifest(
        project.executor + '[sources.raw]\nuse = "files.any"\npath = "raw.txt"\n'
        '[transforms.bad]\nuse = "run.command"\nfrom = "raw"\ncommand = "echo alas >&2; exit 3"\n'
    )
    result = project.forge("build", "forge.toml")
    assert 1 == result.exit_code
    assert "status 3" in result.stderr
    assert "alas" in result.stderr


@pytest.mark.parametrize("when", ["waiting", "running"])
def test_a_job_whose_output_folder_has_vanished_is_made_whole_again(slurm, project, when):
    # fact 7: Slurm ends it with 0:53 and no log
    project.steps(step("one", gate=True))
    hold = slurm.run("sbatch", "--parsable", "--exclusive", "--nodes=4", "--output=/dev/null", "--wrap", "sleep 300")
    if when == "waiting":
        wait_until(lambda: slurm.jobs()[hold.strip()][1] == "RUNNING")
    else:
        slurm.run("scancel", hold.strip())
    process = project.command("build", "forge.toml")
    if when == "waiting":
        wait_until(lambda: [name for name in slurm.living().values() if name.startswith("forge-")])
    else:
        wait_until(lambda: project.notes()["begun one"])
    (project.store / "jobs").rename(project.root / "gone")
    project.open("one")
    slurm.run("scancel", hold.strip())
    assert 0 == process.wait(90), project.said()
    project.check_whole(project.build())


def test_ended_jobs_that_have_left_the_queue_are_no_lost_jobs(slurm, project):
    # fact 2
    slurm.set(MinJobAge=2)
    project.steps(step("one"), step("two", "one", pause=4.0), step("three", "two"))
    result = project.build()
    project.check_whole(result)
    assert {1} == {project.notes()[f"begun {name}"] for name in ("one", "two", "three")}


def test_many_jobs_are_asked_for_in_one_call(slurm, project):
    project.program("squeue", f'#!/bin/sh\necho "$*" >> {project.root}/asked\nexec REAL "$@"\n')
    project.steps(*(step(f"s{number}", pause=0.2) for number in range(24)))
    begun = time.monotonic()
    result = project.build()
    seconds = time.monotonic() - begun
    asked = (project.root / "asked").read_text().splitlines()
    assert len(asked) <= 4 + seconds, f"{len(asked)} calls of squeue in {seconds:.0f} s for 25 jobs"
    project.check_whole(result)


def test_accounting_that_works_says_why_a_job_died_and_none_is_missed(slurm, project):
    # fact 9: with accounting_storage/none plain `sacct` fails, which every other test here lives with
    said = slurm.cluster.command("sacct", check=False)
    assert 0 != said.returncode
    project.steps(step("one"))
    result = project.build()
    project.check_whole(result)
    record = json.loads(next((project.store / "actions").glob("*/*.json")).read_text())["record"]
    assert record["job"], "the record says nothing of the job"


def test_two_stores_that_want_one_action_each_run_a_job_of_their_own(slurm, project, tmp_path):
    # the names of their jobs are the same: only the store that a job writes to tells them apart
    project.steps(step("one", gate=True))
    first = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    other = make_project(tmp_path / "other", slurm.environment, (project.root / "raw.txt").read_text())
    other.steps(step("one", gate=True))
    other.open("one")
    result = other.build()
    assert {"raw": "ran", "one": "ran"} == result.statuses, result.stderr
    assert None is first.poll()
    project.open("one")
    assert 0 == first.wait(60), project.said()
    assert 1 == project.notes()["begun one"]


def test_two_builds_at_once_submit_each_job_once(slurm, project):
    project.steps(step("one", gate=True), step("two", "one"))
    builds = [project.start("build", "forge.toml", "--json") for _ in range(2)]
    wait_until(lambda: project.notes()["begun one"])
    project.open("one")
    for process in builds:
        with process:
            _, stderr = process.communicate(timeout=60)
        assert 0 == process.returncode, stderr
    assert_nothing_was_submitted_twice(slurm)
    project.check_whole(project.build())
