"""What goes wrong with jobs: no action is committed twice, none is lost, and results are the local executor's."""

import json
import os
import random
import signal
import time

import pytest

from .waiting import wait_until
from .work import EXECUTOR, PLUGIN, kill, labels, make_project, step

KILLS = int(os.environ.get("FORGE_SLURM_KILLS", "4"))
SEED = int(os.environ.get("FORGE_SLURM_SEED", str(time.time_ns() % 1_000_000)))
GRAPH = [
    step("one"),
    step("two", pause=0.5),
    step("three", "one two"),
    step("four", "one", pause=1.0),
    labels("words.txt"),
]
HELD = '[executor.resources]\nextra = ["--hold"]\n'

pytestmark = [pytest.mark.together, pytest.mark.timeout(400)]  # the longest come first


def on(feature):
    """Return an executor whose jobs run on two nodes that others take last."""
    return f'{EXECUTOR}[executor.resources]\nconstraint = "{feature}"\n'


def test_a_node_that_falls_silent_while_its_job_runs_on_commits_once(slurm, project):
    # fact 5: run 0 goes on while run 1 starts
    project.steps(step("one", gate=True), step("two", "one"), executor=on("pair4"))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    [job] = slurm.living(project)
    first = slurm.node_of(job)
    slurm.kill_node(first)
    wait_until(lambda: slurm.node_of(job) not in ("", first), 120)
    time.sleep(2)
    project.open("one")
    assert 0 == process.wait(120), project.said()
    project.check_whole(project.build())


@pytest.mark.timeout(200 + 40 * KILLS)
def test_a_head_that_is_killed_at_any_moment_finds_its_jobs_again(slurm, project):
    """``FORGE_SLURM_KILLS`` says how many kills (4 unless told otherwise), ``FORGE_SLURM_SEED`` which ones."""
    chance, kills, rounds = random.Random(SEED), 0, 0
    while kills < KILLS:
        # each round has keys of its own
        project.write("raw.txt", f"raw {project.root} {rounds}\n")
        project.write("words.txt", "".join(f"word{rounds}of{number}\n" for number in range(12)))
        project.steps(*GRAPH, executor=project.executor + "shard = 4\n")
        code = None
        while code is None:
            process = project.command("build", "forge.toml")
            if kills < KILLS:
                time.sleep(0.3 + chance.random() * 3.0)
            if kills < KILLS and process.poll() is None:
                kill(process)
                kills += 1
            else:
                code = process.wait(200)
        assert 0 == code, f"FORGE_SLURM_SEED={SEED}, {kills} kills, round {rounds}\n{project.said()}"
        project.check_submitted_once(slurm)
        rounds += 1
    project.check_whole(project.build())
    asked = {line: count for line, count in project.notes().items() if line.startswith("ask ")}
    assert dict.fromkeys((f"ask word{r}of{n}" for r in range(rounds) for n in range(12)), 1) == asked


def test_a_build_that_was_killed_adopts_the_job_that_runs_on(slurm, project):
    project.steps(step("one", gate=True), step("two", "one"))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    jobs = slurm.living(project)
    kill(process)
    again = project.command("build", "forge.toml")
    wait_until(lambda: "one" in project.said())
    time.sleep(1)
    assert jobs == slurm.living(project), "the job that ran was not adopted"
    project.open("one")
    assert 0 == again.wait(90), project.said()
    project.check_submitted_once(slurm)
    assert {1} == {project.notes()[f"{done} {name}"] for done in ("begun", "done") for name in ("one", "two")}
    project.check_whole(project.build())


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_head_that_dies_in_the_middle_of_sbatch_leaves_a_job_that_is_found_by_its_name(slurm, project, how):
    # fact 6: a job was accepted whose id was never seen
    call = {"before": "", "after": 'REAL "$@"\n'}[how]
    project.program("sbatch", once(project, f"{call}kill -9 $PPID"))
    project.steps(step("one", pause=3.0))
    process = project.command("build", "forge.toml")
    assert -signal.SIGKILL == process.wait(60), project.said()
    assert {"before": 0, "after": 1}[how] == len(slurm.living(project))
    result = project.build()
    project.check_submitted_once(slurm)
    project.check_whole(result)


@pytest.mark.parametrize("accepted", [False, True])
def test_an_sbatch_that_fails_transiently_is_asked_again_and_submits_once(slurm, project, accepted):
    # facts 3 and 6: without an answer nothing is known of the job
    call = 'REAL "$@" >/dev/null\n' if accepted else ""
    refusal = 'echo "sbatch: error: Batch job submission failed: Unable to contact slurm controller" >&2'
    project.program("sbatch", once(project, f"{call}{refusal}"))
    project.steps(step("one"), step("two", "one"))
    result = project.build()
    project.check_submitted_once(slurm)
    project.check_whole(result)


def once(project, lines):
    """Return a program that does something else the first time, and then what the program that it hides does."""
    return f'#!/bin/sh\nif mkdir {project.root}/struck 2>/dev/null; then\n{lines}\nexit 1\nfi\nexec REAL "$@"\n'


def test_an_sbatch_that_refuses_for_good_fails_the_step_at_once(slurm, project):
    project.steps(step("one"), step("two"), executor=project.executor + '[executor.resources]\npartition = "none"\n')
    result = project.build()
    assert (1, {"raw": "ran", "one": "failed", "two": "failed"}) == (result.exit_code, result.statuses)
    assert "invalid partition" in result.steps["one"].error["message"].lower()
    assert {} == slurm.jobs(project)


def test_a_node_that_goes_down_has_its_job_requeued_and_attempts_never_mix(slurm, project):
    project.steps(step("one", gate=True), step("two", "one"), executor=on("pair3"))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    [job] = slurm.living(project)
    slurm.run("scontrol", "update", f"nodename={slurm.node_of(job)}", "state=down", "reason=test")
    wait_until(lambda: project.notes()["begun one"] == 2, 90)
    assert [job] == slurm.living(project), "the job was not requeued under its id"
    project.open("one")
    assert 0 == process.wait(90), project.said()
    assert 1 == project.notes()["done one"]
    project.check_submitted_once(slurm)
    project.check_whole(project.build())


def test_a_job_that_is_cancelled_by_hand_is_reported_so_and_runs_at_the_next_build(slurm, project):
    project.steps(step("one", gate=True), step("two", "one"), step("three"))
    process = project.command("build", "forge.toml", "--json")
    wait_until(lambda: project.notes()["begun one"] and project.notes()["done three"])
    slurm.run("scancel", *slurm.living(project))
    assert 1 == process.wait(90), project.said()
    assert "was cancelled" in project.said()
    project.open("one")
    result = project.build()
    assert {"raw": "hit", "one": "ran", "two": "ran", "three": "hit"} == result.statuses
    project.check_whole(result)


def test_a_job_that_waits_and_is_cancelled_by_hand_is_reported_so(slurm, project):
    project.steps(step("one"), executor=project.executor + HELD)
    process = project.command("build", "forge.toml")
    jobs = wait_until(lambda: slurm.living(project))
    slurm.run("scancel", *jobs)
    assert 1 == process.wait(90), project.said()
    assert "was cancelled" in project.said()


@pytest.mark.parametrize("how", ["notice", "limit"])
def test_a_step_whose_time_is_up_keeps_its_state_and_goes_on(slurm, project, how):
    # "limit": a notice longer than the time that is left is given at once, and must not keep the step from working
    executor = project.executor + ("" if how == "limit" else 'notice = "3s"\n')
    project.steps(step("count", use="count", steps=600 if how == "limit" else 60), executor=executor)
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["from 0"])
    time.sleep(1)
    [job] = slurm.living(project)
    if how == "notice":
        slurm.run("scancel", "--signal=USR1", "--batch", job)
    else:
        slurm.run("scontrol", "update", f"jobid={job}", "endtime=now")
    assert 0 == process.wait(200), project.said()
    begun = sorted(int(line.split()[1]) for line in project.notes() if line.startswith("from "))
    # the limit that was moved may end the second attempt too
    assert 0 == begun[0]
    assert 2 <= len(begun)
    assert 0 < begun[1] < 600, "the second attempt began from nothing"
    project.check_submitted_once(slurm)
    project.check_whole(project.build())


def test_a_step_that_keeps_no_state_says_that_its_time_was_too_short(slurm, project):
    project.steps(step("one", gate=True), executor=project.executor + 'notice = "1s"\n')
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    time.sleep(0.5)
    slurm.run("scancel", "--signal=USR1", "--batch", *slurm.living(project))
    assert 1 == process.wait(90), project.said()
    assert "time limit" in project.said()
    assert "give its `resources` more `time`" in project.said()


def test_a_requeued_job_as_after_preemption_runs_again(slurm, project):
    project.steps(step("one", gate=True))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    slurm.run("scontrol", "requeue", *slurm.living(project))
    wait_until(lambda: project.notes()["begun one"] == 2, 90)
    project.open("one")
    assert 0 == process.wait(90), project.said()
    project.check_submitted_once(slurm)
    project.check_whole(project.build())


def test_steps_that_fall_are_told_with_the_tail_of_their_logs_and_stop_only_what_needs_them(slurm, project):
    # fact 1: what hung on one by `afterok` would wait for ever
    falls = {"exit": "status 7", "signal": "SIGKILL", "error": "the step says no"}
    project.steps(*(step(how, use="fall", how=how) for how in falls), step("after", "exit"), step("other"), COMMAND)
    result = project.forge("build", "forge.toml", "--json")
    steps = {each["name"]: each for each in json.loads(result.stdout)["steps"]}
    assert 1 == result.exit_code
    states = dict.fromkeys([*falls, "command"], "failed") | {"raw": "ran", "after": "skipped", "other": "ran"}
    assert states == {name: each["status"] for name, each in steps.items()}
    for how, words in falls.items():
        assert words in steps[how]["error"]["message"]
    assert "status 3" in steps["command"]["error"]["message"]
    assert 3 <= result.stderr.count("the last words of the step"), result.stderr
    assert "alas" in result.stderr
    assert [] == slurm.living(project)


COMMAND = '[transforms.command]\nuse = "run.command"\nfrom = "raw"\ncommand = "echo alas >&2; exit 3"\n'


@pytest.mark.parametrize("when", ["waiting", "running"])
def test_a_job_whose_output_folder_has_vanished_is_made_whole_again(slurm, project, when):
    # fact 7: Slurm ends it with 0:53 and no log
    project.steps(step("one", gate=True), executor=project.executor + (HELD if when == "waiting" else ""))
    process = project.command("build", "forge.toml")
    [job] = wait_until(lambda: slurm.living(project))
    if when == "running":
        wait_until(lambda: project.notes()["begun one"])
    else:
        project.steps(step("one", gate=True))
    (project.store / "jobs").rename(project.root / "gone")
    project.open("one")
    if when == "waiting":
        kill(process)
        process = project.command("build", "forge.toml")
        slurm.run("scontrol", "release", job)
    assert 0 == process.wait(120), project.said()
    project.check_whole(project.build())


def test_many_jobs_are_asked_for_in_one_call(slurm, project):
    project.program("squeue", f'#!/bin/sh\necho "$*" >> {project.root}/asked\nexec REAL "$@"\n')
    project.steps(*(step(f"s{number}", pause=0.2) for number in range(16)))
    begun = time.monotonic()
    result = project.build()
    seconds = time.monotonic() - begun
    asked = (project.root / "asked").read_text().splitlines()
    assert len(asked) <= 4 + seconds, f"{len(asked)} calls of squeue in {seconds:.0f} s for 16 jobs"
    project.check_submitted_once(slurm)
    project.check_whole(result)


def test_the_record_says_which_job_made_it_where_there_is_no_accounting(slurm, project):
    # fact 9: with accounting_storage/none plain `sacct` fails, which every test here lives with
    assert 0 != slurm.cluster.command("sacct", check=False).returncode
    project.steps(step("one"))
    result = project.build()
    assert 0 == result.exit_code, result.stderr
    job = project.record(result.steps["one"].key)["job"]
    assert set(slurm.jobs(project)) == {job["id"]}
    assert ("cpu", True, True) == (job["partition"], job["node"] in slurm.nodes, job["memory"] > 1 << 20)
    shown = project.forge("show", "forge.toml", "one").stdout
    assert f"job {job['id']}, cluster forge, partition cpu, node {job['node']}" in shown


@pytest.mark.parametrize("owner", ["ours", "another's"])
def test_accounting_that_works_adds_to_the_record_what_it_knows_of_our_job_alone(slurm, project, owner):
    # facts 4 and 9; a stand-in for `sacct`, which goes by ids, says who had this one
    name = 'forge-$(ls -t "$STORE/jobs" | grep -v ended | head -n 1)' if owner == "ours" else "stranger"
    lines = "for word; do case $word in --jobs=*) ids=${word#--jobs=};; esac; done\n"
    lines += f'for id in $(echo "$ids" | tr , " "); do echo "$id|COMPLETED|77||None|cpu9|{name}"; done\n'
    project.program("sacct", f"#!/bin/sh\nSTORE={project.store}\n{lines}")
    project.steps(step("one"))
    result = project.build()
    assert 0 == result.exit_code, result.stderr
    job = project.record(result.steps["one"].key)["job"]
    assert (77 if owner == "ours" else None) == job.get("elapsed")


def test_two_stores_that_want_one_action_each_run_a_job_of_their_own(slurm, project):
    # the names of their jobs are the same: only the store that a job writes to tells them apart
    project.steps(step("one", gate=True))
    first = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    other = make_project(project.root / "other", slurm.environment, (project.root / "raw.txt").read_text())
    other.steps(step("one", gate=True))
    other.open("one")
    result = other.build()
    assert {"raw": "ran", "one": "ran"} == result.statuses, result.stderr
    assert None is first.poll()
    project.open("one")
    assert 0 == first.wait(90), project.said()
    assert 1 == project.notes()["begun one"]


def test_two_builds_at_once_submit_each_job_once(slurm, project):
    project.steps(step("one", gate=True), step("two", "one"))
    builds = [project.start("build", "forge.toml", "--json") for _ in range(2)]
    wait_until(lambda: project.notes()["begun one"])
    project.open("one")
    for process in builds:
        with process:
            _, stderr = process.communicate(timeout=120)
        assert 0 == process.returncode, stderr
    project.check_submitted_once(slurm)
    project.check_whole(project.build())


@pytest.mark.parametrize("where", ["head", "cluster"])
def test_a_labeler_is_one_array_and_pays_each_reply_once(slurm, project, where):
    project.write("words.txt", "".join(f"word{number}\n" for number in range(20)))
    table = f'{project.executor}shard = 6\nat_once = 2\nlight = "{where}"\n'
    project.steps(labels("words.txt"), executor=table)
    result = project.build()
    assert 20 == result.steps["labels"].rows_out
    arrays = {job.partition("_")[0] for job in slurm.jobs(project) if "_" in job}
    assert 1 == len(arrays)
    [script] = [s for s in project.store.glob("jobs/*/script-*.sh") if "--array" in s.read_text()]
    assert "--array=0-3%2" in script.read_text()
    assert {f"ask word{number}": 1 for number in range(20)} == dict(project.notes())
    project.check_whole(result)


@pytest.mark.parametrize("what", ["task", "array"])
def test_an_array_of_which_tasks_are_cancelled_says_so_and_goes_on_where_it_was(slurm, project, what):
    project.write("words.txt", "".join(f"word{number}\n" for number in range(9)))
    project.steps(labels("words.txt", pause=0.8, concurrency=1), executor=project.executor + "shard = 3\nat_once = 2\n")
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["ask word0"] and project.notes()["ask word3"])
    job = slurm.living(project)[0].partition("_")[0]
    slurm.run("scancel", f"{job}_1" if what == "task" else job)
    assert 1 == process.wait(120), project.said()
    assert "was cancelled" in project.said()
    assert [] == slurm.living(project)
    kept = {line for line in project.notes() if line.startswith("ask ")}
    result = project.build()
    assert 9 == result.steps["labels"].rows_out
    project.check_whole(result)
    # a request that was in flight when its task was cancelled may have been asked for again
    asked = project.notes()
    assert {f"ask word{number}" for number in range(9)} == set(asked)
    assert sum(asked.values()) <= 9 + 2, (kept, asked)


def test_a_shard_that_fails_names_itself_and_what_came_is_kept(slurm, project):
    project.write("words.txt", "".join(f"word{number}\n" for number in range(9)))
    project.write("place/down", "word4")
    project.steps(labels("words.txt", retries=0), executor=project.executor + "shard = 3\n")
    result = project.build()
    assert (1, "failed") == (result.exit_code, result.statuses["labels"])
    before = project.notes()
    (project.root / "place/down").unlink()
    result = project.build()
    project.check_whole(result)
    asked = project.notes() - before
    assert {"ask word4": 1} == dict(asked)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('python = "/nowhere/python"', "could not start its worker"),
        ('setup = ["source /nowhere/activate || exit 3"]', "ExitCode 3"),
    ],
)
def test_an_environment_that_does_not_start_is_told_with_what_the_shell_said(slurm, project, table, words):
    project.steps(step("one"), executor=f"{project.executor}{table}\n")
    result = project.forge("build", "forge.toml")
    assert 1 == result.exit_code
    assert words in result.stderr, result.stderr
    assert "/nowhere/" in result.stderr


def test_an_input_that_comes_out_the_same_cuts_off_what_needs_it(slurm, project):
    cut = '[transforms.cut]\nuse = "run.command"\nfrom = "raw"\ncommand = "head -c 3 $1 > $OUT/text"\n'
    project.steps(cut, step("one", "cut"))
    assert 0 == project.build().exit_code
    project.write("raw.txt", "raw, but with another end")
    result = project.build()
    assert {"raw": "ran", "cut": "ran", "one": "hit"} == result.statuses
    assert 3 == len(slurm.jobs(project))


def test_code_that_changes_while_a_job_waits_is_not_run_under_the_old_key(slurm, project):
    # fact 10: what is looked up when it runs may be another thing than what was submitted
    project.steps(step("one"), executor=project.executor + HELD)
    process = project.command("build", "forge.toml")
    [job] = wait_until(lambda: slurm.living(project))
    project.plugin("work", PLUGIN.replace('self.name, "\\n"', 'self.name, "other\\n"'))
    slurm.run("scontrol", "release", job)
    assert 1 == process.wait(90), project.said()
    assert "changed after the build was planned" in project.said()
    project.steps(step("one"))
    project.check_whole(project.build())
