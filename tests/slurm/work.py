"""A project whose steps run as jobs, can be held up and counted from outside, and whose jobs can be looked at."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from forge.store.actions import Actions
from forge.store.base import Store
from forge.store.faults import describe_damage
from forge.testing import ForgeProject

from .waiting import wait_until

PLUGIN = '''
from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Literal

import attrs

import forge


def _note(place, line):
    """Leave a line outside the store, in one write, to be counted by the test."""
    descriptor = os.open(f"{place}/notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, (line + "\\n").encode())
    os.close(descriptor)


@attrs.frozen
class Write:
    """Write what the inputs hold and a name; *gate* waits until a file of that name lies in *place*."""

    name: str
    place: str = forge.setting("")
    pause: float = forge.setting(0.0)
    gate: bool = forge.setting(False)

    def make(self, inputs, out, run):
        _note(self.place, f"begun {self.name}")
        while self.gate and not Path(self.place, self.name).exists():
            time.sleep(0.02)
        time.sleep(self.pause)
        texts = [path.read_text() for artifact in inputs.values() for path in artifact.files().values()]
        (out / "text").write_text("".join([*texts, self.name, "\\n"]))
        _note(self.place, f"done {self.name}")


@attrs.frozen
class Count:
    """Count to *steps*, keeping how far it is; the result must not tell how often it was interrupted."""

    steps: int
    place: str = forge.setting("")
    pause: float = forge.setting(0.05)

    def make(self, inputs, out, run):
        kept = run.scratch / "at"
        at = int(kept.read_text()) if kept.exists() else 0
        _note(self.place, f"from {at}")
        total = sum(range(1, at + 1))
        while at < self.steps:
            time.sleep(self.pause)
            at += 1
            total += at
            run.progress(at, self.steps)
            if run.stopping:
                kept.write_text(str(at))
                raise forge.Interrupted("it left off")
        (out / "total").write_text(str(total))


@attrs.frozen
class Fall:
    """Say something, and end in the way that *how* names; with *once*, only at the first time."""

    how: Literal["exit", "signal", "error"]
    place: str = forge.setting("")
    once: bool = forge.setting(False)

    def make(self, inputs, out, run):
        before = Path(self.place, "notes").read_text().splitlines() if Path(self.place, "notes").exists() else []
        _note(self.place, f"fall {self.how}")
        run.log("the last words of the step")
        (out / "text").write_text("risen")
        if self.once and f"fall {self.how}" in before:
            return
        if self.how == "signal":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.how == "exit":
            os._exit(7)
        raise forge.StepError("the step says no")


@attrs.frozen
class Words:
    """Read words, one a line."""

    path: forge.Files

    def read(self, run):
        for file in self.path:
            yield [{"text": word} for word in file.read_text().split()]


@attrs.frozen
class Echo:
    """Label words with their lengths, as a provider would, but for the one that the file `down` in *place* names."""

    place: str = forge.setting("")
    pause: float = forge.setting(0.0)
    concurrency: int = forge.setting(4)
    retries: int = forge.setting(0)

    def request(self, row):
        return forge.Request({"model": "echo"}, [{"role": "user", "content": row["text"]}])

    async def ask(self, request):
        word = request.messages[0]["content"]
        _note(self.place, f"ask {word}")
        await asyncio.sleep(self.pause)
        if Path(self.place, "down").exists() and Path(self.place, "down").read_text() == word:
            raise forge.ProviderBusy("the provider is down")
        return forge.Reply(str(len(word)), "echo", 1, 1)

    def parse(self, reply):
        return {"level": int(reply.text)}


@forge.hookimpl
def forge_register(register):
    register.transform("write", Write, version="1")
    register.transform("count", Count, version="1")
    register.transform("fall", Fall, version="1")
    register.source("words", Words, version="1")
    register.labeler("echo", Echo, version="1")
'''

SITE = '''
"""Note every run record that is published, from whatever process."""

import os
import sys

if "COMMITS" in os.environ:

    def watch(event, arguments):
        if event != "os.rename" or "/actions/" not in os.fsdecode(arguments[1]):
            return
        folder, name = os.fsdecode(arguments[1]).split("/")[-2:]
        descriptor = os.open(os.environ["COMMITS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, (folder + name.removesuffix(".json") + "\\n").encode())
        os.close(descriptor)

    sys.addaudithook(watch)
'''

EXECUTOR = """
[executor]
use = "slurm"
kinds = ["transform", "labeler"]
poll = "1s"
grace = "5s"
"""


class SlurmProject(ForgeProject):
    """Be a project whose builds run on the cluster of the tests; ``executor`` is the table of every manifest."""

    executor = EXECUTOR

    @property
    def started(self):
        return self.__dict__.setdefault("_started", [])

    def steps(self, *tables, executor=None):
        """Write a manifest of a source `raw` and the given steps."""
        start = f'[params]\nplace = "{self.root}/place"\n[sources.raw]\nuse = "files.any"\npath = "raw.txt"\n'
        return self.manifest((executor or self.executor) + "\n" + start + "\n".join(tables))

    def notes(self):
        """Return how often each thing was noted since the project began."""
        path = self.root / "place/notes"
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()

    def commits(self):
        """Return how often a record was published, by action key."""
        path = Path(self.environment["COMMITS"])
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()

    def open(self, *names):
        """Let the steps of these names go on."""
        for name in names:
            self.write(f"place/{name}", "")

    def program(self, name, text):
        """Put a program of one's own before Slurm's; in *text*, `REAL` is the path of the one that it hides."""
        real = wait_until(lambda: _which(name, self.environment["PATH"]))
        path = self.write(f"bin/{name}", text.replace("REAL", real))
        path.chmod(0o755)
        first = str(self.root / "bin")
        if not self.environment["PATH"].startswith(first):
            self.environment["PATH"] = first + os.pathsep + self.environment["PATH"]

    def command(self, *arguments, **environment):
        """Start a command in a process group of its own; what it says goes to the file `out`."""
        with (self.root / "out").open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "forge", *arguments],
                cwd=self.root,
                env=self._environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def end(self):
        """Kill what a test that failed has left running."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def said(self):
        return (self.root / "out").read_text()

    def local(self):
        """Build the same manifest on this machine, in a store of its own, without a trace in the notes."""
        notes = self.root / "place/notes"
        before = notes.read_text() if notes.exists() else ""
        result = self.build("--executor", "local", "--store", str(self.root / "local"), COMMITS=str(self.root / "lc"))
        notes.write_text(before)
        return result

    def damage(self):
        """Return every fault of the store, as `forge store verify` finds it."""
        opened = Store.open(self.store)
        return [(fault.fault, str(fault.path)) for fault in describe_damage(opened, Actions(opened))]

    def record(self, key):
        """Return an action's run record."""
        return json.loads((self.store / "actions" / key[:2] / f"{key[2:]}.json").read_text())["record"]

    def check_submitted_once(self, slurm):
        """Assert that no action has two jobs, by the names of all that the controller remembers."""
        jobs = {(job.partition("_")[0], name) for job, (name, _) in slurm.jobs(self).items()}
        names = sorted(name for _, name in jobs)
        assert names, "the controller knows of no job of ours"
        assert sorted(set(names)) == names

    def check_whole(self, result, *, but=()):
        """Assert what holds after any fault: all is there, committed once, as the local executor makes it."""
        assert 0 == result.exit_code, result.stderr
        again = self.build()
        assert {"hit"} == set(again.statuses.values())
        keys = {step.key for name, step in again.steps.items() if name not in but}
        assert dict.fromkeys(keys, 1) == {key: self.commits()[key] for key in keys}, "not committed exactly once"
        assert {n: s.tree for n, s in self.local().steps.items()} == {n: s.tree for n, s in again.steps.items()}
        assert [] == self.damage()


def step(name, source="raw", use="write", **options):
    """Return a manifest's text for one step; `write` is told its own name."""
    if use == "write":
        options = {"name": name} | options
    values = {"place": "${place}"} | options
    sources = "[" + ", ".join(f'"{each}"' for each in source.split()) + "]"
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    return f'[transforms.{name}]\nuse = "work.{use}"\nfrom = {sources}\n' + "\n".join(lines) + "\n"


def labels(source, **options):
    """Return a manifest's text for a source of words and a labeler `labels` of them."""
    lines = [f"{key} = {_toml(value)}" for key, value in ({"place": "${place}"} | options).items()]
    return (
        f'[sources.words]\nuse = "work.words"\npath = "{source}"\n'
        '[labelers.labels]\nuse = "work.echo"\nfrom = "words"\n' + "\n".join(lines) + "\n"
    )


def make_project(root, environment, raw=None):
    """Return an empty project with the plugin, a raw file, and places for what is counted.

    Its actions are nobody else's, unless *raw* says what the raw file holds.
    """
    root.mkdir(exist_ok=True)
    project = SlurmProject(root, {**environment, "COMMITS": str(root / "commits")})
    project.plugin("work", PLUGIN)
    project.write("plugins/sitecustomize.py", SITE)
    project.write("raw.txt", raw or f"raw {root}\n")
    (root / "place").mkdir()
    return project


def kill(process, signum=signal.SIGKILL):
    """Signal a build's first process and wait for it; its workers are let be."""
    process.send_signal(signum)
    return process.wait(60)


def _toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _which(name, path):
    return shutil.which(name, path=path)
