"""A plugin whose steps do little and can be watched from outside, and a manifest that chains them."""

import time
from pathlib import Path

import pytest

from forge.testing import ForgeProject

TOY = '''
from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import attrs

import forge

LISTS = "list.txt"


def _ran(name):
    """Leave a line outside the store, to be counted by the test."""
    with open(os.environ["TOY_RUNS"], "a") as file:
        file.write(name + "\\n")


@attrs.frozen
class Words:
    """Read words, one a line; `-` is no word."""

    path: forge.Files

    def read(self, run):
        for file in self.path:
            for number, line in enumerate(file.read_text().splitlines(), start=1):
                if line == "-":
                    yield forge.Reject(file.name, "not a word", number, line)
                else:
                    yield [{"word": line, "length": len(line)}]


@attrs.frozen
class Band:
    """Keep words of *least* to *most* letters."""

    least: int = attrs.field(default=1, validator=attrs.validators.ge(0))
    most: int = 100
    filtered: bool = False

    def transform(self, rows):
        import polars as pl

        if self.filtered:
            return rows.filter(pl.col("length").is_between(self.least, self.most))
        return forge.drop(rows, {"too short": pl.col("length") < self.least, "too long": pl.col("length") > self.most})


@attrs.frozen
class Halves:
    """Split words by their first letter."""

    def parts(self):
        return ("early", "late")

    def split(self, rows):
        import polars as pl

        first = pl.col("word").str.slice(0, 1)
        return {"early": rows.filter(first < "m"), "late": rows.filter((first >= "m") & (first < "z"))}


@attrs.frozen
class Write:
    """Write *text* and what came in to one file."""

    text: str = ""
    pause: float = forge.setting(0.0)

    def make(self, inputs, out, run):
        _ran(self.text)
        time.sleep(self.pause)
        before = [artifact.file.read_text() for artifact in inputs.values()]
        (out / "text").write_text("".join(before) + self.text)


@attrs.frozen
class Upper:
    """Write what came in, in capitals."""

    def make(self, inputs, out, run):
        _ran("upper")
        (out / "text").write_text("".join(a.file.read_text() for a in inputs.values()).upper())


@attrs.frozen
class Fail:
    """Fail, expectedly or not."""

    how: str = "expectedly"

    def make(self, inputs, out, run):
        if self.how == "expectedly":
            raise forge.StepError("the well is dry", hint="dig deeper")
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "silently":
            return
        self.stumble([])

    def stumble(self, steps):
        return steps[3]


@attrs.frozen
class Long:
    """Count to three in scratch, resting before the last unless TOY_HURRY is set."""

    name: str = ""

    def train(self, inputs, out, run):
        _ran("long")
        note = run.scratch / "count"
        count = int(note.read_text()) if note.exists() else 0
        run.log(f"begin at {count}")
        while count < 3:
            count += 1
            run.progress(count, 3)
            if count == 3 and "TOY_HURRY" not in os.environ:
                child = subprocess.Popen(["sleep", "120"])
                Path(os.environ["TOY_RUNS"] + ".pid").write_text(f"{os.getpid()} {child.pid}")
                child.wait()
            note.write_text(str(count))
            _ran(f"long {count}")
        (out / "count").write_text(str(count))


@attrs.frozen
class Secret:
    """Use a secret from the environment, as a labeler does."""

    def make(self, inputs, out, run):
        secret = os.environ["TOY_SECRET"]
        run.log("asking")
        (out / "length").write_text(str(len(secret)))


@attrs.frozen
class Bound:
    """Check that there are *least* letters."""

    least: int = 0

    def check(self, inputs, out, run):
        letters = len(next(iter(inputs.values())).file.read_text())
        yield forge.Finding("letters", letters, self.least, letters >= self.least)
        yield forge.Finding("vowels", 0.25)


@forge.hookimpl
def forge_register(register):
    register.source("words", Words, version="1")
    register.transform("band", Band, version="1")
    register.transform("halves", Halves, version="1")
    register.transform("write", Write, version="1")
    register.transform("upper", Upper, version="1")
    register.transform("fail", Fail, version="1")
    register.transform("secret", Secret, version="1")
    register.transform("wide", Write, version="1", network=True)
    register.transform("missing", Write, version="1", requires=("no_such_module",), extra="gguf")
    register.trainer("long", Long, version="1")
    register.check("bound", Bound, version="1")
'''

CHAIN = """
    [params]
    first = "a"

    [sources.raw]
    use = "files.any"
    path = "raw.txt"

    [transforms.one]
    use = "toy.write"
    from = "raw"
    text = "${first}"

    [transforms.two]
    use = "toy.upper"
    from = "one"

    [transforms.other]
    use = "toy.write"
    from = "raw"
    text = "z"

    [transforms.both]
    use = "toy.write"
    from = { x = "two", y = "other" }
    text = "!"
    """


class ToyProject(ForgeProject):
    """Be a project with the toy plugin, whose runs can be counted."""

    def build(self, *arguments, **environment):
        """Build with one worker, for each costs its start."""
        return super().build("--jobs", "1", *arguments, **environment)

    def reset(self):
        """Write the plugin, the data and the manifest as they were at first."""
        self.plugin("toy", TOY)
        self.write("raw.txt", "raw")
        self.manifest(CHAIN)
        self.runs()

    def runs(self):
        """Return what ran, in order, since this was asked last."""
        path = self.root / "runs"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def wait_for_worker(self):
        """Return the process that runs `toy.long`, and one that it started, once it rests."""
        path = self.root / "runs.pid"
        deadline = time.monotonic() + 30
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < deadline, "the step never began"
            time.sleep(0.02)
        worker, child = map(int, path.read_text().split())
        path.unlink()
        return worker, child


def toy_project(root: Path) -> ToyProject:
    project = ToyProject(root, {"TOY_RUNS": str(root / "runs")})
    project.reset()
    return project


def is_alive(pid):
    try:
        # a process that nobody has waited for yet is a zombie, not alive
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def toy(tmp_path):
    return toy_project(tmp_path)


@pytest.fixture(scope="module")
def shared_toy(tmp_path_factory):
    """Give one project, and so one store, to all tests of a module."""
    return toy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def die():
    """Say whether processes end within some seconds."""

    def wait(*pids, seconds=10):
        deadline = time.monotonic() + seconds
        while any(map(is_alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return not any(map(is_alive, pids))

    return wait
