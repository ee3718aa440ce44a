"""A registry of step types that live here, so that plans need no process."""

from pathlib import Path

import attrs
import pytest
from attrs.validators import ge

import forge
from forge.plan.load import load
from forge.plan.resolve import resolve
from forge.plugin.discovery import Registry


@attrs.frozen
class Read:
    path: forge.Files

    def read(self, run): ...


@attrs.frozen
class Keep:
    least: int = attrs.field(default=1, validator=ge(0))
    share: float = 1.0
    word: str = ""
    words: tuple[str, ...] = ()
    table: dict[str, str] = attrs.Factory(dict)
    flag: bool = False
    workers: int = forge.setting(4)

    def transform(self, rows): ...


@attrs.frozen
class Halves:
    names: tuple[str, ...] = ("early", "late")

    def parts(self):
        return self.names

    def split(self, rows): ...


@attrs.frozen
class Fit:
    seed: int = 0

    def train(self, inputs, out, run): ...


@attrs.frozen
class Measured:
    seed: int = 0

    def figures(self, inputs):
        return ("loss", "eval_loss") if "eval" in inputs else ("loss",)

    def train(self, inputs, out, run): ...


@attrs.frozen
class Join:
    def make(self, inputs, out, run): ...


@attrs.frozen
class Named:
    """Names a file by itself, or fails where it is asked."""

    path: str = ""
    fails: str = ""
    checked: int = attrs.field(default=0, validator=lambda _, __, value: {0: "fine"}[value])

    def files(self):
        if self.fails == "files":
            raise IndexError("list index out of range")
        return [forge.File("file", Path(self.path))] if self.path else []

    def facts(self):
        return {"mode": {}["mode"] if self.fails == "facts" else {1} if self.fails == "json" else "low"}

    def read(self, run): ...


@attrs.frozen
class Put:
    to: str

    def destination(self):
        return self.to

    def export(self, inputs, out, run): ...


@pytest.fixture
def registry():
    register = forge.Register("toy")
    register.source("read", Read, version="1")
    register.source("named", Named, version="1")
    register.exporter("put", Put, version="1")
    register.transform("keep", Keep, version="1")
    register.transform("halves", Halves, version="1")
    register.transform("join", Join, version="1")
    register.transform("needy", Join, version="1", requires=("no_such_module", "json"), extra="train")
    register.trainer("fit", Fit, version="1", inputs=("data", "eval?"), facts=("attrs", "no-such-distribution"))
    register.trainer("measured", Measured, version="1", inputs=("data", "eval?"))
    return Registry({"toy": "toy_plugin", "sweep": "forge_files.best"}, loaded={"toy": register}, done={"toy"})


@pytest.fixture
def write(tmp_path):
    def written(text, name="forge.toml", encoding="utf-8"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode(encoding))
        return path

    return written


@pytest.fixture
def plan(write, registry, tmp_path):
    """Write a manifest and return its graph."""
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "a.txt").write_text("a")

    def planned(text, *sets, targets=(), name="forge.toml"):
        return resolve(load(write(text, name), sets), registry, targets)

    return planned
