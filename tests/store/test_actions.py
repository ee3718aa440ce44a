import json
import os
import socket
import subprocess
import sys
import threading
import time

import attrs
import pytest

from forge.core.record import Record
from forge.store.actions import Actions, Heart
from forge.store.base import Store
from forge.store.faults import describe_damage

KEY = "ab" + "0" * 62


@pytest.fixture
def actions(tmp_path):
    return Actions(Store.open(tmp_path / "store"))


@pytest.fixture
def record(actions):
    """Publish a record whose artifact is one file."""
    with actions.store.staging() as folder:
        (folder / "a.txt").write_text("a")
        tree = actions.store.add_tree(folder)
    published = Record(KEY, "one", "transform", "toy.one", {"use": "toy.one"}, {}, tree.digest, 1.5, drops={"短": 2})
    actions.publish(published)
    return published


def path_of(actions):
    return actions.store.root / "actions" / KEY[:2] / f"{KEY[2:]}.json"


def test_a_published_record_is_found(actions, record):
    assert attrs.asdict(record) == attrs.asdict(actions.find(KEY)) | {"warnings": ()}
    assert [KEY] == [each.key for each in actions.all()]


def test_a_record_may_name_a_file_that_is_no_utf_8_and_count_by_numbers(actions, record):
    odd = attrs.evolve(record, warnings=["name \udcff"], tallies={10: 1, 2: 3})
    actions.publish(odd)
    assert attrs.evolve(odd, tallies={"2": 3, "10": 1}) == actions.find(KEY)


def test_what_was_never_published_is_not_found(actions):
    assert actions.find(KEY) is None


@pytest.mark.parametrize("length", [0, 1, 40, -1])
def test_a_record_that_was_cut_off_counts_as_none(actions, record, length):
    path = path_of(actions)
    path.write_bytes(path.read_bytes()[:length])
    assert actions.find(KEY) is None
    assert ["record is damaged"] == [fault.fault for fault in describe_damage(actions.store, actions)]


def test_a_record_that_was_changed_does_not_fit_its_seal(actions, record):
    path = path_of(actions)
    path.write_text(path.read_text().replace("短", "长"))
    assert actions.read(KEY) is None


def test_a_record_under_another_key_counts_as_none(actions, record):
    path = path_of(actions)
    path.rename(path.with_name("1" + path.name[1:]))
    assert actions.read(KEY[:2] + "1" + KEY[3:]) is None


def test_a_field_of_a_newer_forge_is_passed_over():
    value = Record(KEY, "one", "transform", "toy.one", {}, {}, "0" * 64, 1.5).to_json()
    assert KEY == Record.from_json(value | {"mood": "good"}).key


def test_a_record_without_its_artifact_is_no_hit(actions, record):
    (member,) = actions.store.tree(record.tree).members.values()
    actions.store.object_path(member.digest).unlink()
    assert (None, KEY) == (actions.find(KEY), actions.read(KEY).key)


def test_every_fault_is_named_with_the_steps_it_touches(actions, record):
    (member,) = actions.store.tree(record.tree).members.values()
    path = actions.store.object_path(member.digest)
    assert [] == describe_damage(actions.store, actions)
    path.chmod(0o644)
    path.write_text("x")
    assert [("object is damaged", ["one"])] == faults(actions)
    path.unlink()
    assert [("object is missing", ["one"])] == faults(actions)
    actions.store.tree_path(record.tree).write_text("{}")
    assert [("tree is damaged", ["one"])] == faults(actions)


def faults(actions):
    return [(fault.fault, list(fault.steps)) for fault in describe_damage(actions.store, actions)]


def test_a_manifest_s_last_keys_are_remembered_step_by_step(actions):
    actions.remember("m", {"a": "1", "b": "1"})
    actions.remember("m", {"b": "2"})
    assert ({"a": "1", "b": "2"}, {}) == (actions.last("m"), actions.last("other"))


def test_a_damaged_memory_means_nothing_is_remembered(actions):
    actions.remember("m", {"a": "1"})
    actions._build_path("m").write_text("{")
    assert {} == actions.last("m")


def test_scratch_stays_until_it_is_cleared(actions):
    (actions.scratch(KEY) / "checkpoint").write_text("1")
    assert ["checkpoint"] == [p.name for p in actions.scratch(KEY).iterdir()]
    actions.clear(KEY)
    assert [] == list(actions.scratch(KEY).iterdir())


# ---------------------------------------------------------------- claims


def claim_by(actions, host, pid):
    path = actions.store.root / "claims" / KEY
    path.write_text(f"{host} {pid} 1")
    return path


@pytest.fixture
def dead_pid():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_claim_is_gone_when_it_is_given_up(actions):
    with actions.claim(KEY) as heart:
        assert heart.path.read_text().startswith(f"{socket.gethostname()} {os.getpid()} ")
    assert [] == list((actions.store.root / "claims").iterdir())


def test_a_claim_is_given_up_when_the_work_fails(actions):
    with pytest.raises(RuntimeError), actions.claim(KEY):
        raise RuntimeError
    assert [] == list((actions.store.root / "claims").iterdir())


def test_a_claim_of_a_process_that_is_gone_is_broken(actions, dead_pid):
    claim_by(actions, socket.gethostname(), dead_pid)
    with actions.claim(KEY):
        assert [KEY] == [p.name for p in (actions.store.root / "claims").iterdir()]


def test_a_claim_that_is_no_claim_is_broken(actions):
    (actions.store.root / "claims" / KEY).write_text("")
    with actions.claim(KEY):
        pass


@pytest.mark.parametrize(("age", "dead"), [(5, False), (90, True)])
def test_a_claim_of_another_machine_is_dead_after_a_minute_without_a_beat(actions, age, dead):
    path = claim_by(actions, "elsewhere", 1)
    then = time.time() - age
    os.utime(path, (then, then))
    assert dead == Heart(path, "")._dead()


def test_a_claim_of_a_live_process_is_waited_for(actions):
    order = []
    held = threading.Event()

    def hold():
        with actions.claim(KEY):
            held.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with actions.claim(KEY):
        order.append("second")
    thread.join()
    assert ["first", "second"] == order


def test_who_is_waited_for_is_told_once(actions, monkeypatch):
    monkeypatch.setattr("forge.store.actions._PATIENCE", 0.1)
    told = []

    def take():
        with actions.claim(KEY, told.append):
            pass

    second = threading.Thread(target=take)
    with actions.claim(KEY):
        second.start()
        time.sleep(0.8)
    second.join()
    assert [f"process {os.getpid()}"] == told


def test_a_beat_renews_the_claim(actions):
    with actions.claim(KEY) as heart:
        os.utime(heart.path, (1, 1))
        heart.beat()
        assert time.time() - heart.path.stat().st_mtime < 60


def test_a_claim_of_a_silent_step_is_renewed_all_the_same(actions, monkeypatch):
    monkeypatch.setattr("forge.store.actions._BEAT", 0.02)
    with actions.claim(KEY) as heart:
        os.utime(heart.path, (1, 1))
        deadline = time.monotonic() + 10
        while heart.path.stat().st_mtime < 2:
            assert time.monotonic() < deadline, "nothing touched the claim"
            time.sleep(0.01)


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_a_machine_whose_clock_differs_breaks_no_live_claim(actions, monkeypatch, skew):
    path = claim_by(actions, "elsewhere", 1)
    own = path.with_name(".own")
    own.touch()
    now = time.time()
    monkeypatch.setattr("forge.store.actions.time.time", lambda: now + skew)
    assert not Heart(path, "")._dead(own)
    os.utime(path, (now - 90, now - 90))
    assert Heart(path, "")._dead(own)


def test_a_claim_that_another_has_taken_over_is_left_alone(actions):
    with actions.claim(KEY) as heart:
        heart.path.write_text("elsewhere 1 1")
    assert "elsewhere 1 1" == heart.path.read_text()


def test_many_processes_hold_a_claim_one_at_a_time(actions):
    code = """
import sys, time
from pathlib import Path
from forge.store.actions import Actions
from forge.store.base import Store
from forge.store.faults import describe_damage
actions, note = Actions(Store.open(Path(sys.argv[1]))), Path(sys.argv[2])
for _ in range(10):
    with actions.claim("k"):
        count = int(note.read_text())
        time.sleep(0.002)
        note.write_text(str(count + 1))
"""
    note = actions.store.root / "note"
    note.write_text("0")
    workers = [subprocess.Popen([sys.executable, "-c", code, str(actions.store.root), str(note)]) for _ in range(3)]
    assert [0, 0, 0] == [worker.wait(60) for worker in workers]
    assert "30" == note.read_text()


def test_a_record_is_json_under_a_seal(actions, record):
    assert {"record", "seal"} == json.loads(path_of(actions).read_bytes()).keys()
