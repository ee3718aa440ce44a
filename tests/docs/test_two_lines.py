"""The labels of `manifests/student.toml` come from any provider by two lines, as the guide lists them."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from forge.plan.load import load
from forge.plan.resolve import resolve

ROOT = Path(__file__).parents[2]
PROVIDER = ROOT / "tests/plugins/provider.py"
LABELS = ["depression_level", "anxiety_level", "risk_flag", "student_distress_score"]


def rows_of_guide():
    text = (ROOT / "docs/guides/labels.md").read_text(encoding="utf-8")
    return re.findall(r"^\| ([^|]+) \| `(use = [^|]+)` \| `([^|]+)` \| `?([A-Z_]*)", text, flags=re.MULTILINE)


def with_lines(text, use, second):
    """Return a manifest with *use* in place of the lexicon's, and *second* below it."""
    assert 1 == text.count('\nuse = "label.lexicon"\n')
    return text.replace('\nuse = "label.lexicon"\n', f"\n{use}\n{second}\n")


@pytest.fixture
def project(tmp_path):
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    shutil.copytree(ROOT / "examples/counselling", tmp_path / "examples/counselling")
    return tmp_path


def change(project, use, second):
    path = project / "manifests/student.toml"
    path.write_text(with_lines((ROOT / "manifests/student.toml").read_text("utf-8"), use, second), encoding="utf-8")


def build(project, *arguments):
    command = [sys.executable, "-m", "forge", "build", "manifests/student.toml", "labels", "--json", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    steps = {step["name"]: step for step in json.loads(done.stdout)["steps"]}
    got = subprocess.run(
        [sys.executable, "-m", "forge", "get", "manifests/student.toml", "labels", "labels.jsonl"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 0 == got.returncode, got.stderr
    table = pl.read_ndjson(project / "labels.jsonl", infer_schema_length=None)
    (project / "labels.jsonl").unlink()
    assert steps["labels"]["rows_out"] == table.height
    assert {"labelled"} == set(table["label_state"])
    return table


def test_the_guide_lists_the_lines_that_the_manifest_shows():
    listed = {(use, second) for _, use, second, _ in rows_of_guide()}
    shown = re.findall(
        r"^#   (use = .+)\n#   (.+)$", (ROOT / "manifests/student.toml").read_text("utf-8"), re.MULTILINE
    )
    assert [('use = "label.openai"', 'preset = "gemini"')] == [pair for pair in shown if "label." in pair[0]]
    assert set(shown[:1]) <= listed
    kinds = {"label.openai", "label.batch", "label.gguf", "label.replay", "label.human"}
    assert kinds == {use.split('"')[1] for use, _ in listed}


@pytest.mark.parametrize(("name", "use", "second", "key"), rows_of_guide(), ids=[row[0] for row in rows_of_guide()])
def test_two_lines_make_a_manifest_that_resolves(project, name, use, second, key):
    del name
    files = {"manifests/provider.toml": 'base_url = "http://127.0.0.1:8000/v1"\nmodel = "m"\n', "models/qwen.gguf": "x"}
    files |= {"results/input_part_0.jsonl": "{}\n", "annotations/a.csv": "x\n"}
    for file, text in files.items():
        (project / file).parent.mkdir(exist_ok=True)
        (project / file).write_text(text, encoding="utf-8")
    change(project, use, second)
    graph = resolve(load(project / "manifests/student.toml"), targets=["labels"])
    labels = graph.steps["labels"]
    assert use == f'use = "{labels.use}"'
    secrets = getattr(labels.instance, "secrets", tuple)()
    assert ((key,) if key else ()) == tuple(secrets)
    assert set(LABELS) == set(labels.instance.columns())


@pytest.fixture
def port():
    with subprocess.Popen([sys.executable, str(PROVIDER)], stdout=subprocess.PIPE, text=True) as process:
        yield int(process.stdout.readline())
        process.kill()


def test_two_lines_label_by_the_lexicon_a_server_its_batches_earlier_replies_and_people(project, port):
    os.environ.pop("FORGE_STORE", None)
    weak = build(project)
    assert {"lexicon (weak)"} == set(weak["label_source"])
    server = project / "manifests/provider.toml"
    server.write_text(f'base_url = "http://127.0.0.1:{port}/v1"\nmodel = "fake"\n', encoding="utf-8")
    change(project, 'use = "label.openai"', 'preset_file = "manifests/provider.toml"')
    asked = build(project)
    assert {"fake"} == set(asked["label_source"])
    # a batch asks for the same, so it finds it in the journal
    change(project, 'use = "label.batch"', 'preset_file = "manifests/provider.toml"')
    assert asked.equals(build(project))
    with (project / "replies.jsonl").open("w", encoding="utf-8") as file:
        for row in asked.select("id", *LABELS).iter_rows(named=True):
            file.write(json.dumps(row) + "\n")
    change(project, 'use = "label.replay"', 'files = "replies.jsonl"')
    assert asked.select(LABELS).equals(build(project).select(LABELS))
    fill_in(project, asked)
    change(project, 'use = "label.human"', 'sheets = "annotations/*.csv"')
    assert asked.select(LABELS).equals(build(project).select(LABELS))


def fill_in(project, labels):
    """Write a sheet of the rows, and fill it in with *labels*."""
    from forge import Artifact, File, LocalRun, write_rows
    from forge_label.human import Sheet

    write_rows(labels.drop(*LABELS), project / "rows")
    schema = File("student.json", project / "manifests/schemas/student.json")
    (project / "annotations").mkdir()
    Sheet(schema=schema).export(
        {"data": Artifact("data", project / "rows")}, project / "annotations", LocalRun(project / "scratch")
    )
    path = project / "annotations/sheet.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, *lines = csv.reader(file)
    said = {str(row["id"]): row for row in labels.iter_rows(named=True)}
    places = {name: next(i for i, cell in enumerate(head) if cell.startswith(name)) for name in LABELS}
    for line in lines:
        for name, place in places.items():
            line[place] = str(said[line[head.index("id")].removeprefix("'")][name])
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *lines])
