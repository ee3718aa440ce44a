"""Builds whose jobs are run by a Slurm without daemons: commands on the path, processes of this machine."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forge.testing import ForgeProject

PLUGIN = '''
from __future__ import annotations

import time
from pathlib import Path

import attrs

import forge


@attrs.frozen
class Words:
    path: forge.Files

    def read(self, run):
        for file in self.path:
            yield [{"text": word} for word in file.read_text().split()]


@attrs.frozen
class Echo:
    """Label words with their lengths."""

    asked: str = forge.setting("")
    bad: str = forge.setting("")
    retries: int = forge.setting(0)

    def request(self, row):
        return forge.Request({"model": "echo"}, [{"role": "user", "content": row["text"]}])

    async def ask(self, request):
        word = request.messages[0]["content"]
        with open(self.asked, "a") as file:
            file.write(word + "\\\\n")
        if word == self.bad:
            raise forge.ProviderRefused("the key is wrong")
        return forge.Reply(str(len(word)), "echo", 1, 1)

    def parse(self, reply):
        return {"level": int(reply.text)}


@attrs.frozen
class Count:
    """Count to *steps*, keeping how far it is."""

    steps: int
    place: str = forge.setting("")

    def make(self, inputs, out, run):
        kept = run.scratch / "at"
        at = int(kept.read_text()) if kept.exists() else 0
        with open(self.place, "a") as file:
            file.write(f"from {at}\\\\n")
        while at < self.steps:
            time.sleep(0.05)
            at += 1
            run.progress(at, self.steps)
            if run.stopping:
                kept.write_text(str(at))
                raise forge.Interrupted("it left off")
        (out / "total").write_text(str(at))


@attrs.frozen
class Device:
    """Depend on a fact that is another one on the nodes."""

    def facts(self):
        import os

        return {"device": "cuda" if os.environ.get("SLURM_JOB_ID") else "cpu"}

    def make(self, inputs, out, run):
        (out / "text").write_text(self.facts()["device"])


@forge.hookimpl
def forge_register(register):
    register.source("words", Words, version="1")
    register.labeler("echo", Echo, version="1")
    register.transform("count", Count, version="1")
    register.transform("device", Device, version="1", heavy=True)
'''.replace("\\\\", "\\")

LABELS = """
    [params]
    bad = ""
    asked = ""

    [sources.words]
    use = "toy.words"
    path = "words.txt"

    [labelers.labels]
    use = "toy.echo"
    from = "words"
    asked = "${asked}"
    bad = "${bad}"
    """

EXECUTOR = """
    [executor]
    use = "slurm"
    kinds = ["labeler"]
    shard = 4
    poll = "0.2s"
    grace = "1s"
    """


@pytest.fixture
def project(tmp_path, on_fake_slurm):
    made = ForgeProject(tmp_path / "project", on_fake_slurm)
    made.root.mkdir(exist_ok=True)
    made.plugin("toy", PLUGIN)
    made.write("words.txt", " ".join(f"word{number}" for number in range(10)))
    return made


def record_of(project, result, step):
    key = result.steps[step].key
    return json.loads((project.store / "actions" / key[:2] / f"{key[2:]}.json").read_text())["record"]


def jobs(fake_slurm):
    return [json.loads(path.read_text()) for path in sorted(fake_slurm.glob("job-*.json"))]


def test_a_labeler_is_an_array_whose_own_action_asks_nothing_and_makes_the_same_bytes(project, fake_slurm):
    asked = project.root / "asked"
    project.manifest(EXECUTOR + LABELS)
    words = ["--set", f"asked={asked}"]
    result = project.build(*words)
    assert {"words": "ran", "labels": "ran"} == result.statuses, result.stderr
    assert [0, 1, 2] == [job["index"] for job in jobs(fake_slurm)]
    assert sorted(f"word{number}" for number in range(10)) == sorted(asked.read_text().split())
    assert {"array": "1", "tasks": 3} == record_of(project, result, "labels")["job"]
    local = project.build(*words, "--executor", "local", "--store", str(project.root / "local"))
    assert {n: s.tree for n, s in local.steps.items()} == {n: s.tree for n, s in result.steps.items()}
    asked.unlink()
    again = project.build(*words)
    assert ({"hit"}, 3, False) == (set(again.statuses.values()), len(jobs(fake_slurm)), asked.exists())


def test_a_shard_that_is_refused_fails_the_step_and_the_other_replies_are_kept(project, fake_slurm):
    asked = project.root / "asked"
    project.manifest(EXECUTOR + LABELS)
    result = project.build("--set", f"asked={asked}", "--set", "bad=word9")
    assert "failed" == result.statuses["labels"]
    assert "1 of 3 shards of step `labels` failed (tasks 2); the first: " in result.steps["labels"].error["message"]
    assert "the key is wrong" in result.steps["labels"].error["message"]
    asked.unlink()
    result = project.build("--set", f"asked={asked}")
    assert "ran" == result.statuses["labels"], result.stderr
    assert "word9" in asked.read_text().split()
    assert {"word0", "word1"}.isdisjoint(asked.read_text().split())


COUNT = """
    [sources.words]
    use = "toy.words"
    path = "words.txt"

    [transforms.count]
    use = "toy.count"
    from = "words"
    steps = 60
    place = "from.txt"
    resources = { cpus = 1, time = "1h" }
    """


def test_a_step_that_is_told_of_its_limit_keeps_its_state_and_goes_on_in_the_same_job(project, fake_slurm):
    # told within the first quarter of the notice it would work on
    project.manifest(EXECUTOR.replace('grace = "1s"', 'grace = "1s"\n    notice = "2s"') + COUNT)
    with project.start("build", "forge.toml", "--json") as process:
        place = project.root / "from.txt"
        deadline = time.monotonic() + 120
        while not place.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        [script] = fake_slurm.glob("script-*")
        [shell] = [pid for pid in os.listdir("/proc") if pid.isdigit() and _runs(pid, str(script))]
        os.kill(int(shell), 10)
        stdout, stderr = process.communicate(timeout=180)
    assert 0 == process.returncode, stderr
    first, second = (int(line.split()[1]) for line in place.read_text().splitlines())
    assert (0, True) == (first, 0 < second < 60)
    entry = {each["name"]: each for each in json.loads(stdout)["steps"]}["count"]
    path = project.store / "actions" / entry["key"][:2] / f"{entry['key'][2:]}.json"
    about = json.loads(path.read_text())["record"]["job"]
    assert ("1", 1, "fake") == (about["id"], about["restarts"], about["node"])
    assert about["memory"] > 1 << 20


def _runs(pid, script):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")[:2] == [b"bash", script.encode()]
    except OSError:
        return False


def test_accounting_where_it_works_lands_in_the_record(project, fake_slurm):
    (fake_slurm / "accounting").touch()
    project.manifest(EXECUTOR + COUNT.replace("60", "1"))
    result = project.build()
    assert 0 == result.exit_code, result.stderr
    about = record_of(project, result, "count")["job"]
    assert ("COMPLETED", 7, 2 << 20) == (about["state"], about["elapsed"], about["memory"])
    assert {"hit"} == set(project.build().statuses.values())


def test_variables_that_stand_for_options_of_slurm_change_no_job(project, fake_slurm):
    project.manifest(EXECUTOR + COUNT.replace("60", "1"))
    result = project.build(SBATCH_JOB_NAME="mine", SBATCH_PARTITION="other")
    assert 0 == result.exit_code, result.stderr
    [job] = jobs(fake_slurm)
    assert f"forge-{result.steps['count'].key}" == job["name"]


def test_logs_are_those_of_the_manifest_that_is_named(project):
    step = '[transforms.say]\nuse = "run.command"\nfrom = "words"\ncommand = "echo {word} >&2; exit {code}"\n'
    source = '[sources.words]\nuse = "toy.words"\npath = "words.txt"\n\n'
    for name, code in (("one", 0), ("two", 3)):
        project.manifest(
            source + step.format(word=name, code=code).replace("; exit 0", "; echo > $OUT/x"), f"{name}.toml"
        )
        project.forge("build", f"{name}.toml")
    for name, other in (("one", "two"), ("two", "one")):
        said = project.forge("logs", f"{name}.toml", "say").stdout
        assert (True, False) == (f" {name}\n" in said, f" {other}\n" in said)


def test_an_sbatch_that_fails_transiently_is_asked_again(project, fake_slurm):
    (fake_slurm / "faults").write_text("sbatch 2 Unable to contact slurm controller")
    project.manifest(EXECUTOR + COUNT.replace("60", "1"))
    result = project.build()
    assert "ran" == result.statuses["count"], result.stderr
    assert 1 == len(jobs(fake_slurm))
    assert "Unable to contact slurm controller; jobs that run go on" in result.stderr


DEVICE = """
    [sources.words]
    use = "toy.words"
    path = "words.txt"

    [transforms.device]
    use = "toy.device"
    from = "words"
    resources = { gpus = 1 }
    """


def test_a_node_that_differs_from_the_plan_is_refused_until_the_profile_says_so(project):
    project.manifest(EXECUTOR + DEVICE)
    result = project.build()
    error = result.steps["device"].error
    assert "`device` is `cuda` here and `cpu` in the plan" in error["message"]
    assert 'facts = { device = "cuda" }' in error["hint"]
    project.manifest(EXECUTOR + 'facts = { device = "cuda" }\n' + DEVICE)
    result = project.build()
    assert "ran" == result.statuses["device"], result.stderr
    assert "cuda" == record_of(project, result, "device")["action"]["facts"]["device"]
    assert "device" in project.forge("show", "forge.toml", "device").stdout


def test_status_logs_and_cancel_know_the_jobs_of_a_store(project, fake_slurm):
    (fake_slurm / "hold").touch()
    project.manifest(EXECUTOR + COUNT)
    with project.start("build", "forge.toml") as process:
        deadline = time.monotonic() + 120
        while not jobs(fake_slurm):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        [entry] = json.loads(project.forge("status", "forge.toml", "--json").stdout)["jobs"]
        assert ("count", "1", "pending", True) == tuple(entry[n] for n in ("step", "job", "state", "alive"))
        assert "1 job in the queue" in project.forge("status").stdout
        assert "step `cuont` has no job in the queue" in project.forge("cancel", "forge.toml", "cuont").stderr
        assert "cancelled 1 of step `count`\n" == project.forge("cancel", "forge.toml", "count").stdout
        _, stderr = process.communicate(timeout=180)
    assert "was cancelled, by `scancel` or by an administrator" in stderr
    (project.store / "logs" / f"{entry['key']}.log").write_text("what it said\n")
    assert "what it said\n" == project.forge("logs", "count").stdout
    assert "what it said\n" == project.forge("logs", "forge.toml", "count", "-f").stdout
    assert "no step `other` has run here" in project.forge("logs", "other").stderr


def test_a_build_that_is_interrupted_without_a_terminal_leaves_its_jobs_to_the_next(project, fake_slurm):
    (fake_slurm / "hold").touch()
    project.manifest(EXECUTOR + COUNT)
    with project.start("build", "forge.toml") as process:
        deadline = time.monotonic() + 120
        while not jobs(fake_slurm):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(2)
        _, stderr = process.communicate(timeout=180)
    assert 130 == process.returncode
    assert "1 job of the cluster (`count`) go on; the next build takes them up" in stderr
    assert ["PENDING"] == [job["state"] for job in jobs(fake_slurm)]


@pytest.mark.parametrize(("answer", "state"), [(b"c\n", "CANCELLED"), (b"d\n", "PENDING")])
def test_a_build_that_is_interrupted_on_a_terminal_asks(project, fake_slurm, answer, state):
    (fake_slurm / "hold").touch()
    project.manifest(EXECUTOR + COUNT)
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "forge", "build", "forge.toml"]
    environment = project._environment({"TERM": "xterm"})
    with subprocess.Popen(
        words, cwd=project.root, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        deadline = time.monotonic() + 120
        while not jobs(fake_slurm):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(2)
        said = b""
        while b"[c]ancel?" not in said:
            said += os.read(ours, 4096)
        os.write(ours, answer)
        assert 130 == process.wait(180)
    os.close(ours)
    assert b"1 job of the cluster (`count`): [d]etach and let them go on" in said
    assert [state] == [job["state"] for job in jobs(fake_slurm)]


def test_a_detached_build_goes_on_in_the_background(project, fake_slurm):
    project.manifest(EXECUTOR + COUNT.replace("60", "1"))
    result = project.forge("build", "forge.toml", "--detach")
    assert 0 == result.exit_code, result.stderr
    assert "`forge status forge.toml` says how far it is" in result.stderr
    assert "in the background, process " in project.forge("status", "forge.toml").stdout
    deadline = time.monotonic() + 120
    while set((again := project.build("--executor", "local")).statuses.values()) != {"hit"}:
        assert time.monotonic() < deadline, again.stderr
        time.sleep(0.2)


def test_a_detached_build_that_fails_on_the_head_is_told_by_status(project, fake_slurm):
    broken = '[transforms.broken]\nuse = "run.command"\nfrom = "words"\ncommand = "exit 9"\n\n'
    project.manifest(EXECUTOR + '[sources.words]\nuse = "toy.words"\npath = "words.txt"\n\n' + broken)
    assert 0 == project.forge("build", "forge.toml", "--detach").exit_code
    deadline = time.monotonic() + 120
    while "has ended" not in (said := project.forge("status", "forge.toml").stdout):
        assert time.monotonic() < deadline, said
        time.sleep(0.2)
    assert "it last said: " in said
    log = Path(said.partition("its log: ")[2].splitlines()[0])
    assert "the command ended with status 9" in log.read_text()


def test_a_plan_says_jobs_arrays_and_gpu_hours(project):
    project.manifest(EXECUTOR + LABELS + COUNT.partition("[transforms")[1] + COUNT.partition("[transforms")[2])
    project.build("words")
    said = project.forge("plan", "forge.toml").stdout
    assert "array of 3, 3 at once" in said
    assert "1 job, 1 array of 3 tasks" in said
    gpu = 'resources = { gpus = 2, time = "90m", partition = "A40" }'
    project.manifest(EXECUTOR + COUNT.replace('resources = { cpus = 1, time = "1h" }', gpu))
    assert "1 job, 3 GPU hours asked for" in project.forge("plan", "forge.toml").stdout
    planned = json.loads(project.forge("plan", "forge.toml", "--json").stdout)["steps"]
    assert [None, 3.0] == [each["job"] and each["job"]["gpu_hours"] for each in planned]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ('partition = "A4"', "the cluster has no partition `A4`"),
        ('partition = "A40", gpus = 2', "`gpus = 2`: a node of partition `A40` has 1"),
        ('time = "2d"', '`time = "2d"`: partition `cpu` allows 24 h'),
        ("cpus = 5", "`cpus = 5`: a node of partition `cpu` has 4"),
        ('memory = "32G"', '`memory = "32G"`: a node of partition `cpu` has 8,000 MiB'),
    ],
)
def test_a_check_says_what_the_cluster_would_refuse_before_anything_is_submitted(project, fake_slurm, asked, message):
    project.manifest(EXECUTOR + COUNT.replace('cpus = 1, time = "1h"', asked))
    result = project.forge("check", "forge.toml")
    assert 2 == result.exit_code
    assert message in result.stderr
    assert [] == jobs(fake_slurm)


def test_a_check_runs_a_probe_and_says_what_differs_on_the_node(project, fake_slurm):
    project.manifest(EXECUTOR + COUNT)
    said = project.forge("check", "forge.toml")
    assert 0 == said.exit_code, said.stderr
    assert "node `fake` shares the store and has the same versions" in said.stdout
    assert 1 == len(jobs(fake_slurm))


def test_a_probe_whose_worker_does_not_start_is_told_with_its_words(project):
    project.manifest(
        EXECUTOR.replace("kinds", 'setup = ["python() { :; }"]\npython = "/nowhere/python"\nkinds') + COUNT
    )
    said = project.forge("check", "forge.toml")
    assert 1 == said.exit_code
    assert "ended with status 127, so no worker starts there" in said.stderr
    assert "/nowhere/python" in said.stderr
