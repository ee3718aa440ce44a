"""`forge store` as people type it."""

import os
import re
import time
from contextlib import contextmanager

import pytest

from forge.cli.app import run
from forge.core.record import Record
from forge.store.actions import Actions
from forge.store.base import Store

KEY = "ab" * 32


@pytest.fixture
def actions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORGE_STORE", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    return Actions(Store.open(tmp_path / "store"))


@pytest.fixture
def record(actions):
    with actions.store.staging() as folder:
        (folder / "a.txt").write_text("abc" * 1000)
        tree = actions.store.add_tree(folder)
    record = Record(KEY, "one", "transform", "toy.one", {}, {}, tree.digest, 1.5)
    actions.publish(record)
    return record


def age(root):
    then = time.time() - 30 * 86400
    for path in root.rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)


def say(capsys, command):
    """Run a command and return its exit code and all it printed, blanks made one."""
    code = run(command.split())
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, re.sub(r"[ \n]+", " ", said.out + said.err)


def object_of(actions, record):
    [member] = actions.store.tree(record.tree).members.values()
    return actions.store.object_path(member.digest)


# ---------------------------------------------------------------- gc


def test_a_dry_run_says_what_would_go_and_removes_nothing(actions, record, capsys):
    age(actions.store.root)
    code, said = say(capsys, "store gc --dry-run")
    assert (0, True, True) == (code, "objects 1 2.9 KiB" in said, "nothing was removed" in said), said
    assert object_of(actions, record).exists()


def test_a_collection_says_beforehand_what_goes_and_then_what_it_freed(actions, record, capsys):
    age(actions.store.root)
    path = object_of(actions, record)
    code, said = say(capsys, "store gc")
    assert (0, False) == (code, path.exists())
    assert re.search(r"goes count size objects 1 2\.9 KiB .* all 3 .* freed, 0 records kept", said), said
    assert (0, "nothing to remove: 0 records in use ") == say(capsys, "store gc")


def test_days_to_keep_keep_what_was_used_in_them(actions, record, capsys):
    age(actions.store.root)
    assert (0, "nothing to remove: 1 record in use ") == say(capsys, "store gc --keep-days 31")


def test_a_pin_keeps_its_result_through_a_collection(actions, record, capsys):
    assert (0, f"pin `best` keeps record {KEY} ") == say(capsys, f"store pin best {KEY[:12]}")
    age(actions.store.root)
    assert (0, "nothing to remove: 1 record in use ") == say(capsys, "store gc")
    assert (0, f"pin keeps digest best record {KEY} ") == say(capsys, "store pins")
    assert (2, "error: there is no pin `bset` hint: did you mean `best`? ") == say(capsys, "store unpin bset")
    assert (0, "pin `best` is gone ") == say(capsys, "store unpin best")
    assert (0, "no pins ") == say(capsys, "store pins")
    assert "all 3 " in say(capsys, "store gc")[1]


def test_a_pin_of_nothing_is_exit_code_2(actions, capsys):
    code, said = say(capsys, "store pin best abcdef")
    assert (2, True, True) == (code, "nothing in the store begins with `abcdef`" in said, "hint:" in said)


# ---------------------------------------------------------------- verify


def damage(actions, record, how):
    """Plant one fault."""
    path = {"record": actions.record_path(KEY), "tree": actions.store.tree_path(record.tree)}.get(how.split()[0])
    path = path or object_of(actions, record)
    path.chmod(0o644)
    if how.endswith("missing"):
        path.unlink()
    elif how.endswith("cut"):
        path.write_bytes(path.read_bytes()[:-1])
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


FAULTS = ["record flipped", "record cut", "tree flipped", "tree cut", "tree missing", "object flipped", "object cut"]


@pytest.mark.parametrize("how", [*FAULTS, "object missing"])
def test_every_planted_fault_is_found_and_repaired(actions, record, capsys, how):
    damage(actions, record, how)
    code, said = say(capsys, "store verify")
    kind = how.split()[0] + (" is missing" if how.endswith("missing") else " is damaged")
    assert (4, True, True) == (code, kind in said, "1 fault hint: `forge store verify --repair`" in said), said
    steps = "no step needs them" if how.startswith("record") else "the next build makes `one` anew"
    code, said = say(capsys, "store verify --repair")
    assert (0, True) == (code, f"1 fault set aside: {steps}" in said), said
    code, said = say(capsys, "store verify")
    assert (0, True) == (code, "0 records, no fault" in said), said
    assert how.endswith("missing") or "in staging: no fault" in said


def test_an_object_of_the_wrong_size_is_told_with_both_sizes(actions, record, capsys):
    damage(actions, record, "object cut")
    assert "2,999 of 3,000 bytes of `one`" in say(capsys, "store verify")[1]


def test_what_is_whole_stays_when_something_else_is_repaired(actions, record, capsys):
    with actions.store.staging() as folder:
        (folder / "b.txt").write_text("other")
        tree = actions.store.add_tree(folder)
    actions.publish(Record("cd" * 32, "two", "transform", "toy.one", {}, {}, tree.digest, 1.5))
    damage(actions, record, "object flipped")
    assert (0, True) == (say(capsys, "store verify --repair")[0], actions.find("cd" * 32) is not None)


def test_a_fault_that_can_t_be_set_aside_is_exit_code_4(actions, record, capsys, monkeypatch):
    damage(actions, record, "object flipped")

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    code, said = say(capsys, "store verify --repair")
    assert (4, True) == (code, "can't be moved" in said)


def test_a_damaged_result_is_made_anew_by_the_build_after_a_repair(forge_project):
    forge_project.manifest(
        '[sources.raw]\nuse = "files.any"\npath = "raw.txt"\n'
        '[transforms.two]\nuse = "run.command"\nfrom = "raw"\ncommand = "tr a-z A-Z < \\"$1\\" > $OUT/up"\n'
    )
    forge_project.write("raw.txt", "raw")
    first = forge_project.build()
    assert 0 == first.exit_code, first.stderr
    [digest] = first.steps["two"].outputs.values()
    path = forge_project.store / "objects" / digest[:2] / digest[2:]
    path.chmod(0o644)
    path.write_text("ROW")
    assert "of `two`" in forge_project.forge("store", "verify").stdout
    assert 0 == forge_project.forge("store", "verify", "--repair").exit_code
    again = forge_project.build()
    assert ({"raw": "hit", "two": "ran"}, first.steps["two"].tree) == (again.statuses, again.steps["two"].tree)
    assert "no fault" in forge_project.forge("store", "verify").stdout


# ---------------------------------------------------------------- gc beside a build

SLOW = """
    [params]
    word = "a"

    [sources.raw]
    use = "files.any"
    path = "raw.txt"

    [transforms.old]
    use = "run.command"
    from = "raw"
    command = "echo ${word} > $OUT/word"

    [transforms.slow]
    use = "run.command"
    from = "old"
    command = "echo slow >> RUNS; while [ ! -e GO ]; do sleep 0.02; done; cat $1 > $OUT/slow; echo ${word}"

    [transforms.last]
    use = "run.command"
    from = { x = "slow", y = "old" }
    command = "cat $1 $2 > $OUT/last"
    """


@contextmanager
def closing_down(process):
    """End the build also where the test fails, or it would be waited for."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_collection_beside_a_build_takes_nothing_that_the_build_found(forge_project):
    project, go, runs = forge_project, forge_project.root / "go", forge_project.root / "runs"
    project.manifest(SLOW.replace("GO", str(go)).replace("RUNS", str(runs)))
    project.write("raw.txt", "raw")
    first = project.build("old")
    # another last build: nothing but its age keeps the first one's result now, and that is over
    lost = project.build("old", "--set", "word=c").steps["old"].tree
    assert 0 == project.build("old", "--set", "word=b").exit_code
    age(project.store)
    with closing_down(project.start("build", "forge.toml", "--json")) as process:
        deadline = time.monotonic() + 30
        while not runs.exists():
            assert time.monotonic() < deadline, "the slow step never began"
            time.sleep(0.02)
        said = project.forge("store", "gc")
        assert (0, True) == (said.exit_code, "freed" in said.stdout), said
        assert not (project.store / "trees" / lost[:2] / f"{lost[2:]}.json").exists()
        go.touch()
        _, problems = process.communicate(timeout=60)
    assert 0 == process.returncode, problems
    assert "no fault" in project.forge("store", "verify").stdout
    again = project.build()
    assert {"raw": "hit", "old": "hit", "slow": "hit", "last": "hit"} == again.statuses
    assert (first.steps["old"].tree, "slow\n") == (again.steps["old"].tree, runs.read_text())
    assert [] == list((project.store / "builds" / "running").iterdir())
