"""The manifests of the guide on sweeps are what it says they are."""

import re
import shutil
from pathlib import Path

import pytest

from forge.plan.load import load
from forge.plan.resolve import resolve

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/sweeps.md").read_text(encoding="utf-8")
GRID, POINTS, CLEANING = re.findall(r"^```toml\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)
POINT = "[learning_rate=0.0001,r=8]"


@pytest.fixture
def plan(tmp_path):
    """Return the graph of a manifest beside the project's own."""
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    shutil.copytree(ROOT / "examples/counselling", tmp_path / "examples/counselling")
    path = tmp_path / "manifests/swept.toml"

    def of(text):
        path.write_text(text, encoding="utf-8")
        return resolve(load(path))

    return of


def inputs(graph, step):
    return {each.reference for each in graph.steps[step].inputs}


def test_a_grid_trains_four_adapters_and_the_best_goes_on(plan):
    graph = plan(GRID)
    assert 4 == len(graph.sweeps["lora"].points)
    assert {"tokens.train", "tokens.eval", "base"} == inputs(graph, f"lora{POINT}")
    assert {"lora", "base"} == inputs(graph, "merged")
    assert f"lora{POINT}" in GUIDE


def test_points_are_listed_instead(plan):
    graph = plan('[forge]\nextends = "student.toml"\n' + POINTS)
    assert [f"lora{POINT}", "lora[learning_rate=0.0002,epochs=5]"] == [p.step for p in graph.sweeps["lora"].points]


def test_ways_to_clean_are_compared_by_what_a_model_learns(plan):
    graph = plan(CLEANING)
    at = "[turns=6,least_reply=80]"
    assert {f"tokens{at}.train", f"tokens{at}.eval", "base"} == inputs(graph, f"lora{at}")
    assert {f"split{at}.train", f"split{at}.eval", "base"} == inputs(graph, f"tokens{at}")
    assert 4 == len(graph.steps["lora"].inputs)
    assert 1 == sum(name.partition("[")[0] == "unified" for name in graph.steps)


def test_the_commands_name_steps_that_are_there(plan):
    graph = plan(GRID)
    commands = re.findall(r"^forge eval manifests/swept.toml (\S+) --data (\S+)", GUIDE, flags=re.MULTILINE)
    assert 2 == len(commands)
    for step, data in commands:
        assert {step.strip("'"), data.partition(".")[0]} <= {*graph.steps, "lora[r=8,learning_rate=1e-4]"}
