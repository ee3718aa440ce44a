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
