"""A manifest of many kinds of step whose work can be counted from outside, and ways to do it harm."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from forge.store.actions import Actions
from forge.store.base import Store
from forge.store.faults import describe_damage
from forge.testing import ForgeProject

PLUGIN = '''
from __future__ import annotations

import asyncio
import os
import time

import attrs

import forge


def _note(line):
    """Leave a line outside the store, in one write, to be counted by the test."""
    descriptor = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, (line + "\\n").encode())
    os.close(descriptor)


@attrs.frozen
class Words:
    """Read words, one a line."""

    path: forge.Files

    def read(self, run):
        _note("words")
        for file in self.path:
            yield [{"text": word} for word in file.read_text().split()]


@attrs.frozen
class Echo:
    """Label words with their lengths, as a provider would."""

    pause: float = forge.setting(0.004)
    concurrency: int = forge.setting(3)

    def request(self, row):
        return forge.Request({"model": "echo"}, [{"role": "user", "content": row["text"]}])

    async def ask(self, request):
        word = request.messages[0]["content"]
        _note(f"ask {word}")
        await asyncio.sleep(self.pause)
        return forge.Reply(str(len(word)), "echo", 1, 1)

    def parse(self, reply):
        return {"level": int(reply.text)}


@attrs.frozen
class Write:
    """Write *size* bytes to a file, by the way that *how* names, after a pause."""

    size: int = 0
    how: str = "python"
    pause: float = forge.setting(0.0)

    def make(self, inputs, out, run):
        _note("write")
        time.sleep(self.pause)
        if self.how == "python":
            (out / "big").write_bytes(b"x" * self.size)
        elif self.how == "polars":
            import polars as pl

            pl.DataFrame({"x": pl.arange(self.size // 8, eager=True)}).write_ipc(out / "big")
        elif self.how == "bug":
            run.log("x" * self.size)
            raise KeyError("forgotten")
        elif self.how == "scratch":
            (run.scratch / "big").write_bytes(b"x" * self.size)
            (out / "small").write_text("x")


@forge.hookimpl
def forge_register(register):
    register.source("words", Words, version="1")
    register.labeler("echo", Echo, version="1")
    register.transform("write", Write, version="1")
'''

SITE = '''
"""Move this process's clock by CLOCK seconds; end it before its STRIKE-th change of the store, if it is WHO."""

import os
import signal
import sys
import time

if "CLOCK" in os.environ:
    shift = float(os.environ["CLOCK"])
    time.time = lambda now=time.time: now() + shift
    time.time_ns = lambda now=time.time_ns: now() + int(shift * 1e9)

if "STRIKE" in os.environ:
    left = int(os.environ["STRIKE"])
    changes = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime", "open"}

    first = os.getpid()

    def is_ours():
        # a worker is a Python of its own, whose command line is known only later, or forked from the head
        worker = os.getpid() != first or "forge.run.worker" in getattr(sys, "orig_argv", ())
        return worker == (os.environ["WHO"] == "worker")

    def watch(event, arguments):
        global left
        if event not in changes or not isinstance(arguments[0], str | bytes | os.PathLike) or not is_ours():
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if "/store" not in os.fsdecode(arguments[0]):
            return
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
'''

COMMAND = """
    [transforms.{name}]
    use = "run.command"
    from = {source}
    environment = ["RUNS"]
    command = 'echo {name} >> "$RUNS"; {command}'
    """

MIXED = """
    [sources.raw]
    use = "files.any"
    path = "data/*.txt"

    [sources.words]
    use = "faults.words"
    path = "data/*.txt"

    [transforms.band]
    use = "text.length-band"
    from = "words"
    column = "text"
    least = 3

    [labelers.levels]
    use = "faults.echo"
    from = "band"
    """ + "".join(
    COMMAND.format(name=name, source=source, command=command)
    for name, source, command in (
        ("big", '"raw"', 'yes abcdefg | head -c 5000000 > "$OUT/big"; yes hijk | head -c 3000000 > "$OUT/more"'),
        ("one", '"raw"', 'sleep 0.02; cat "$1"/*.txt > "$OUT/text"'),
        ("two", '"raw"', 'sleep 0.03; cat "$1"/*.txt | sort > "$OUT/text"'),
        ("three", '"raw"', 'mkdir "$OUT/deep"; cat "$1"/*.txt | tr a-z A-Z > "$OUT/deep/text"; sleep 0.02'),
        ("join", '["one", "two", "three"]', 'sleep 0.01; cat "$@" > "$OUT/text"'),
        ("last", '["join", "big"]', 'cat "$1" > "$OUT/text"; cat "$2/more" | head -c 100 >> "$OUT/text"'),
    )
)
SIMPLE = """
    [sources.raw]
    use = "files.any"
    path = "data/a.txt"
    """ + "".join(
    COMMAND.format(name=name, source=source, command=command)
    for name, source, command in (
        ("one", '"raw"', '(cat "$1"; echo one) > "$OUT/text"'),
        ("two", '"one"', 'cat "$1" "$1" > "$OUT/text"'),
    )
)


class FaultProject(ForgeProject):
    """Be a project whose builds are processes that can be killed, and whose store can be looked at."""

    def fill(self, manifest=MIXED):
        """Write plugin, data and manifest, and let everything look as if it had lain there for long."""
        self.plugin("faults", PLUGIN)
        self.write("plugins/sitecustomize.py", SITE)
        for name in "abc":
            self.write(f"data/{name}.txt", "".join(f"{name}word{number * 37 % 101}\n" for number in range(12)) + "no\n")
        self.manifest(manifest)
        return self

    def runs(self):
        """Return how often each thing was done since the project began."""
        path = Path(self.environment["RUNS"])
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()

    def command(self, *arguments, where=None, **environment):
        """Start a command in a process group of its own, without pipes that a killed one leaves open."""
        out = (where or self.root / "out").open("w")
        with out:
            return subprocess.Popen(
                [sys.executable, "-m", "forge", *arguments],
                cwd=self.root,
                env=self._environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def digests(self, result):
        """Return the digest of each step's artifact, from a build's JSON."""
        return {name: step.tree for name, step in result.steps.items()}

    def records(self, store=None):
        """Return the bytes and the inode of each record that is published."""
        paths = ((store or self.store) / "actions").glob("*/[!.]*.json")
        return {path.parent.name + path.stem: (path.read_bytes(), path.stat().st_ino) for path in paths}

    def damage(self, store=None):
        """Return every fault of the store, as `forge store verify` finds it."""
        if not ((store or self.store) / "format").exists():
            return []
        opened = Store.open(store or self.store)
        return [(fault.fault, str(fault.path)) for fault in describe_damage(opened, Actions(opened))]


def make_project(root, manifest=MIXED):
    root.mkdir(exist_ok=True)
    return FaultProject(root, {"RUNS": str(root / "runs"), "FORGE_STORE": None}).fill(manifest)


@pytest.fixture
def mixed(tmp_path):
    """Give a project of every kind of step."""
    return make_project(tmp_path / "project")


@pytest.fixture
def simple(tmp_path):
    """Give a project of three steps."""
    return make_project(tmp_path / "project", SIMPLE)


def flip(path, place=None):
    """Turn one bit of a file, whatever its permissions."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 1
    path.write_bytes(data)


def cut(path):
    """Take the second half of a file away."""
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    """Leave a file as a power cut may."""
    path.chmod(0o644)
    path.write_bytes(b"")


def garbage(path):
    """Put bytes that mean nothing in place of a file's own, the same ones each time."""
    path.chmod(0o644)
    path.write_bytes(random.Random(7).randbytes(max(64, path.stat().st_size)))


def workers_of(pid):
    """Return the processes that *pid* started, and those that they started."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found, level = [], {pid}
    while level:
        level = {child for child, parent in parents.items() if parent in level}
        found += level
    return found


def kill(*pids):
    """Kill processes; one that is gone already is no error."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def is_running(pid):
    """Say whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def json_of(process_output):
    """Return what a build printed with `--json`, from the text of both its outputs."""
    return json.loads(process_output[process_output.index("{") :])
