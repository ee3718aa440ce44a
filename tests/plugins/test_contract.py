"""What every plugin promises, kept by our own, and noticed where it is broken."""

import os
from pathlib import Path

import attrs
import pytest

from forge.plugin.discovery import Registry, installed
from forge.testing import check_plugin

OURS = (
    "counselling",
    "files",
    "run",
    "text",
    "label",
    "model",
    "train",
    "export",
    "check",
    "series",
    "llamafactory",
    "roleplay",
    "tensorboard",
    "sweep",
)
SCHEMA = {"schema": str(Path(__file__).parents[2] / "manifests" / "schemas" / "student.json")}
REMOTE = {"base_url": "http://localhost:1/v1", "model": "some-model", "prompt_text": "{{ text }}", **SCHEMA}
EXAMPLES = {
    "llamafactory": {
        "dataset": {
            "info": str(Path(__file__).parents[2] / "examples" / "llamafactory" / "dataset_info.json"),
            "dataset": ["cooking"],
        },
        "export": {"form": "alpaca", "template": "qwen", "name": "student", "model": "some-model"},
        "model": {"template": "qwen"},
    },
    "export": {"huggingface": {"name": "student"}},
    "sweep": {"best": {"metric": "loss"}},
    "text": {"boilerplate": {"column": "text", "phrases": ["click here"]}},
    "train": {"mix": {"shares": {"a": 0.7, "b": 0.3}}},
    "model": {"hub": {"id": "someone/tiny"}},
    "check": {
        "table": {"rows": {"least": 1}, "columns": {"id": {"unique": True, "values": {"most": 9}}}},
        "labels": {"labels": ["risk_flag"]},
    },
    "roleplay": {
        "lines": {},
        "instructions": {
            "character": "Adu",
            "source": "line",
            "id": ["id"],
            "kinds": {"dialogue": {"empty": True, "instruction": "Speak as {character}."}},
        },
        "windows": {"character": "Adu", "source": "scene", "passage": ["file"]},
        "dialogues": {"character": "Adu"},
        "weights": {"weights": {"settings": 5}},
    },
    "label": {
        "openai": REMOTE,
        "batch": REMOTE,
        "gguf": {"model": __file__, "prompt_text": "{{ text }}", **SCHEMA},
        "replay": {"files": __file__, **SCHEMA},
        "human": {"sheets": __file__, **SCHEMA},
        "sheet": SCHEMA,
        "pick": {"count": 5},
    },
}


@pytest.mark.parametrize("namespace", OURS)
def test_a_first_party_plugin_keeps_the_contract(namespace):
    check_plugin(namespace, EXAMPLES.get(namespace))


def test_every_first_party_plugin_is_checked():
    ours = {
        name.partition(".")[0] for name, module in installed().items() if module.partition(".")[0].startswith("forge_")
    }
    assert set(OURS) == ours


def test_every_source_of_rows_lets_a_manifest_set_the_bound_on_its_rejects():
    registry = Registry()
    types = [one for namespace in OURS for one in registry.plugin(namespace).types.values()]
    sources = [one for one in types if (one.kind, one.verb) == ("source", "read")]
    assert {"files.csv", "series.csv", "series.records"} <= {one.use for one in sources}
    assert [] == [one.use for one in sources if "most_rejects" not in attrs.fields_dict(one.cls)]


@pytest.fixture
def complaints_of(forge_project, monkeypatch):
    """Check a plugin of the test's own, in this process and in those that it starts."""

    def complaints(name, source):
        folder = forge_project.plugin(name, source).parent
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        with pytest.raises(AssertionError) as caught:
            check_plugin(name)
        return str(caught.value)

    return complaints


SINNER = '''
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy

import forge
from forge.core.digest import canonical

if TYPE_CHECKING:
    from pathlib import Path


@attrs.define
class Thawed:
    """Change under your hands."""

    count: int = 1

    def make(self, inputs, out, run): ...


@attrs.frozen
class Mute:
    anything: Any = None

    def make(self, inputs, out, run): ...


@attrs.frozen
class Hidden:
    """Name a type that only a type checker knows."""

    path: Path

    def make(self, inputs, out, run): ...


@forge.hookimpl
def forge_register(register):
    register.transform("thawed", Thawed, version="1")
    register.transform("mute", Mute, version="1")
    register.transform("hidden", Hidden, version=" ")
'''


def test_a_plugin_that_breaks_many_promises_hears_of_all_in_one_go(complaints_of):
    said = complaints_of("sinner", SINNER)
    expected = (
        "loading it imports `numpy`",
        "imports `forge.core.digest.canonical`, which is not one of forge's public names",
        "`sinner.thawed`: its class is not frozen",
        "`sinner.mute`: its class has no docstring",
        "`sinner.mute`: a manifest can't express the type of its parameter `anything`",
        "`sinner.hidden`: its version is empty",
        "`sinner.hidden`: the types of the parameters of `Hidden` can't be read: name 'Path' is not defined",
    )
    assert [] == [phrase for phrase in expected if phrase not in said]


def test_a_plugin_that_does_not_load_says_why(complaints_of):
    said = complaints_of("unborn", "raise RuntimeError('no such luck')")
    assert "can't be loaded: RuntimeError('no such luck')" in said


def test_a_plugin_without_step_types_breaks_the_contract(complaints_of):
    assert "it registers no step type" in complaints_of("idle", "import forge\n")


PICKY = '''
import attrs
import forge


@attrs.frozen
class Odd:
    """Want one word."""

    word: str = attrs.field(validator=attrs.validators.in_(("sesame",)))

    def make(self, inputs, out, run): ...


@forge.hookimpl
def forge_register(register):
    register.transform("odd", Odd, version="1")
'''


def test_a_step_type_whose_parameters_can_t_be_guessed_asks_for_an_example(complaints_of):
    assert 'examples={"odd": {…}}' in complaints_of("picky", PICKY)
