"""Commands around jobs: before they are submitted, while they run, and when one has enough of them."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from .waiting import wait_until
from .work import labels, step

pytestmark = [pytest.mark.together, pytest.mark.timeout(300)]


def test_ctrl_c_where_nobody_can_be_asked_lets_the_jobs_go_on(slurm, project):
    project.steps(step("one", gate=True))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    process.send_signal(signal.SIGINT)
    assert 130 == process.wait(60), project.said()
    assert "go on" in project.said()
    jobs = slurm.living(project)
    assert 1 == len(jobs)
    project.open("one")
    project.check_whole(project.build())
    assert 1 == project.notes()["begun one"]


@pytest.mark.parametrize("answer", ["d", "c"])
def test_ctrl_c_asks_whether_to_detach_or_to_cancel(slurm, project, answer):
    project.steps(step("one", gate=True))
    head, tail = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "forge", "build", "forge.toml"],
        cwd=project.root,
        env=project._environment({}),
        stdin=tail,
        stdout=tail,
        stderr=tail,
        start_new_session=True,
    )
    os.close(tail)
    os.set_blocking(head, False)
    said = bytearray()
    wait_until(lambda: listen(head, said) is None and project.notes()["begun one"])
    process.send_signal(signal.SIGINT)
    wait_until(lambda: listen(head, said) is None and b"[c]ancel?" in said)
    os.write(head, f"{answer}\n".encode())
    wait_until(lambda: listen(head, said) is None and process.poll() is not None)
    os.close(head)
    assert 130 == process.returncode, said.decode()
    if answer == "c":
        wait_until(lambda: not slurm.living(project))
        project.open("one")
        assert {"raw": "hit", "one": "ran"} == project.build().statuses
        assert 2 == project.notes()["begun one"]
    else:
        assert 1 == len(slurm.living(project))
        project.open("one")
        assert 0 == project.build().exit_code
        assert 1 == project.notes()["begun one"]


def listen(descriptor, said):
    """Take what a terminal shows, so that nobody waits for its reader."""
    try:
        while data := os.read(descriptor, 1 << 16):
            said += data
    except OSError:
        return


def test_a_detached_build_is_followed_by_status_and_logs_and_goes_on_by_itself(slurm, project):
    project.steps(step("one", gate=True), step("fall", use="fall", how="error"))
    begun = project.forge("build", "forge.toml", "--detach")
    assert 0 == begun.exit_code, begun.stderr
    wait_until(lambda: project.notes()["begun one"] and project.notes()["fall error"])
    wait_until(lambda: 1 == len(slurm.living(project)))
    status = json.loads(project.forge("status", "forge.toml", "--json").stdout)
    jobs = {job["step"]: job for job in status["jobs"]}
    assert "RUNNING" == jobs["one"]["state"].upper()
    assert [jobs["one"]["job"]] == slurm.living(project)
    shown = project.forge("status", "forge.toml").stdout
    assert "one" in shown
    assert "1 job in the queue" in shown
    logs = project.forge("logs", "forge.toml", "fall")
    assert (0, True) == (logs.exit_code, "the last words of the step" in logs.stdout)
    with project.start("logs", "forge.toml", "one", "-f") as following:
        time.sleep(1)
        assert None is following.poll()
        project.open("one")
        following.communicate(timeout=180)
    assert 0 == following.returncode
    assert "hit" == project.build().statuses["one"]


def test_cancel_ends_the_jobs_of_one_step_or_of_all_and_the_build_says_so(slurm, project):
    project.steps(*(step(name, gate=True) for name in ("one", "two", "three")))
    process = project.command("build", "forge.toml")
    wait_until(lambda: 3 == len([line for line in project.notes() if line.startswith("begun")]))
    unknown = project.forge("cancel", "forge.toml", "tow")
    assert (2, True) == (unknown.exit_code, "did you mean `two`" in unknown.stderr)
    assert 0 == project.forge("cancel", "forge.toml", "two").exit_code
    wait_until(lambda: 2 == len(slurm.living(project)))
    rest = project.forge("cancel", "forge.toml")
    assert 2 == rest.stdout.count("cancelled"), rest.stdout + rest.stderr
    assert 1 == process.wait(60)
    assert 3 <= project.said().count("was cancelled"), project.said()
    assert [] == slurm.living(project)
    project.open("one", "two", "three")
    project.check_whole(project.build())


TOO_MUCH = """
[transforms.{name}]
use = "work.write"
from = "raw"
name = "{name}"
resources = {{ {resources} }}
"""


def test_check_tells_before_submission_what_the_cluster_would_refuse(slurm, project):
    asked = {
        "place": 'partition = "A41"',
        "gpus": 'partition = "A40", gpus = 2',
        "time": 'time = "3d"',
        "cpus": "cpus = 64",
        "memory": 'memory = "1T"',
        "fits": 'partition = "A40", gpus = 1, cpus = 8, memory = "32G", time = "6h"',
    }
    project.steps(*(TOO_MUCH.format(name=name, resources=text) for name, text in asked.items()))
    result = project.forge("check", "forge.toml")
    assert 2 == result.exit_code, result.stderr
    for words in (
        "the cluster has no partition `A41`",
        "did you mean `A40`",
        "`gpus = 2`: a node of partition `A40` has 1",
        '`time = "3d"`: partition `cpu` allows 24 h',
        "`cpus = 64`: a node of partition `cpu` has 4",
        '`memory = "1T"`',
    ):
        assert words in result.stderr
    assert "`fits`" not in result.stderr
    assert {} == slurm.jobs(project)


def test_check_probes_that_a_node_sees_the_store_and_has_the_same_versions(slurm, project):
    project.steps(step("one"))
    good = project.forge("check", "forge.toml")
    assert (0, True) == (good.exit_code, "shares the store" in good.stdout + good.stderr), good.stderr

    project.write("other/torch-9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")
    path = f"{project.root}/other:{project.root}/plugins"
    project.steps(step("one"), executor=f'{project.executor}[executor.environment]\nPYTHONPATH = "{path}"\n')
    differs = project.forge("check", "forge.toml")
    assert (1, True) == (differs.exit_code, "`torch` is 9.9 there" in differs.stderr), differs.stderr

    # a node that has another file system where the store is
    lines = 'for script; do :; done\nsed "s#/store/#/nowhere/#g" "$script" > "$script.moved"\nset -- "$script.moved"'
    project.program("sbatch", f'#!/bin/sh\n{lines}\nexec REAL --parsable "$@"\n')
    project.steps(step("one"))
    unshared = project.forge("check", "forge.toml")
    assert (1, True) == (unshared.exit_code, "shared?" in unshared.stderr), unshared.stderr


def test_plan_shows_jobs_array_sizes_and_gpu_hours(slurm, project):
    project.write("words.txt", "".join(f"word{number}\n" for number in range(20)))
    gpu = 'partition = "A40", gpus = 1, time = "6h"'
    project.steps(
        labels("words.txt"),
        TOO_MUCH.format(name="train", resources=gpu),
        step("one"),
        executor=project.executor + "shard = 6\n",
    )
    assert 0 == project.build("words").exit_code
    result = project.forge("plan", "forge.toml", "--json")
    jobs = {each["name"]: each["job"] for each in json.loads(result.stdout)["steps"]}
    assert (4, 1, 6.0) == (jobs["labels"]["tasks"], jobs["one"]["tasks"], jobs["train"]["gpu_hours"])
    assert None is jobs["words"]
    shown = project.forge("plan", "forge.toml").stdout
    assert "array of 4" in shown
    assert "6 GPU hours" in shown
    assert {} == slurm.jobs(project)
