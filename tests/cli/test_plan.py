"""`forge plan`: what would run and why, with rows, requests and tokens, before anything runs."""

import json

import pytest

MINE = '''
import attrs

import forge


@attrs.frozen
class Words:
    """Read words, one a line."""

    path: forge.Files

    def read(self, run):
        for file in self.path:
            yield [{"id": w, "word": w} for w in file.read_text().split()]


@attrs.frozen
class Band:
    """Keep words of *least* letters."""

    least: int = 1

    def transform(self, rows):
        import polars as pl

        return rows.filter(pl.col("word").str.len_chars() >= self.least)


@attrs.frozen
class Ask:
    """Ask about each word; `x` is skipped, a reply to `refuse` is refused once."""

    model: str = "m"
    attempts: int = 2
    completeness: float = 0.5

    def request(self, row):
        if row["word"] == "x":
            raise forge.Refused("x is nothing")
        return forge.Request({"model": self.model}, [{"role": "user", "content": row["word"]}])

    async def ask(self, request):
        import os

        if "TOY_DOWN" in os.environ:
            raise forge.ProviderRefused("down")
        return forge.Reply(str(len(request.messages)), self.model, prompt_tokens=10, completion_tokens=3)

    def parse(self, reply):
        return {"label": reply.text}


@forge.hookimpl
def forge_register(register):
    register.source("words", Words, version="1")
    register.transform("band", Band, version="1")
    register.labeler("ask", Ask, version="1")
'''
MANIFEST = """
    [sources.words]
    use = "mine.words"
    path = "words.txt"

    [transforms.band]
    use = "mine.band"
    from = "words"

    [labelers.labels]
    use = "mine.ask"
    from = "band"

    [transforms.late]
    use = "mine.band"
    from = "labels"
    """


@pytest.fixture
def project(forge_project):
    forge_project.plugin("mine", MINE)
    forge_project.write("words.txt", "aaaa bbbb aaaa x cccc")
    forge_project.manifest(MANIFEST)
    return forge_project


def plan(project, *arguments):
    result = project.forge("plan", "forge.toml", "--json", *arguments)
    assert 0 == result.exit_code, result.stderr
    return {entry["name"]: entry for entry in json.loads(result.stdout)["steps"]}


def test_requests_are_counted_once_the_rows_are_there(project):
    assert None is plan(project)["labels"]["labels"]
    assert "not known yet" in project.forge("plan", "forge.toml").stdout
    assert 0 == project.build("band").exit_code
    expected = {"rows": 5, "skipped": 1, "known": 0, "requests": 3, "prompt_tokens": 3, "completion_tokens": None}
    labels = plan(project)["labels"]
    assert expected | {"by": "characters", "tokens": 3, "money": None, "at_most": False} == labels["labels"]
    assert ("run", 5) == (labels["will"], labels["rows_in"])
    said = project.forge("plan", "forge.toml").stdout
    assert "`labels`: 3 requests for 5 rows; 1 rows are skipped; ≈ 3 prompt tokens, estimated from characters" in said


def test_what_the_journal_has_is_not_asked_for_and_its_replies_measure_tokens(project):
    assert 0 == project.build("--set", "labels.attempts=2", "band").exit_code
    assert 0 == project.build("--set", "labels.completeness=0.5").exit_code
    project.write("words.txt", "aaaa bbbb dddd eeee")
    assert 0 == project.build("band").exit_code
    labels = plan(project)["labels"]["labels"]
    expected = {"rows": 4, "skipped": 0, "known": 2, "requests": 2, "prompt_tokens": 20, "completion_tokens": 6}
    assert expected | {"by": "replies", "tokens": 26, "money": None, "at_most": False} == labels


def test_another_prompt_is_measured_by_the_replies_of_the_same_model(project):
    project.write("words.txt", "aaaa")
    assert 0 == project.build().exit_code
    project.write("words.txt", "bbbb")
    assert 0 == project.build("band").exit_code
    assert ("replies", 13) == tuple(plan(project)["labels"]["labels"][n] for n in ("by", "tokens"))
    other = plan(project, "--set", "labels.model=n")["labels"]["labels"]
    assert ("characters", 1) == (other["by"], other["tokens"])


def test_a_late_step_that_moved_itself_runs_for_certain(project):
    project.write("words.txt", "aaaa bbbb")
    assert 0 == project.build().exit_code
    project.write("words.txt", "aaaa cccc")
    assert ["run", "unknown", "unknown", "unknown"] == [e["will"] for e in plan(project).values()]
    moved = plan(project, "--set", "late.least=2")
    assert ["run", "unknown", "unknown", "run"] == [e["will"] for e in moved.values()]
    assert "params.least: default → 2, after `labels`" == moved["late"]["because"]
    assert ["labels"] == moved["late"]["after"]
    project.plugin("mine", MINE.replace(">= self.least", "> self.least - 1"))
    assert ["run"] * 4 == [e["will"] for e in plan(project).values()]


def test_a_late_step_that_another_build_made_so_may_be_a_hit(project):
    project.write("words.txt", "aaaa bbbb")
    assert 0 == project.build("--set", "late.least=2").exit_code
    assert 0 == project.build().exit_code
    project.write("words.txt", "aaaa   bbbb")
    assert "unknown" == plan(project, "--set", "late.least=2")["late"]["will"]
    assert "run" == plan(project, "--set", "late.least=3")["late"]["will"]
    assert {"words": "ran", "band": "hit", "labels": "hit", "late": "hit"} == project.build(
        "--set", "late.least=2"
    ).statuses


def test_a_plan_sends_nothing(project):
    assert 0 == project.build("band").exit_code
    result = project.forge("plan", "forge.toml", TOY_DOWN="1")
    assert 0 == result.exit_code
    assert not list((project.store / "journals").iterdir())


def test_a_plan_prices_what_would_be_asked(forge_project):
    source = """
import attrs, forge

@attrs.frozen
class Rows:
    \"\"\"Read two rows.\"\"\"

    def read(self, run):
        yield [{"text": "one"}, {"text": "two"}]

@forge.hookimpl
def forge_register(register):
    register.source("rows", Rows, version="1")
"""
    forge_project.plugin("made", source)
    rows = '[sources.rows]\nuse = "made.rows"\n'
    step = """
[labelers.labels]
use = "label.openai"
from = "rows"
base_url = "http://127.0.0.1:1/v1"
model = "m"
column = "text"
prompt_text = "{{ text }} abcdefghi"
schema = { level = { minimum = 0, maximum = 3 } }
max_tokens = 1000
prices = { m = { input = 1.0, output = 2.0 } }
"""
    forge_project.manifest(rows + step)
    assert 0 == forge_project.build("rows").exit_code
    labels = plan(forge_project)["labels"]["labels"]
    assert (0.00401, True) == (round(labels["money"], 5), labels["at_most"])
    assert "at most 0.0040 by the step's `prices`" in forge_project.forge("plan", "forge.toml").stdout
