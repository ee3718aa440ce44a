"""The check that the guide shows is the one that runs."""

import re
from pathlib import Path

import attrs
import pytest

import forge

ROOT = Path(__file__).parents[2]


def blocks(guide, language):
    text = (ROOT / f"docs/guides/{guide}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_check_of_the_guide_says_what_the_guide_says(forge_project):
    [manifest], [rows] = blocks("checking", "toml"), blocks("checking", "json")
    forge_project.manifest(manifest)
    forge_project.write("rows.jsonl", rows)
    text = (ROOT / "docs/guides/checking.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^```\n(\$ forge check forge\.toml\n.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    said = forge_project.forge("check", "forge.toml")
    assert 1 == said.exit_code
    assert shown.partition("\n")[2] == re.sub(r", .* are free", ", … are free", said.stdout)


def test_the_step_type_of_the_plugin_guide_looks_ahead(tmp_path):
    import polars as pl

    [code] = [block for block in blocks("plugins", "python") if "def preflight" in block]
    names = {"attrs": attrs, "forge": forge}
    exec(code, names)
    forge.write_rows(pl.DataFrame({"value": [1, 2]}), tmp_path / "good")
    forge.write_rows(pl.DataFrame({"values": [1, 2]}), tmp_path / "bad")
    run = forge.LocalRun(tmp_path / "scratch")
    step = names["Tiny"](width=200)
    inputs = {"data": forge.Artifact("data", tmp_path / "good")}
    assert ["good", "doubtful"] == [notice.state for notice in step.preflight(inputs, tmp_path, run)]
    with pytest.raises(forge.StepError, match="no column `value`"):
        list(step.preflight({"data": forge.Artifact("data", tmp_path / "bad")}, tmp_path, run))
