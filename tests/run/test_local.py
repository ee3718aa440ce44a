"""Workers of this machine, driven without a build."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from forge.core.files import Files
from forge.run import spawn
from forge.run.local import LocalExecutor, prepare, prepare_early
from forge.run.room import Need

HEAVY = Need(alone=True)


@pytest.fixture
def executor():
    made = LocalExecutor(2)
    yield made
    made.close()


class FakeJob:
    kind = "transform"
    key, step = "k", "long"

    def dump(self):
        return "{}"


@pytest.fixture
def stub(monkeypatch):
    """Let a worker be any Python code."""

    def worker_is(code):
        real = spawn.start
        monkeypatch.setattr(spawn, "start", lambda: real(("-c", code)))

    return worker_is


def wait_for(executor):
    found = []
    deadline = time.monotonic() + 20
    while not found and time.monotonic() < deadline:
        found = executor.wait()
    return found


def ends(pid):
    """Say whether a process ends within some seconds; one that nobody has waited for yet has ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_there_is_room_for_as_many_as_were_asked_for_and_a_heavy_one_alone(executor, stub):
    stub("import time; time.sleep(60)")
    assert (True, True) == (executor.has_room(Need()), executor.has_room(HEAVY))
    executor.submit(FakeJob(), Need())
    assert (True, False) == (executor.has_room(Need()), executor.has_room(HEAVY))
    executor.submit(FakeJob(), Need())
    assert (False, False) == (executor.has_room(Need()), executor.has_room(HEAVY))


def test_nothing_starts_beside_a_heavy_one(executor, stub):
    stub("import time; time.sleep(60)")
    executor.submit(FakeJob(), HEAVY)
    assert not executor.has_room(Need())


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os; os.kill(os.getpid(), 11)", "was killed by signal 11 (SIGSEGV)"),
        ("import sys; sys.exit(3)", "ended with status 3"),
    ],
)
def test_a_worker_that_dies_fails_its_job_with_how_it_died(executor, stub, code, how):
    stub(code)
    executor.submit(FakeJob(), Need())
    ((key, event),) = wait_for(executor)
    assert ("k", "failed", f"the process that ran step `long` {how}") == (key, event["event"], event["message"])
    assert [] == executor.workers


def test_an_event_that_comes_in_two_pieces_is_one_event(executor, stub):
    stub(
        "import sys, time\n"
        "sys.stdin.readline()\n"
        'for piece in (\'{"event": "pro\', \'gress"}\\n{"event": "done"}\\n\'):\n'
        "    sys.stdout.write(piece); sys.stdout.flush(); time.sleep(0.2)\n"
        "time.sleep(60)\n"
    )
    executor.submit(FakeJob(), Need())
    assert [("k", {"event": "progress"}), ("k", {"event": "done"})] == wait_for(executor)
    assert executor.has_room(HEAVY)


def test_closing_ends_workers_and_what_they_started(executor, stub, tmp_path):
    note = tmp_path / "pid"
    stub(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    executor.submit(FakeJob(), Need())
    deadline = time.monotonic() + 20
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    child = int(note.read_text())
    executor.close()
    assert ends(child)
    assert [] == executor.workers


DEAF = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; print(flush=True); time.sleep(60)"


@pytest.mark.parametrize("end", ["time.sleep(60)", "sys.exit(3)"])
def test_what_a_worker_started_ends_with_it_even_if_it_hears_no_signal(executor, stub, tmp_path, end):
    note = tmp_path / "pid"
    stub(
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {DEAF!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        f"{end}\n"
    )
    executor.submit(FakeJob(), Need())
    deadline = time.monotonic() + 20
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    if "exit" in end:
        wait_for(executor)
    executor.close()
    assert ends(int(note.read_text()))


# ---------------------------------------------------------------- what is imported ahead


class Spare:
    def __init__(self):
        self.told = []

    def prepare(self, modules):
        self.told.append(list(modules))


def graph_of(*steps):
    return SimpleNamespace(steps={str(i): step for i, step in enumerate(steps)}, packages=frozenset({"my_plugin"}))


def step_of(verb, imports=None, needs=()):
    instance = None if imports is None else SimpleNamespace(imports=imports)
    return SimpleNamespace(verb=verb, instance=instance, needs=needs, files={})


def gone():
    raise FileNotFoundError


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([step_of("fetch"), step_of("make", needs=("0",))], []),
        ([step_of("fetch"), step_of("transform", needs=("0",))], [["polars"]]),
        ([step_of("read", lambda: ("pyarrow.json", "my_plugin.codec"))], [["polars", "pyarrow.json"]]),
        ([step_of("read", gone)], [["polars"]]),
        ([step_of("read"), step_of("train", lambda: ("torch",), needs=("0",))], [["polars"]]),
    ],
)
def test_idle_workers_load_what_the_first_jobs_want_and_nothing_of_a_plugin(steps, told):
    spare = Spare()
    prepare([spare, Spare()], graph_of(*steps))
    assert told == spare.told


@pytest.mark.parametrize(("sizes", "told"), [([1, 5], ["polars"]), ([20 << 20, 20 << 20], ["polars", "pyarrow.ipc"])])
def test_idle_workers_load_what_maps_a_table_where_one_will_be_large(tmp_path, sizes, told):
    for number, size in enumerate(sizes):
        with (tmp_path / f"{number}.json").open("wb") as file:
            file.truncate(size)
    step, spare = step_of("read"), Spare()
    step.files = {"path": Files.match("*.json", tmp_path)}
    prepare([spare, Spare()], graph_of(step))
    assert [told] == spare.told


def test_no_more_workers_load_anything_than_have_jobs_at_first():
    spares = [Spare(), Spare(), Spare()]
    prepare(spares, graph_of(step_of("read"), step_of("read"), step_of("merge", needs=("0", "1"))))
    assert [[["polars"]], [["polars"]], []] == [spare.told for spare in spares]


def test_the_first_worker_loads_polars_as_soon_as_a_step_is_found_that_needs_it():
    spares = [Spare(), Spare()]
    for verb in ("fetch", "read", "transform"):
        prepare_early(spares, verb)
    prepare_early([], "read")
    assert [[["polars"], ["polars"]], []] == [spare.told for spare in spares]


def test_a_worker_that_can_not_load_a_module_waits_for_jobs_all_the_same():
    worker = spawn.start()
    worker.prepare(["no_such_module"])
    assert worker.wait(1.0) is None
    os.write(worker.to, b"{\n")  # what is no job ends it
    assert worker.wait(20.0)
    worker.close()
