"""What the training guide shows is what the code takes."""

import re
import sys
import tomllib
import types
from pathlib import Path

import attrs

import forge
from forge.plugin.discovery import Registry
from forge.plugin.parameters import structure

GUIDE = (Path(__file__).parents[2] / "docs/guides/training.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)


def test_the_trainers_of_the_guide_are_what_the_class_takes(tmp_path):
    found = Registry().find("train.lora")
    steps = [step for block in blocks("toml") for step in tomllib.loads(block).get("trainers", {}).values()]
    assert len(steps) == 2
    for step in steps:
        assert step["use"] == "train.lora"
        values = {name: value for name, value in step.items() if name not in {"use", "from"}}
        assert structure(found.cls, values, tmp_path)[1] == []
        assert set(step["from"]) <= {name.rstrip("?") for name in found.inputs}


def test_the_guide_names_every_parameter():
    missing = [f.name for f in attrs.fields(Registry().find("train.lora").cls) if f"`{f.name}" not in GUIDE]
    assert [name for name in missing if f"{name} = " not in GUIDE] == []


def test_the_hook_of_the_guide_takes_points(tmp_path, monkeypatch):
    (code,) = [block for block in blocks("python") if "forge_metrics" in block]
    logged = []
    wandb = types.ModuleType("wandb")
    wandb.run = None
    wandb.init = lambda **words: logged.append(words)
    wandb.log = lambda point, step: logged.append((point, step))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    names = {"forge": forge}
    exec(compile(code, "guide", "exec"), names)
    module = types.ModuleType("mine")
    module.forge_metrics = names["forge_metrics"]
    registry = Registry({})
    registry.manager.register(module)
    registry.manager.hook.forge_metrics(step="lora", folder=tmp_path, point={"step": 3, "loss": 1.5})
    assert logged == [{"project": "forge", "name": "lora", "dir": tmp_path}, ({"step": 3, "loss": 1.5}, 3)]
