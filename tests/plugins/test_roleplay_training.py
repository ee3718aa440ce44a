"""The character's samples train a model, their weights with them."""

import json
from pathlib import Path

import pytest

import forge
from forge.testing import ForgeProject
from forge_llm.train import LoraTrainer, Tokens

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_weights_of_the_kinds_reach_the_loss(tmp_path, tiny_model):
    project = ForgeProject(ROOT, {"FORGE_STORE": str(tmp_path / "store")})
    metrics, statistics = {}, {}
    for weighting in ("weight", "repeat"):
        sets = ("--set", f"weighted.weighting={weighting}")
        result = project.build("weighted", *sets, manifest="manifests/roleplay.toml")
        assert 0 == result.exit_code, result.stderr
        folder = tmp_path / weighting
        assert 0 == project.forge("get", "manifests/roleplay.toml", "weighted", str(folder / "rows"), *sets).exit_code
        run = forge.LocalRun(scratch=folder, threads=1)
        base = forge.Artifact("base", tiny_model)
        (folder / "tokens").mkdir()
        (folder / "lora").mkdir()
        table = forge.Artifact("train", folder / "rows")
        Tokens(max_length=2048).make({"model": base, "train": table}, folder / "tokens", run)
        statistics[weighting] = json.loads((folder / "tokens" / "stats.json").read_text())["train"]
        data = forge.Artifact("data", folder / "tokens" / "train")
        step = LoraTrainer(r=4, load_in_4bit=False, precision="fp32", batch=2, accumulation=2, max_steps=3)
        step.train({"data": data, "base": base}, folder / "lora", run)
        metrics[weighting] = json.loads((folder / "lora" / "metrics.json").read_text())
    assert {"5": 12} == {weight: rows for weight, rows in statistics["weight"]["weights"].items() if weight != "1"}
    assert "weights" not in statistics["repeat"]
    assert statistics["weight"]["rows"] + 4 * 12 == statistics["repeat"]["rows"]
    assert metrics["weight"]["weighted_tokens"] > metrics["weight"]["trained_tokens"]
    assert "weighted_tokens" not in metrics["repeat"]
    assert 3 == metrics["weight"]["steps"] == metrics["repeat"]["steps"]
