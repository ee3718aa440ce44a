"""Steps that are asked to end early, and the curves that they leave beside their log."""

import json
import os
import signal
import time

import pytest

from forge.testing import ForgeProject

PATIENT = '''
from __future__ import annotations

import os
import time
from pathlib import Path

import attrs

import forge


@attrs.frozen
class Count:
    """Count to *most*, and say so; wait after two where PATIENT_WAITS is set until somebody asks for the end."""

    most: int = 4
    asks: bool = True

    def train(self, inputs, out, run):
        note = run.scratch / "count"
        count = int(note.read_text()) if note.exists() else 0
        asked = self.asks and run.stopping
        while count < self.most:
            count += 1
            run.point(count, loss=1 / count, tokens_per_second=7.0)
            note.write_text(str(count))
            if count == 2 and "PATIENT_WAITS" in os.environ:
                Path(os.environ["PATIENT_WAITS"]).write_text(str(os.getpid()))
                while not (self.asks and run.stopping):
                    time.sleep(0.01)
                raise forge.Interrupted(f"stopped as asked after {count}", hint="build again")
        (run.traces / "note.txt").write_text("seen")
        (out / "count").write_text(str(count))


@forge.hookimpl
def forge_register(register):
    register.trainer("count", Count, version="1")


@forge.hookimpl
def forge_metrics(step, folder, point):
    if "PATIENT_FAULT" in os.environ:
        raise RuntimeError("the wall is full")
    with (folder / "wall.txt").open("a") as file:
        file.write(f"{step} {point['step']} {point['loss']}\\n")
'''
MANIFEST = """
    [sources.raw]
    use = "files.any"
    path = "raw.txt"

    [trainers.count]
    use = "patient.count"
    from = "raw"
    """


@pytest.fixture
def patient(tmp_path):
    project = ForgeProject(tmp_path)
    project.plugin("patient", PATIENT)
    project.write("raw.txt", "raw")
    project.manifest(MANIFEST)
    return project


def waiting(project, pid):
    process = project.start("build", "forge.toml", "--json", PATIENT_WAITS=str(pid))
    deadline = time.monotonic() + 180
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None, "the build ended"
        assert time.monotonic() < deadline, "the step never began"
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_step_that_asks_ends_when_it_is_signalled_and_goes_on_in_the_next_build(patient, tmp_path, number):
    pid = tmp_path / "pid"
    with waiting(patient, pid) as process:
        os.kill(int(pid.read_text()), number)
        printed, said = process.communicate(timeout=180)
    assert process.returncode == 75
    assert "stopped as asked after 2" in said
    step = json.loads(printed)["steps"][-1]
    assert step["status"] == "failed"
    assert (patient.store / "scratch" / step["key"] / "count").read_text() == "2"
    again = patient.build()
    assert again.statuses["count"] == "ran"
    lines = (patient.store / "logs" / step["key"] / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)])
def test_a_build_that_is_ended_lets_its_step_keep_what_it_goes_on_from(patient, tmp_path, number, code):
    pid = tmp_path / "pid"
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under `nohup` it would be ignored by all that is started
    try:
        with waiting(patient, pid) as process:
            process.send_signal(number)
            _, said = process.communicate(timeout=180)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert code == process.returncode, said
    assert "`count` may keep a checkpoint" in said
    assert "the next build goes on from here" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    again = patient.build()
    assert "ran" == again.statuses["count"]
    [lines] = [path.read_text().splitlines() for path in patient.store.glob("logs/*/metrics.jsonl")]
    assert [1, 2, 3, 4] == [json.loads(line)["step"] for line in lines]


def test_a_step_that_never_asks_ends_at_once(patient, tmp_path):
    patient.manifest(MANIFEST + "asks = false")
    pid = tmp_path / "pid"
    with waiting(patient, pid) as process:
        os.kill(int(pid.read_text()), signal.SIGTERM)
        _, said = process.communicate(timeout=180)
    assert process.returncode == 1
    assert "was killed by signal 15 (SIGTERM)" in said


def test_the_signals_do_again_what_they_did_once_the_job_is_over():
    from forge.run.tracing import Leave

    before = signal.getsignal(signal.SIGUSR1)
    leave = Leave()
    assert not leave.ask()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert leave.ask()
    leave.end()
    assert not leave.now
    assert signal.getsignal(signal.SIGUSR1) is before


def test_curves_go_to_the_plugins_that_the_environment_names_and_to_no_key(patient):
    plain = patient.build().document["steps"][-1]
    folder = patient.store / "logs" / plain["key"]
    assert (folder / "note.txt").read_text() == "seen"
    assert not (folder / "wall.txt").exists()
    assert patient.build(FORGE_METRICS="patient").statuses["count"] == "hit"
    patient.manifest(MANIFEST + "most = 2")
    step = patient.build(FORGE_METRICS="patient").document["steps"][-1]
    wall = patient.store / "logs" / step["key"] / "wall.txt"
    assert wall.read_text().splitlines() == ["count 1 1.0", "count 2 0.5"]


def test_a_plugin_that_fails_to_show_a_curve_warns_once_and_harms_nothing(patient):
    found = patient.build(FORGE_METRICS="patient", PATIENT_FAULT="1")
    assert found.statuses["count"] == "ran"
    assert found.stderr.count("no curve goes to `patient` (FORGE_METRICS) any more: the wall is full") == 1


def test_a_metrics_plugin_that_is_not_installed_is_named(patient):
    found = patient.build(FORGE_METRICS="tensorbord")
    assert found.statuses["count"] == "ran"
    assert "no plugin called `tensorbord` is installed" in found.stderr


def test_curves_of_what_is_gone_are_collected_with_its_log(patient):
    step = patient.build().document["steps"][-1]
    folder = patient.store / "logs" / step["key"]
    assert folder.is_dir()
    patient.manifest(MANIFEST + "most = 2")
    last = patient.build().document["steps"][-1]
    for path in [patient.store, *patient.store.rglob("*")]:
        os.utime(path, (time.time() - 1e5, time.time() - 1e5), follow_symlinks=False)
    done = patient.forge("store", "gc")
    assert done.exit_code == 0, done.stderr
    assert (folder.exists(), folder.with_suffix(".log").exists()) == (False, False)
    assert (folder.parent / last["key"] / "metrics.jsonl").exists()


def test_curves_are_shown_in_tensorboard(patient):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    step = patient.build(FORGE_METRICS="tensorboard").document["steps"][-1]
    (path,) = (patient.store / "logs" / step["key"] / "tensorboard").iterdir()
    data, found = path.read_bytes(), []
    while data:  # a record: its length in 8 bytes, a checksum in 4, itself, a checksum in 4
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        found += [(value.tag, event.step, round(value.simple_value, 3)) for value in event.summary.value]
        data = data[16 + size :]
    losses = [("loss", 1, 1.0), ("loss", 2, 0.5), ("loss", 3, 0.333), ("loss", 4, 0.25)]
    assert [each for each in found if each[0] == "loss"] == losses
    assert {tag for tag, _, _ in found} == {"loss", "tokens_per_second"}
