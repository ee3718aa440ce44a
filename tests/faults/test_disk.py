"""Stores on disks that are full, read-only or closed to us, and clocks that were moved."""

import json
import os
import resource
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import SIMPLE

MEGABYTE = 1 << 20


def mount(folder, *options):
    """Mount a file system in memory; skip where that is not allowed."""
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount a small disk: {done.stderr.strip()}")


@pytest.fixture
def disk(simple):
    """Give a disk of two megabytes, on which the project's store lies."""
    folder = simple.root / "disk"
    mount(folder, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    simple.environment["FORGE_STORE"] = str(folder / "store")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def read_only(simple):
    """Return a function that takes the permission to write to the store away, and gives it back."""
    mounted = []

    def close(folder=simple.store):
        if os.geteuid() != 0:
            change_modes(folder, "a-w")
            mounted.append(folder)
            return
        if not mounted:
            mount(folder, "--bind", str(folder))
            mounted.append(folder)
        done = subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("this machine lets nobody make a mount read-only")

    yield close
    for folder in mounted:
        if os.geteuid() == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        else:
            change_modes(folder, "u+w")


def change_modes(folder, mode):
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            subprocess.run(["chmod", mode, str(path)], check=True)


def fill_up(disk, left=0):
    """Leave *left* bytes of the disk."""
    ballast = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT)
    written = 0
    with suppress(OSError):
        while True:
            written += os.write(ballast, bytes(4096))
    os.ftruncate(ballast, written - left)
    os.close(ballast)


def make_room(disk):
    (disk / "ballast").unlink(missing_ok=True)
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)


def step(text):
    return SIMPLE + "\n    [transforms.write]\n    from = 'one'\n    " + text


def fails_for_want_of_room(project, disk, name="write", *, store=None):
    """Build, see a named error of the store, make room, and see that the next build ends right."""
    result = project.build("--jobs", "1")
    assert 4 == result.exit_code, result.stderr
    assert "Traceback" not in result.stderr
    error = result.steps[name].error
    assert 4 == error["exit_code"], error
    assert "is full" in error["message"], error
    assert error["hint"].startswith("free some space"), error
    assert [] == project.damage(store)
    make_room(disk)
    return error


WRITES = {
    "python": 'use = "faults.write"\n    size = 3000000',
    "polars": 'use = "faults.write"\n    size = 3000000\n    how = "polars"',
    "scratch": 'use = "faults.write"\n    size = 3000000\n    how = "scratch"',
    "print": 'use = "faults.write"\n    size = 3000000\n    how = "bug"',
    "command": 'use = "run.command"\n    command = \'head -c 3000000 /dev/zero > "$OUT/big"\'',
    "pipe": 'use = "run.command"\n    command = \'yes | head -c 3000000 | cat > "$OUT/big"\'',
}


@pytest.mark.parametrize("how", WRITES)
def test_a_disk_that_a_step_s_own_write_fills_is_exit_code_4_with_a_named_error(simple, disk, how):
    simple.manifest(step(WRITES[how]))
    assert 0 == simple.build("one").exit_code
    error = fails_for_want_of_room(simple, disk, store=disk / "store")
    assert str(disk / "store") in error["message"]
    expected = 1 if how == "print" else 0
    again = simple.build()
    assert (expected, "hit", "hit") == (again.exit_code, again.statuses["raw"], again.statuses["one"]), again.stderr


def test_a_bug_on_a_full_disk_is_told_as_one_though_its_traceback_finds_no_room_in_the_log(simple, disk):
    simple.manifest(step('use = "faults.write"\n    how = "bug"\n    size = 1'))
    assert 0 == simple.build("two").exit_code
    fill_up(disk, left=16384)
    result = simple.build("--jobs", "1")
    assert result.exit_code in (1, 4)
    assert any(word in result.steps["write"].error["message"] for word in ("forgotten", "is full"))
    assert "process that ran" not in result.stderr


@pytest.mark.parametrize("left", [0, 8192])
def test_a_disk_with_next_to_no_room_fails_the_first_step_and_loses_nothing(simple, disk, left):
    assert 0 == simple.build("one").exit_code
    records = simple.records(disk / "store")
    fill_up(disk, left)
    result = simple.build("--jobs", "1")
    assert (result.exit_code, "Traceback" in result.stderr) in ((4, False), (0, False)), result.stderr
    assert records.items() <= simple.records(disk / "store").items()
    assert [] == simple.damage(disk / "store")
    make_room(disk)
    again = simple.build()
    assert (0, "hit", "hit") == (again.exit_code, again.statuses["raw"], again.statuses["one"])


def test_a_store_that_can_t_be_made_for_want_of_room_is_exit_code_4(simple, disk):
    fill_up(disk)
    result = simple.build()
    assert (4, False, True) == (result.exit_code, "Traceback" in result.stderr, "is full" in result.stderr)


def test_a_full_disk_in_the_user_s_own_tree_fails_the_delivery_alone(simple):
    folder = simple.root / "delivered"
    mount(folder, "-t", "tmpfs", "-o", "size=64k", "tmpfs")
    try:
        copy = '\n    [exporters.copy]\n    use = "files.copy"\n    from = "write"\n    to = "delivered/big"\n'
        simple.manifest(step(WRITES["python"]) + copy)
        result = simple.build()
        assert (1, "ran", "failed") == (result.exit_code, result.statuses["write"], result.statuses["copy"])
        assert "`delivered/big` can't be written: No space left on device" == result.steps["copy"].error["message"]
        assert [] == list(folder.iterdir())
        make_room(folder)
        assert (0, "hit") == ((again := simple.build()).exit_code, again.statuses["copy"])
        assert 3_000_000 == (folder / "big").stat().st_size
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def limit(size):
    """Return what `preexec_fn` calls so that no file grows beyond *size*, as under a quota."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_file_that_outgrows_what_the_user_may_write_is_exit_code_4_with_a_named_error(simple, monkeypatch):
    simple.manifest(step(WRITES["python"]))
    assert 0 == simple.build("two").exit_code
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **o: real(*a, **o, preexec_fn=limit(MEGABYTE)))
    result = simple.build()
    monkeypatch.undo()
    assert (4, False) == (result.exit_code, "Traceback" in result.stderr), result.stderr
    assert "a file grew larger than" in result.steps["write"].error["message"]
    assert 0 == simple.build().exit_code


# ---------------------------------------------------------------- read-only, and permission lost


def test_a_store_that_can_t_be_written_gives_hits_and_fails_what_must_run(simple, read_only):
    assert 0 == simple.build("one").exit_code
    read_only()
    hits = simple.build("one")
    assert (0, {"hit"}) == (hits.exit_code, set(hits.statuses.values())), hits.stderr
    result = simple.build()
    assert (4, "hit", "failed") == (result.exit_code, result.statuses["one"], result.statuses["two"])
    assert "Traceback" not in result.stderr
    error = result.steps["two"].error["message"]
    assert "is on a read-only file system" in error or "no permission to write" in error
    assert (None, False) == (result.steps["two"].error.get("log"), "log:" in simple.forge("build", "forge.toml").stderr)
    assert 0 == simple.forge("store", "verify").exit_code
    assert 0 == simple.forge("show", "forge.toml", "one").exit_code


def test_permission_that_is_lost_while_a_step_runs_is_exit_code_4_with_a_named_error(simple, read_only):
    simple.manifest(step('use = "faults.write"\n    size = 10\n    pause = 1.0'))
    assert 0 == simple.build("two").exit_code
    with (simple.root / "out").open("w"):
        process = simple.command("build", "forge.toml", "--json")
    while "write" not in simple.runs():
        assert process.poll() is None
    read_only()
    assert 4 == process.wait(60), (simple.root / "out").read_text()
    said = (simple.root / "out").read_text()
    assert "Traceback" not in said
    assert "is on a read-only file system" in said or "no permission to write" in said


@pytest.mark.parametrize("command", ["gc", "verify --repair", "pin best KEY"])
def test_a_store_that_can_t_be_written_is_named_by_what_would_write_to_it(simple, read_only, command):
    built = simple.build()
    if command == "gc":
        simple.write("data/a.txt", "other")
        simple.build()
    else:
        [digest] = built.steps["two"].outputs.values()
        path = simple.store / "objects" / digest[:2] / digest[2:]
        path.chmod(0o644)
        path.write_text("damaged")
    read_only()
    words = command.replace("KEY", built.steps["one"].key[:16]).split()
    result = simple.forge("store", *words, CLOCK=str(2 * 86400))
    assert (4, False) == (result.exit_code, "Traceback" in result.stderr), result.stderr
    assert any(word in result.stdout + result.stderr for word in ("read-only", "no permission", "can't be moved"))


# ---------------------------------------------------------------- clocks


@pytest.mark.parametrize("shift", [-86400, 86400])
def test_a_clock_that_jumped_makes_nothing_run_again_and_overlooks_no_change(simple, shift):
    first = simple.build()
    clock = {"CLOCK": str(shift)}
    assert {"hit"} == set(simple.build(**clock).statuses.values())
    assert {"hit"} == set(simple.build(**clock).statuses.values())
    simple.write("data/a.txt", "other\n")
    changed = simple.build(**clock)
    assert (0, {"ran"}) == (changed.exit_code, set(changed.statuses.values()))
    back = simple.build()
    assert (0, {"hit"}) == (back.exit_code, set(back.statuses.values()))
    assert simple.digests(first) != simple.digests(back)
    assert [] == simple.damage()


def test_files_of_the_future_are_read_and_built_as_any(simple):
    future = 4_000_000_000
    simple.build()
    for path in [*(simple.root / "data").iterdir(), *simple.store.rglob("*")]:
        os.utime(path, (future, future))
    assert {"hit"} == set(simple.build().statuses.values())
    text = (simple.root / "data/a.txt").read_text()
    simple.write("data/a.txt", text.replace("aword0\n", "aword1\n"))
    os.utime(simple.root / "data/a.txt", (future, future))
    assert {"ran"} == set(simple.build().statuses.values())


def test_a_clock_that_was_set_back_lets_a_collection_take_nothing_in_use(simple):
    built = simple.build()
    simple.write("data/a.txt", "other\n")
    simple.build(CLOCK="-7200")
    assert 0 == simple.forge("store", "gc", CLOCK="-86400").exit_code
    assert built.steps.keys() == {step["name"] for step in json.loads(simple.build().stdout)["steps"]}
    assert {"hit"} == set(simple.build().statuses.values())
    assert Path(simple.store / "format").exists()
