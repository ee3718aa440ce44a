"""What runs is what the key says, whenever a plugin or a file is changed."""

import os

import pytest

from forge.testing import ForgeProject

LONG_AGO = 1_577_836_800

PLUGIN = """
import attrs

import forge

K = 1


@attrs.frozen
class Say:
    \"\"\"Write a number.\"\"\"

    def make(self, inputs, out, run):
        (out / "said").write_text(str(K))


@forge.hookimpl
def forge_register(register):
    register.transform("say", Say, version="1")
"""

MANIFEST = """
    [sources.raw]
    use = "files.any"
    path = "raw.txt"

    [transforms.said]
    use = "loud.say"
    from = "raw"
    """


@pytest.fixture
def project(tmp_path):
    made = ForgeProject(tmp_path, {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": None})
    made.write("raw.txt", "raw")
    made.manifest(MANIFEST)
    return made


def said(project):
    """Build, and return what the step has written."""
    built = project.build("--jobs", "1")
    assert 0 == built.exit_code, built.stderr
    tree = built.steps["said"].tree
    return (project.store / "artifacts" / tree[:2] / tree[2:] / "said").read_text()


def test_a_plugin_of_the_same_size_and_time_runs_as_it_is_now(project):
    source = project.plugin("loud", PLUGIN)
    found = []
    for value in "12":
        source.write_text(PLUGIN.replace("K = 1", f"K = {value}"))
        os.utime(source, (LONG_AGO, LONG_AGO))
        found.append(said(project))
    assert ["1", "2"] == found


# ---------------------------------------------------------------- changes while a step runs

BUSY = """
import os
from pathlib import Path

import attrs

import forge


@attrs.frozen
class Say:
    \"\"\"Write what lies beside the plugin, and do what a person does meanwhile.\"\"\"

    def make(self, inputs, out, run):
        beside = Path(__file__).with_name("beside.txt")
        exec(os.environ.get("MEANWHILE", ""))
        (out / "said").write_text(beside.read_text())


@attrs.frozen
class Read:
    \"\"\"Read a file, and do what a person does meanwhile.\"\"\"

    path: forge.File

    def read(self, run):
        file = self.path.path
        exec(os.environ.get("MEANWHILE", ""))
        yield [{"text": self.path.read_text()}]
        exec(os.environ.get("AFTERWARDS", ""))


@attrs.frozen
class Many:
    \"\"\"Say of each file what lies beside the plugin, and do what a person does meanwhile.\"\"\"

    path: forge.Files

    def read(self, run):
        beside = Path(__file__).with_name("beside.txt")
        exec(os.environ.get("MEANWHILE", ""))
        for file in self.path:
            yield [{"text": beside.read_text()}]


@forge.hookimpl
def forge_register(register):
    register.transform("say", Say, version="1")
    register.source("many", Many, version="1", each_file=True)
    register.source("read", Read, version="1")
"""
READS = """
    [sources.words]
    use = "loud.read"
    path = "raw.txt"
    """


@pytest.fixture
def busy(project):
    project.plugin("loud", BUSY, {"beside.txt": "old"})
    return project


@pytest.mark.parametrize(
    "meanwhile", ["beside.write_text('new')", "Path(__file__).write_text(Path(__file__).read_text() + 'K = 1')"]
)
def test_what_was_made_while_the_plugin_changed_is_not_kept(busy, meanwhile):
    refused = busy.build("--jobs", "1", MEANWHILE=meanwhile)
    assert (1, "failed") == (refused.exit_code, refused.statuses["said"])
    assert "the code of `loud.say` changed after the build was planned" == refused.steps["said"].error["message"]
    assert ("new" if "new" in meanwhile else "old") == said(busy)


def test_a_comment_that_is_written_while_a_step_runs_is_no_change(busy):
    built = busy.build("--jobs", "1", MEANWHILE="Path(__file__).write_text(Path(__file__).read_text() + '# why')")
    assert 0 == built.exit_code, built.stderr


def test_a_file_that_held_something_else_while_it_was_read_is_refused(busy):
    busy.manifest(READS)
    refused = busy.build(MEANWHILE="file.write_text('other')", AFTERWARDS="file.write_text('raw')")
    assert 1 == refused.exit_code
    message = "`raw.txt` of `path` was written to while step `words` read it, and holds again what it did"
    assert message in refused.steps["words"].error["message"]
    assert "ran" == busy.build().statuses["words"]


def test_a_second_name_that_a_file_gets_while_it_is_read_is_no_change(busy):
    busy.manifest(READS)
    built = busy.build(MEANWHILE="os.link(file, str(file) + '.second')")
    assert 0 == built.exit_code, built.stderr


def test_pieces_that_were_made_while_the_plugin_changed_are_not_kept(busy):
    for number in range(9):
        busy.write(f"in/{number}.txt", str(number))
    busy.manifest(READS.replace("loud.read", "loud.many").replace("raw.txt", "in/*.txt"))
    assert 1 == busy.build(MEANWHILE="beside.write_text('new')").exit_code
    busy.write("plugins/beside.txt", "old")
    assert "ran" == busy.build().statuses["words"]
    assert 0 == busy.forge("get", "forge.toml", "words", "words.jsonl").exit_code
    assert {'{"text":"old"}'} == set((busy.root / "words.jsonl").read_text().replace(" ", "").split())
