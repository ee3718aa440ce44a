"""What the guides show runs."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import forge
from forge.plan.load import load
from forge.plan.resolve import resolve
from forge.plugin.discovery import Registry
from forge.plugin.parameters import structure
from forge.testing import ForgeProject
from forge_label.schema import Schema

ROOT = Path(__file__).parents[2]


def blocks(guide, language):
    text = (ROOT / f"docs/guides/{guide}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_tests_of_the_plugin_guide_pass(tmp_path):
    guide = (ROOT / "docs/guides/plugins.md").read_text(encoding="utf-8")
    [code] = [
        b for b in re.findall(r"^```python\n(.*?)^```", guide, flags=re.DOTALL | re.MULTILINE) if "check_plugin" in b
    ]
    (tmp_path / "test_guide.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_guide.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_steps_of_the_labels_guide_are_what_their_classes_take(tmp_path):
    files = ["manifests/schemas/student.json", "manifests/prompts/student.md", "annotations/a.csv"]
    files += ["manifests/prompts/evidence.md", "manifests/prompts/from_evidence.md"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    registry, seen, endpoint = Registry(), set(), {}
    for block in blocks("labels", "toml"):
        document = tomllib.loads(block.replace("${base_url}", "http://x/v1"))
        tables = [steps for kind, steps in document.items() if kind != "params" and isinstance(steps, dict)]
        for name, step in (item for steps in tables for item in steps.items()):
            values = {key: value for key, value in step.items() if key not in {"use", "from"}}
            if name == "labels" and step.get("use") != "label.lexicon":
                use, values = "label.openai", endpoint | values
                endpoint = endpoint or values
                if "prices" in values:
                    values["model"] = next(iter(values["prices"]))
            else:
                use = step["use"]
            _, complaints = structure(registry.find(use).cls, values, tmp_path)
            assert [] == complaints
            seen.add(use)
    assert {"label.lexicon", "label.openai", "check.labels", "label.pick", "label.sheet", "label.human"} == seen


def test_the_attrs_class_of_the_labels_guide_is_a_schema(tmp_path):
    [code] = blocks("labels", "python")
    (tmp_path / "student.py").write_text(code, encoding="utf-8")
    schema = Schema.read(forge.File("student.py", tmp_path / "student.py"))
    assert {
        "depression_level": {"type": "integer", "enum": [0, 1, 2, 3]},
        "risk_flag": {"type": "string", "enum": ["none", "suicidal", "self_harm", "violence"]},
    } == schema.sent["properties"]
    schema.check({"depression_level": 3, "risk_flag": "none"})
    with pytest.raises(forge.Refused):
        schema.check({"depression_level": 12, "risk_flag": "none"})


def test_the_labels_guide_names_every_source_of_labels():
    text = (ROOT / "docs/guides/labels.md").read_text(encoding="utf-8")
    kinds = [kind.use for kind in Registry().plugin("label").types.values()]
    assert [] == [use for use in kinds if f"`{use}`" not in text and f'"{use}"' not in text]


def test_the_commands_of_the_store_guide_run(forge_project, bucket):
    guide = (ROOT / "docs/guides/store.md").read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", guide, flags=re.DOTALL | re.MULTILINE))
    project = forge_project.root / "project"
    forge_project.manifest(
        '[sources.raw]\nuse = "files.any"\npath = "raw.txt"\n'
        '[transforms.two]\nuse = "run.command"\nfrom = "raw"\ncommand = "cat $1 > $OUT/up"\n',
        "project/forge.toml",
    )
    forge_project.write("project/raw.txt", "raw")
    done = subprocess.run(
        ["bash", "-ec", script.replace("my-bucket", bucket.name)],
        cwd=project,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, 1) == (done.returncode, done.stdout.count("\n2 hit in")), done.stdout + done.stderr
    assert "2 ran in" in done.stdout.rpartition("taken")[2]


def test_the_command_of_the_report_guide_writes_the_page_that_it_names(tmp_path):
    guide = (ROOT / "docs/guides/report.md").read_text(encoding="utf-8")
    [line] = re.findall(r"^\$ forge (.+)$", guide, flags=re.MULTILINE)
    arguments = [str(ROOT / word) if word.startswith("manifests/") else word for word in line.split()]
    done = subprocess.run(
        [sys.executable, "-m", "forge", *arguments, "--store", "store"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [page] = re.findall(r"^writes `(.+?)`", guide, flags=re.MULTILINE)
    assert "<title>quickstart · forge report</title>" in (tmp_path / page).read_text(encoding="utf-8")


def test_the_manifest_of_the_cleaning_guide_builds(forge_project):
    guide = (ROOT / "docs/guides/cleaning.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", guide, flags=re.DOTALL | re.MULTILINE)
    texts = [f"我第{place}次来，电话138 0000 {1000 + place}。{chr(0x4E00 + 9 * place) * 20}" for place in range(12)]
    rows = [
        {
            "id": place,
            "text": text,
            "conversation": [{"role": "user", "text": text}],
            "likes": place,
            "risk": "violence" if place == 5 else "none",
        }
        for place, text in enumerate([*texts, "同问", texts[3], "I am sad"])
    ]
    forge_project.plugin(
        "guide",
        "import attrs, forge\n\n"
        "@attrs.frozen\n"
        "class Rows:\n"
        '    """Yield the rows of the guide."""\n\n'
        "    def read(self, run):\n"
        f"        yield {rows!r}\n\n"
        "@forge.hookimpl\n"
        "def forge_register(register):\n"
        '    register.source("rows", Rows, version="1")\n',
    )
    forge_project.manifest('[sources.rows]\nuse = "guide.rows"\n\n' + "\n".join(blocks))
    refused = forge_project.build()
    assert "the environment variable `PSEUDONYM_KEY` is not set" in refused.stderr
    result = forge_project.build(PSEUDONYM_KEY="a key")
    assert 0 == result.exit_code, result.stderr
    assert {"ran"} == set(result.statuses.values())
    assert 12 == result.steps["band"].rows_out
    assert "a key" not in result.stdout + result.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Give a project with the examples and the manifest of the guide on lineage."""
    project = ForgeProject(tmp_path_factory.mktemp("guide"))
    shutil.copytree(ROOT / "examples", project.root / "examples")
    [manifest] = blocks("lineage", "toml")
    project.manifest(manifest, "small.toml")
    return project


@pytest.mark.slow
def test_the_commands_of_the_lineage_guide_work_in_their_order(project):
    commands = [line[2:] for block in blocks("lineage", "console") for line in block.splitlines()]
    assert len(commands) > 10
    for command in commands:
        forge, *arguments = command.split()
        result = project.forge(*arguments)
        assert ("forge", 0) == (forge, result.exit_code), (command, result.stderr)


def test_the_manifest_of_the_guide_on_others_archives_resolves(tmp_path):
    [manifest] = blocks("untrusted", "toml")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/corpus.tar.gz").write_bytes(b"")
    (tmp_path / "x.toml").write_text(manifest)
    assert ["raw", "corpus"] == list(resolve(load(tmp_path / "x.toml")).steps)


def test_the_check_of_the_proving_guide_is_what_its_class_takes():
    [block] = blocks("proving", "toml")
    step = tomllib.loads(block)["checks"]["receipt"]
    values = {key: value for key, value in step.items() if key not in {"use", "from"}}
    kind = Registry().find(step["use"])
    assert kind.inputs == tuple(step["from"])
    assert [] == structure(kind.cls, values, ROOT)[1]


def test_the_proving_guide_names_every_figure_and_every_option_of_the_talk():
    from click.testing import CliRunner

    from forge.cli.chat import command
    from forge_llm.check.figures import names
    from forge_llm.check.labels import Labels

    text = (ROOT / "docs/guides/proving.md").read_text(encoding="utf-8")
    figures = {name.removesuffix("_free") for name in names(Labels((), frozenset())) if name != "rows"}
    assert [] == sorted(name for name in figures if f"`{name}`" not in text)
    options = CliRunner().invoke(command, ["--help"]).stdout
    shown = set(re.findall(r"(--[a-z]+)", "\n".join(re.findall(r"`forge chat [^`]*`", text))))
    assert shown == {option for option in shown if option in options}
