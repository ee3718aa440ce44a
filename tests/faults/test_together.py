"""Many builds at once on one store, and collections beside them."""

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from forge.store.actions import Actions
from forge.store.base import Store
from forge.store.process import birth

from .conftest import MIXED, is_running, json_of, kill

BESIDE = """
    [transforms.extra]
    use = "run.command"
    from = ["join", "one"]
    environment = ["RUNS"]
    command = 'echo extra{number} >> "$RUNS"; cat "$@" > "$OUT/text"'
    """
VARIANT = """
    [params]
    word = "a"

    [sources.raw]
    use = "files.any"
    path = "data/a.txt"

    [transforms.one]
    use = "run.command"
    from = "raw"
    command = 'echo ${word} > "$OUT/text"'
    """
ONCE = ("words", "big", "one", "two", "three", "join", "last")


def build_at_once(project, count):
    """Start *count* builds of overlapping manifests at the same moment, and return what each printed."""
    for number in range(count):
        project.manifest(MIXED + BESIDE.format(number=number % 3), f"m{number}.toml")
    processes = [
        project.command("build", f"m{number}.toml", "--json", "--jobs", "2", where=project.root / f"out{number}")
        for number in range(count)
    ]
    codes = [process.wait(120) for process in processes]
    said = [(project.root / f"out{number}").read_text() for number in range(count)]
    assert [0] * count == codes, said[max(range(count), key=codes.__getitem__)]
    return [json_of(text) for text in said]


@pytest.mark.parametrize("count", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_builds_of_overlapping_manifests_at_once_run_each_action_once(mixed, count):
    documents = build_at_once(mixed, count)
    runs = mixed.runs()
    assert dict.fromkeys(ONCE, 1) == {name: runs[name] for name in ONCE}
    assert {1} == set(runs.values())
    assert min(3, count) == sum(runs[f"extra{number}"] for number in range(3))
    ran = Counter(step["key"] for document in documents for step in document["steps"] if step["status"] == "ran")
    assert {1} == set(ran.values())
    assert ran.keys() == mixed.records().keys()
    assert [] == mixed.damage()
    assert [] == [path.name for part in ("claims", "scratch", "staging") for path in (mixed.store / part).iterdir()]
    alone = mixed.build("--store", "alone")
    assert 0 == alone.exit_code
    for document in documents:
        assert mixed.digests(alone).items() <= {step["name"]: step["tree"] for step in document["steps"]}.items()


def test_a_build_beside_one_that_is_killed_takes_over_what_that_one_ran(mixed):
    first = mixed.command("build", "forge.toml", "--jobs", "2", where=mixed.root / "first")
    second = mixed.command("build", "forge.toml", "--json", "--jobs", "2", where=mixed.root / "second")
    deadline = time.monotonic() + 20
    while not any((mixed.store / "claims").glob("[!.]*")) and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(random.random() * 0.2)
    kill(first.pid)
    first.wait()
    assert 0 == second.wait(60), (mixed.root / "second").read_text()
    assert [] == mixed.damage()
    assert 2 >= max(mixed.runs().values())


# ---------------------------------------------------------------- claims


@pytest.fixture
def actions(tmp_path):
    return Actions(Store.open(tmp_path / "store"))


HOLDER = """
import os, sys, time
from pathlib import Path
from forge.store.actions import Actions
from forge.store.base import Store

actions, folder = Actions(Store.open(Path(sys.argv[1]))), Path(sys.argv[2])
for number in range(int(sys.argv[3])):
    while not (folder / f"go{number}").exists():
        time.sleep(0.0005)
    with actions.claim(f"key{number}"):
        for word in ("in", "out"):
            note = os.open(folder / f"note{number}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(note, f"{word} ".encode())
            os.close(note)
            time.sleep(0.001)
"""


def test_of_many_who_break_a_dead_claim_one_at_a_time_holds_the_next(actions, tmp_path):
    rounds, holders = 40, 6
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    command = [sys.executable, "-c", HOLDER, str(actions.store.root), str(tmp_path), str(rounds)]
    processes = [subprocess.Popen(command) for _ in range(holders)]
    for number in range(rounds):
        (actions.store.root / "claims" / f"key{number}").write_text(f"{socket.gethostname()} {dead.pid} 1")
        (tmp_path / f"go{number}").touch()
    assert [0] * holders == [process.wait(60) for process in processes]
    assert {"in out " * holders} == {(tmp_path / f"note{number}").read_text() for number in range(rounds)}


def hold(actions, text):
    path = actions.store.root / "claims" / "key"
    path.write_text(text)
    return path


def test_a_claim_whose_number_another_process_was_given_is_broken(actions):
    hold(actions, f"{socket.gethostname()} {os.getpid()} 1 {int(birth(os.getpid())) - 1}")
    with actions.claim("key") as heart:
        assert heart.path.read_text().endswith(f" {birth(os.getpid())}")


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="this system does not show its processes")
def test_a_claim_of_an_ended_process_that_nobody_waited_for_is_broken(actions):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        deadline = time.monotonic() + 20
        while is_running(process.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        hold(actions, f"{socket.gethostname()} {process.pid} 1 {birth(process.pid)}")
        with actions.claim("key"):
            assert Actions(actions.store).claimed().keys() == {"key"}


def test_a_claim_of_another_machine_that_is_silent_is_dead_though_a_clock_was_set_back(actions, monkeypatch):
    path = hold(actions, "elsewhere 1 1")
    later = time.time() + 86400
    os.utime(path, (later, later))
    clock = [100.0]
    real, here = time.sleep, threading.get_ident()

    def sleep(seconds):
        if threading.get_ident() == here:  # threads of other tests, a claim's pulse among them, sleep as ever
            clock[0] += 1
        else:
            real(seconds)

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", sleep)
    with actions.claim("key"):
        waited = clock[0]
    assert 159.0 <= waited <= 163.0


def test_a_claim_beats_while_its_step_says_nothing(actions, monkeypatch):
    monkeypatch.setattr("forge.store.actions._STALE", 0.06)
    with actions.claim("key") as heart:
        os.utime(heart.path, (1, 1))
        deadline = time.monotonic() + 20
        while heart.path.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - heart.path.stat().st_mtime < 60


# ---------------------------------------------------------------- collections


def age(root):
    """Make everything in the store look unused for a month."""
    for path in root.rglob("*"):
        if path.parent.name != "running":
            try:
                os.utime(path, (1, time.time() - 30 * 86400), follow_symlinks=False)
            except FileNotFoundError:
                continue


@pytest.mark.slow
def test_collections_beside_builds_take_nothing_that_they_need(mixed):
    assert 0 == mixed.build().exit_code
    for number in range(2):
        mixed.write("data/b.txt", f"bword{number}\nbeside\n")
        age(mixed.store)
        process = mixed.command("build", "forge.toml", "--json", "--jobs", "2")
        while process.poll() is None:
            done = mixed.forge("store", "gc")
            assert 0 == done.exit_code, done.stderr
        assert 0 == process.returncode, (mixed.root / "out").read_text()
        assert [] == mixed.damage()
        assert {"hit"} == set(mixed.build().statuses.values())


def test_a_collection_keeps_the_variant_that_a_snapshot_answered_last(simple):
    simple.manifest(VARIANT)
    variants = {word: ("--set", f"word={word}") for word in "abc"}
    simple.build("raw")  # makes folders beside the code
    time.sleep(0.1)  # files as young as a build are not trusted, and leave no snapshot
    for arguments in variants.values():
        assert "ran" in simple.build(*arguments).statuses.values()
    names = {path.name for path in (simple.store / "builds").glob("*.json")}
    before = {path: path.stat().st_ino for path in (simple.store / "builds").iterdir()}
    assert {"hit"} == set(simple.build(*variants["a"]).statuses.values())
    assert (1, before) == (len(names), {path: path.stat().st_ino for path in (simple.store / "builds").iterdir()})
    assert 0 == simple.forge("store", "gc", CLOCK=str(2 * 86400)).exit_code
    kept = {word: "ran" not in simple.build(*arguments).statuses.values() for word, arguments in variants.items()}
    assert {"a": True, "b": False, "c": True} == kept
