"""Collections of garbage: what stays, what goes, and what happens beside them."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time

import pytest

from forge.core.artifact import Tree
from forge.core.errors import StoreError, UsageError
from forge.core.record import Record
from forge.store import gc as collector
from forge.store.actions import Actions
from forge.store.base import Store
from forge.store.faults import describe_damage
from forge.store.gc import DAY, collect, survey
from forge.store.pins import Pins
from forge.store.used import GRACE, lease


@pytest.fixture
def actions(tmp_path):
    return Actions(Store.open(tmp_path / "store"))


@pytest.fixture
def store(actions):
    return actions.store


def key_of(number):
    return f"{number:02x}" * 32


def publish(actions, number, text, inputs=(), size=1):
    """Publish a record whose artifact is one file, with a log, and return it."""
    with actions.store.staging() as folder:
        (folder / "a.txt").write_text(text * size)
        tree = actions.store.add_tree(folder)
    named = {f"in{index}": record.tree for index, record in enumerate(inputs)}
    record = Record(key_of(number), f"step{number}", "transform", "toy.one", {}, named, tree.digest, 1.5)
    actions.publish(record)
    (actions.store.root / "logs" / f"{record.key}.log").write_text("said")
    return record


def age(root, seconds=30 * DAY):
    """Make everything below *root* look unused for long."""
    then = time.time() - seconds
    for base, folders, names in os.walk(root, topdown=False):
        for name in folders + names:
            os.utime(os.path.join(base, name), (then, then), follow_symlinks=False)
    if root.exists():
        os.utime(root, (then, then))


def gc(store, **options):
    """Collect and return how many of each kind went."""
    removed = collect(store, survey(store, **options))
    assert [] == describe_damage(store, Actions(store))
    return counted(removed)


def counted(garbage):
    kinds = sorted({piece.kind for piece in garbage.pieces})
    return {kind: len(garbage.of(kind)) for kind in kinds}


WHOLE = {"records": 1, "trees": 1, "objects": 1, "logs": 1}


def test_what_no_root_reaches_goes_with_all_that_it_alone_needed(actions, store):
    kept, lost = publish(actions, 1, "kept"), publish(actions, 2, "lost")
    actions.remember("m", {"one": kept.key})
    age(store.root)
    assert WHOLE == gc(store)
    assert (kept.key, None) == (actions.find(kept.key).key, actions.read(lost.key))
    assert [kept.key] == [p.stem for p in (store.root / "logs").iterdir()]
    assert {} == gc(store)


def test_a_survey_says_what_would_go_and_removes_nothing(actions, store):
    publish(actions, 1, "x", size=1000)
    age(store.root)
    garbage = survey(store)
    assert (WHOLE, 1000) == (counted(garbage), sum(piece.size for piece in garbage.of("objects")))
    assert garbage.size == sum(piece.path.stat().st_size for piece in garbage.pieces)


def test_objects_and_trees_that_a_kept_record_shares_stay(actions, store):
    kept, lost = publish(actions, 1, "same"), publish(actions, 2, "same")
    actions.remember("m", {"one": kept.key})
    age(store.root)
    assert {"records": 1, "logs": 1} == gc(store)
    assert (kept.tree, None) == (actions.find(kept.key).tree, actions.find(lost.key))


def test_the_inputs_and_files_of_a_kept_check_stay_so_that_it_can_be_repeated(actions, store):
    made = publish(actions, 1, "input")
    kept = publish(actions, 2, "receipt", inputs=[made])
    with store.staging() as folder:
        (folder / "f").write_text("held out")
        files = store.add_tree(folder)
    record = Record(kept.key, "check", "check", "toy.c", {"files": {"labels": files.digest}}, kept.inputs, kept.tree, 1)
    actions.publish(record)
    actions.remember("m", {"check": kept.key})
    age(store.root)
    assert {"records": 1, "logs": 1} == gc(store)
    assert [True, True] == [store.complete(digest) is not None for digest in (made.tree, files.digest)]


def test_what_was_found_or_published_within_the_hour_stays(actions, store):
    found = publish(actions, 1, "found")
    age(store.root)
    actions.find(found.key)
    publish(actions, 2, "published")
    assert {} == gc(store)
    age(store.root, GRACE + 60)
    assert dict.fromkeys(WHOLE, 2) == gc(store)


def test_what_was_used_in_the_days_to_keep_stays(actions, store):
    publish(actions, 1, "x")
    age(store.root, 3 * DAY)
    assert ({}, WHOLE) == (gc(store, keep_days=4), gc(store, keep_days=2))


@pytest.mark.parametrize(("holder", "stays"), [("live", True), ("dead", False), ("elsewhere", True), ("old", False)])
def test_what_was_found_since_a_running_build_began_stays(actions, store, holder, stays):
    publish(actions, 1, "x")
    age(store.root, 5 * 3600)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    host, pid, hours = {
        "live": (socket.gethostname(), os.getpid(), 6),
        "dead": (socket.gethostname(), process.pid, 6),
        "elsewhere": ("other host", 1, 6),
        "old": ("other host", 1, 24 * 9),
    }[holder]
    running = store.root / "builds" / "running"
    running.mkdir()
    (running / f"{host} {pid} {time.time_ns() - int(hours * 3600e9)} x").touch()
    assert ({} if stays else WHOLE) == gc(store)
    assert stays == bool(list(running.iterdir()))


def test_what_is_younger_than_a_running_action_stays(actions, store):
    publish(actions, 1, "x")
    age(store.root, 5 * 3600)
    claim = store.root / "claims" / key_of(9)
    claim.write_text(f"{socket.gethostname()} {os.getpid()} {time.time_ns() - int(6 * 3600e9)}")
    assert {} == gc(store)
    claim.unlink()
    assert WHOLE == gc(store)


def test_a_lease_lasts_as_long_as_its_build(store):
    with lease(store.root):
        assert 1 == len(list((store.root / "builds" / "running").iterdir()))
    assert [] == list((store.root / "builds" / "running").iterdir())


# ---------------------------------------------------------------- races


def test_a_record_that_is_found_after_the_survey_stays_with_its_artifact(actions, store):
    record, lost = publish(actions, 1, "x"), publish(actions, 2, "y")
    age(store.root)
    garbage = survey(store)
    actions.find(record.key)
    removed = collect(store, garbage)
    assert WHOLE == counted(removed)
    assert (record.key, None) == (actions.find(record.key).key, actions.find(lost.key))


def test_an_object_and_a_tree_that_are_made_again_after_the_survey_stay(actions, store):
    publish(actions, 1, "same")
    age(store.root)
    garbage = survey(store)
    again = publish(actions, 2, "same")
    assert {"records": 1, "logs": 1} == counted(collect(store, garbage))
    assert again.key == actions.find(again.key).key


def test_an_object_whose_step_gave_it_an_old_time_is_young_when_it_is_published(actions, store):
    with store.staging() as folder:
        (folder / "a").write_text("x")
        os.utime(folder / "a", (1, 1))
        store.add_tree(folder)
    assert {} == gc(store)


def test_a_part_that_is_published_again_stays(actions, store):
    record = publish(actions, 1, "x")
    age(store.root)
    garbage = survey(store)
    store.publish_tree(Tree(store.tree(record.tree).members))
    collect(store, garbage)
    assert store.tree_path(record.tree).exists()


def test_a_folder_whose_tree_is_published_again_while_it_is_collected_stays(actions, store, monkeypatch):
    record = publish(actions, 1, "x")
    members = store.tree(record.tree).members
    age(store.root)
    take = collector._take

    def taken(store, piece, before):
        went = take(store, piece, before)
        if piece.kind == "trees":
            store.publish_tree(Tree(members))
        return went

    monkeypatch.setattr(collector, "_take", taken)
    collect(store, survey(store))
    assert ["a.txt"] == os.listdir(store.artifact_path(record.tree))


def test_a_manifest_built_and_a_pin_made_after_the_survey_are_roots(actions, store):
    built, pinned = publish(actions, 1, "x"), publish(actions, 2, "y")
    age(store.root)
    garbage = survey(store)
    actions.remember("m", {"one": built.key})
    Pins(store).add("best", pinned.key)
    assert {} == counted(collect(store, garbage))


USER = """
import fcntl, os, sys, time
from pathlib import Path
from forge.core.record import Record
from forge.store import gc as collector
from forge.store.actions import Actions
from forge.store.base import Store

actions = Actions(Store.open(Path(sys.argv[1])))
store, end, rounds = actions.store, time.monotonic() + 3, 0
while time.monotonic() < end:
    used = []
    for number in range(12):
        record = actions.find(f"{number:02x}" * 32)
        if record is None:
            with store.staging() as folder:
                (folder / "a").write_text(f"text {number % 5}")
                tree = store.add_tree(folder, durable=False)
            record = Record(f"{number:02x}" * 32, "s", "transform", "t.t", {}, {}, tree.digest, 1.0)
            actions.publish(record, durable=False)
        used.append(record)
        for each in used:
            assert actions.read(each.key) is not None, f"{rounds}: a record in use was taken"
            assert store.complete(each.tree) is not None, f"{rounds}: a result in use was taken"
    # their use ended long ago; no hour passes while something is collected
    with open(sys.argv[2], "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for part in ("actions", "trees", "objects"):
            for path in (store.root / part).glob("*/*"):
                os.utime(path, (1, 1))
    rounds += 1
print(rounds)
"""


def test_collections_beside_one_who_publishes_and_finds_take_nothing_in_use(store, tmp_path):
    lock = tmp_path / "lock"
    command = [sys.executable, "-c", USER, str(store.root), str(lock)]
    taken = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            with lock.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                taken += len(collect(store, survey(store)).of("records"))
            time.sleep(0.002)
        assert process.stdout is not None
        rounds = int(process.stdout.read() or 0)
    assert (0, True, True) == (process.returncode, rounds > 5, taken > 5), (rounds, taken)


# ---------------------------------------------------------------- what is not results


def test_journals_always_stay(store):
    (store.root / "journals" / "1.jsonl").write_text("paid for")
    age(store.root)
    assert {} == gc(store)
    assert (store.root / "journals" / "1.jsonl").exists()


@pytest.mark.parametrize(("days", "goes"), [(2, {}), (8, {"scratch": 1})])
def test_a_checkpoint_waits_a_week_for_the_next_attempt(actions, store, days, goes):
    (actions.scratch(key_of(1)) / "checkpoint").write_text("1")
    age(store.root, days * DAY)
    assert goes == gc(store)


def test_a_checkpoint_that_was_written_lately_keeps_its_folder(actions, store):
    (actions.scratch(key_of(1)) / "checkpoint").write_text("1")
    age(store.root)
    os.utime(actions.scratch(key_of(1)) / "checkpoint")
    assert {} == gc(store)


def test_the_scratch_of_a_running_action_stays(actions, store):
    (actions.scratch(key_of(1)) / "checkpoint").write_text("1")
    with actions.claim(key_of(1)):
        age(store.root / "scratch")
        assert {} == gc(store)
    assert {"scratch": 1} == gc(store)


def test_half_made_things_go_after_a_day(store):
    (store.root / "staging" / "1").mkdir()
    (store.root / "staging" / "damaged").write_text("x")
    (store.root / "actions" / "ab").mkdir()
    (store.root / "actions" / "ab" / ".cd.json.1").write_text("{")
    assert {} == gc(store)
    age(store.root, 2 * DAY)
    assert {"staging": 3} == gc(store)


def test_an_answer_whose_results_are_gone_goes(actions, store):
    kept, lost = publish(actions, 1, "x"), publish(actions, 2, "y")
    actions.remember("m", {"one": kept.key})
    for name, record in (("1", kept), ("2", lost)):
        lines = f"a head\n{actions.record_path(record.key)}\t1 2 3 4\n/elsewhere\t-"
        store.write(store.root / "builds" / f"{name}.snapshot", lines.encode())
        store.write(store.root / "builds" / f"{name}.graph", b"{}")
    age(store.root)
    assert WHOLE | {"snapshots": 2} == gc(store)
    assert ["1.snapshot"] == [p.name for p in (store.root / "builds").glob("*.snapshot")]


def test_a_damaged_record_goes_and_its_objects_too(actions, store):
    record = publish(actions, 1, "x")
    actions.record_path(record.key).write_text("{")
    age(store.root)
    assert WHOLE == gc(store)


def test_a_damaged_memory_of_a_build_stops_the_collection(actions, store):
    record = publish(actions, 1, "x")
    actions.remember("m", {"one": record.key})
    (store.root / "builds" / "m.json").write_text("{")
    age(store.root)
    with pytest.raises(StoreError, match="last build of a manifest"):
        survey(store)


# ---------------------------------------------------------------- pins


@pytest.mark.parametrize("kind", ["record", "tree", "object"])
def test_a_pin_keeps_what_it_names_until_it_is_taken_away(actions, store, kind):
    record = publish(actions, 1, "x")
    [member] = store.tree(record.tree).members.values()
    name = {"record": record.key, "tree": record.tree, "object": member.digest}[kind]
    assert kind == Pins(store).add("best", name[:10]).kind
    age(store.root)
    gone = {"record": {}, "tree": {"records": 1, "logs": 1}, "object": {"records": 1, "trees": 1, "logs": 1}}[kind]
    assert gone == gc(store)
    Pins(store).drop("best")
    assert {k: n for k, n in WHOLE.items() if k not in gone} == gc(store)


@pytest.mark.parametrize(
    ("name", "what", "message"),
    [
        ("a/b", "0101010101", "can't name a pin"),
        ("best", "best", "no key and no digest"),
        ("best", "01", "no key and no digest"),
        ("best", "ffffffffff", "nothing in the store begins with"),
        ("taken", "0202020202", "keeps record"),
        ("best", "010101", "begins 2 things"),
    ],
)
def test_a_pin_that_can_t_be_made_says_why(actions, store, name, what, message):
    publish(actions, 1, "x"), publish(actions, 2, "y")
    Pins(store).add("taken", key_of(1))
    path = store.object_path("01" * 3 + "f" * 58)
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    with pytest.raises(UsageError, match=message):
        Pins(store).add(name, what)


def test_a_damaged_pin_stops_the_collection_and_can_be_taken_away(actions, store):
    publish(actions, 1, "x")
    Pins(store).add("best", key_of(1))
    (store.root / "pins" / "best.json").write_text("{")
    with pytest.raises(StoreError, match="pin `best` is damaged"):
        survey(store)
    Pins(store).drop("best")
    assert [] == Pins(store).all()


def test_pins_are_listed_by_name(actions, store):
    publish(actions, 1, "x"), publish(actions, 2, "y")
    Pins(store).add("b", key_of(2))
    Pins(store).add("a", key_of(1))
    assert [("a", key_of(1)), ("b", key_of(2))] == [(pin.name, pin.digest) for pin in Pins(store).all()]
    assert {"kind", "digest"} == json.loads((store.root / "pins" / "a.json").read_text()).keys()
