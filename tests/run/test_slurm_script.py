"""The script of a job: what it asks for, and what it makes of signals and exit codes."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from forge.core.step import Resources
from forge.plan.profile import Profile
from forge.run.slurm.folder import JobFolder, Submission
from forge.run.slurm.script import asked_for, script

TICKET = "0123abcd"


def test_resources_are_asked_for_as_sbatch_writes_them():
    asked = Resources(
        cpus=8, gpus=1, memory="32G", time="6h", partition="A40", account="us", qos="high", constraint="avx",
        extra=("--exclusive",),
    )  # fmt: skip
    assert [
        "--partition=A40",
        "--gres=gpu:1",
        "--cpus-per-task=8",
        "--mem=32768M",
        "--time=360",
        "--account=us",
        "--qos=high",
        "--constraint=avx",
        "--exclusive",
    ] == asked_for(asked)
    assert [] == asked_for(Resources())


def text_of(folder, profile=None, shards=(), resources=None):
    submission = Submission(TICKET, "step", "m.toml", shards, 900, 300)
    profile = profile or Profile(python=str(folder.path / "worker"))
    return script(profile, resources or Resources(), folder, submission, str(folder.path), f"{TICKET}-00c0ffee")


@pytest.fixture
def folder(tmp_path):
    made = JobFolder(tmp_path / "jobs" / "abc", "abc")
    made.make()
    return made


def test_a_script_carries_name_ticket_log_and_what_survives_a_requeue(folder):
    lines = text_of(folder, shards=(0, 1, 2, 7)).splitlines()
    for option in (
        "--job-name=forge-abc",
        f"--comment={TICKET}-00c0ffee",
        f"--output={folder.path}/slurm-%a.log",
        "--open-mode=append",
        "--requeue",
        "--kill-on-invalid-dep=yes",
        "--signal=B:USR1@120",
        "--array=0-2,7%16",
    ):
        assert f"#SBATCH {option}" in lines


def test_places_with_spaces_and_percent_signs_reach_sbatch_whole(tmp_path):
    folder = JobFolder(tmp_path / "a b%" / "abc", "abc")
    folder.make()
    text = text_of(folder)
    assert f'#SBATCH "--output={tmp_path}/a b%%/abc/slurm.log"' in text
    assert f'#SBATCH "--chdir={tmp_path}/a b%/abc"' in text
    assert 0 == subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode


def test_the_environment_of_the_profile_may_name_other_variables_and_runs_nothing(folder):
    profile = Profile(setup=("module load cuda",), environment={"HF_HOME": "$HOME/hf", "ODD": 'a"b`c'})
    text = text_of(folder, profile)
    assert text.index("module load cuda") < text.index("export HF_HOME=") < text.index("-m forge worker")
    assert 'export HF_HOME="$HOME/hf"' in text
    assert 'export ODD="a\\"b\\`c"' in text
    assert "export OMP_WAIT_POLICY=PASSIVE" in text


def start(folder, worker, tmp_path, **environment):
    """Run the script with *worker*, a shell script, in the place of Python, and a `scontrol` that notes its words."""
    (folder.path / "worker").write_text(f"#!/bin/bash\n{worker}\n")
    (folder.path / "worker").chmod(0o755)
    (tmp_path / "bin").mkdir()
    control = tmp_path / "bin" / "scontrol"
    control.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\necho "JobId=5 JobState=COMPLETING Reason=$REASON x=1"\n'
    )
    control.chmod(0o755)
    path = folder.write("script.sh", text_of(folder))
    about = {"SLURM_JOB_ID": "5", "SLURMD_NODENAME": "n1", "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    return subprocess.Popen(["bash", str(path)], env=os.environ | about | {"REASON": "None"} | environment)


def asked(tmp_path):
    path = tmp_path / "asked"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(("worker", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137)])
def test_an_exit_record_says_how_the_worker_ended(folder, tmp_path, worker, code):
    assert code == start(folder, worker, tmp_path, SLURM_RESTART_COUNT="2").wait(120)
    attempt = folder.attempt(TICKET, "x", 2)
    record = json.loads((attempt / "exit.json").read_text())
    assert (TICKET, code, "5", 2, "n1") == tuple(record[n] for n in ("ticket", "code", "job", "restarts", "node"))
    assert ["abc.0123abcd.x.2"] == os.listdir(tmp_path / "jobs" / "ended")
    assert code == folder.exit(TICKET, "x", 2).code


def test_a_task_of_an_array_leaves_a_record_of_its_own(folder, tmp_path):
    assert 0 == start(folder, "exit 0", tmp_path, SLURM_ARRAY_TASK_ID="4").wait(120)
    assert 0 == folder.last_exit(TICKET, "4").code
    assert None is folder.last_exit(TICKET, "x")


def test_a_worker_that_left_off_has_the_job_requeued_and_leaves_no_record(folder, tmp_path):
    assert 75 == start(folder, "exit 75", tmp_path).wait(120)
    assert ["requeue 5"] == asked(tmp_path)
    assert None is folder.last_exit(TICKET, "x")


# like the real worker it hears no signal before it says so: a shell could never trap what it was started to ignore
HEARS = "import os, signal, time\n{before}\nfor n in (10, 15): signal.signal(n, lambda *_: os._exit({code}))\n"
WAITS = HEARS + "open('ready', 'w')\ntime.sleep(60)"


def python(text, code=75, before=""):
    return f"exec {sys.executable} -c {shlex.quote(text.format(code=code, before=before))}"


WAITS_PYTHON = python(WAITS)


def signalled(folder, tmp_path, number, worker=WAITS_PYTHON, **environment):
    process = start(folder, f"cd {tmp_path}; {worker}", tmp_path, **environment)
    deadline = time.monotonic() + 20
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    return process.wait(120)


def test_the_notice_before_the_limit_reaches_the_worker_and_the_job_is_requeued(folder, tmp_path):
    assert 75 == signalled(folder, tmp_path, signal.SIGUSR1)
    assert ["requeue 5"] == asked(tmp_path)


def test_a_worker_that_ends_well_after_the_notice_is_done(folder, tmp_path):
    assert 0 == signalled(folder, tmp_path, signal.SIGUSR1, python(WAITS, code=0))
    assert 0 == folder.last_exit(TICKET, "x").code


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_does_not_kill_a_worker_that_is_still_being_started(folder, tmp_path, number):
    looks = "told = os.path.exists(os.environ['ATTEMPT'] + f'/told.{{n.name[3:]}}')"
    before = "open('ready', 'w'); time.sleep(1)"
    worker = python(HEARS + f"n = signal.{number.name}\n{looks}\nos._exit(75 if told else 3)", before=before)
    code = signalled(folder, tmp_path, number, f"export ATTEMPT=$6; {worker}", REASON="TimeLimit")
    assert (75 if number == signal.SIGUSR1 else 143) == code
    assert "requeue 5" == asked(tmp_path)[-1]


def test_a_worker_that_a_signal_killed_is_told_as_that(folder, tmp_path):
    assert 137 == signalled(
        folder, tmp_path, signal.SIGUSR1, python(WAITS.replace("os._exit({code})", "os.kill(os.getpid(), 9)"))
    )


@pytest.mark.parametrize(("time", "told"), [(None, 120), ("6h", 120), ("4m", 60), ("1m", 15), ("2s", 1)])
def test_a_short_job_is_told_when_a_quarter_of_its_time_is_left(folder, time, told):
    assert f"#SBATCH --signal=B:USR1@{told}\n" in text_of(folder, resources=Resources(time=time))


def test_what_was_cancelled_is_not_requeued_and_leaves_no_record(folder, tmp_path):
    assert 143 == signalled(folder, tmp_path, signal.SIGTERM)
    assert ["show job --oneliner 5"] == asked(tmp_path)
    assert None is folder.last_exit(TICKET, "x")


def test_what_ran_into_its_limit_and_kept_its_state_is_requeued(folder, tmp_path):
    assert 143 == signalled(folder, tmp_path, signal.SIGTERM, REASON="TimeLimit")
    assert ["show job --oneliner 5", "requeue 5"] == asked(tmp_path)


def test_a_vanished_folder_is_made_again_for_the_record(folder, tmp_path):
    assert 0 == start(folder, f"rm -rf {folder.path}; exit 0", tmp_path).wait(120)
    assert 0 == folder.last_exit(TICKET, "x").code


def test_the_interpreter_is_the_head_s_own_where_the_profile_names_none(folder):
    assert f"{sys.executable} -m forge worker" in text_of(folder, Profile())
