"""The guide to models, and the part of the guide to training that makes token ids, say what the step types take."""

import re
import tomllib
from pathlib import Path

import attrs
import pytest

from forge.plugin.discovery import Registry
from forge.plugin.parameters import structure
from forge_llm.model import preset

ROOT = Path(__file__).parents[2]


def blocks(guide):
    text = (ROOT / f"docs/guides/{guide}.md").read_text(encoding="utf-8")
    return [tomllib.loads(b) for b in re.findall(r"^```toml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)]


def steps(guide):
    return [s for block in blocks(guide) for steps in block.values() if isinstance(steps, dict) for s in steps.values()]


@pytest.mark.parametrize(("guide", "uses"), [("models", 4), ("training", 3)])
def test_the_steps_of_a_guide_are_what_their_classes_take(tmp_path, guide, uses):
    (tmp_path / "models/qwen").mkdir(parents=True)
    (tmp_path / "models/qwen/config.json").write_text("{}")
    found = steps(guide)
    assert len(found) >= uses
    for step in found:
        values = {key: value for key, value in step.items() if key not in {"use", "from"}}
        _, complaints = structure(Registry().find(step["use"]).cls, values, tmp_path)
        assert [] == complaints


def test_the_table_of_the_models_guide_has_every_preset():
    text = (ROOT / "docs/guides/models.md").read_text(encoding="utf-8")
    assert list(preset.names()) == sorted(re.findall(r"^\| `([\w.-]+)` \|", text, flags=re.MULTILINE))


def test_the_preset_of_the_models_guide_has_what_a_preset_has():
    [mine] = [block for block in blocks("models") if "title" in block]
    known = {field.name: field.default is attrs.NOTHING for field in attrs.fields(preset.Preset)}
    assert set(mine) <= set(known)
    assert {"name"} == {name for name, needed in known.items() if needed} - set(mine)


def test_the_guide_to_training_names_every_policy():
    text = (ROOT / "docs/guides/training.md").read_text(encoding="utf-8")
    for value in ("drop", "error", "split", "truncate", "responses", "last", "all", "subsample", "repeat"):
        assert f'"{value}"' in text
