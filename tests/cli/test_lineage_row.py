"""`forge lineage --row`: one row from its raw file through every step, with its label's request and reply."""

import json

import pytest

from forge.core.digest import digest_bytes
from forge.testing import ForgeProject

MINE = '''
import attrs

import forge


@attrs.frozen
class Words:
    """Read words, one a line."""

    path: forge.Files

    def read(self, run):
        for file in self.path:
            stem = file.name.rpartition(".")[0]
            yield [{"id": f"{stem}_{n}", "word": w} for n, w in enumerate(file.read_text().split())]


@attrs.frozen
class Band:
    """Keep words of *least* to *most* letters."""

    least: int = 3
    most: int = 5

    def transform(self, rows):
        import polars as pl

        length = pl.col("word").str.len_chars()
        rows = forge.drop(rows, {"too short": length < self.least, "too long": length > self.most})
        return rows.with_columns(word=pl.col("word").str.to_uppercase())


@attrs.frozen
class Ask:
    """Ask about each word; the first reply is refused."""

    prompt: forge.File
    model: str = "m"

    def request(self, row):
        text = self.prompt.read_text() + row["word"]
        return forge.Request({"model": self.model}, [{"role": "user", "content": text}])

    async def ask(self, request):
        return forge.Reply(str(len(request.messages)), "m-1", prompt_tokens=10, completion_tokens=3)

    def parse(self, reply):
        if reply.text == "1":
            raise forge.Refused("one is none")
        return {"label": reply.text}


@attrs.frozen
class Halves:
    """Split words by their first letter."""

    def parts(self):
        return ("early", "late")

    def split(self, rows):
        import polars as pl

        first = pl.col("word").str.slice(0, 1)
        return {"early": rows.filter(first < "M"), "late": rows.filter(first >= "M")}


@attrs.frozen
class Fit:
    """Write the words that came in to one file."""

    def train(self, inputs, out, run):
        (out / "model.bin").write_text(" ".join(w for a in inputs.values() for w in a.rows().collect()["word"]))


@forge.hookimpl
def forge_register(register):
    register.source("words", Words, version="1")
    register.transform("band", Band, version="1")
    register.transform("halves", Halves, version="1")
    register.labeler("ask", Ask, version="1")
    register.trainer("fit", Fit, version="1")
'''
MANIFEST = """
    [sources.words]
    use = "mine.words"
    path = "data/*.txt"

    [transforms.band]
    use = "mine.band"
    from = "words"

    [labelers.labels]
    use = "mine.ask"
    from = "band"
    prompt = "prompt.md"

    [transforms.split]
    use = "mine.halves"
    from = "labels"

    [trainers.model]
    use = "mine.fit"
    from = "split.early"
    """


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = ForgeProject(tmp_path_factory.mktemp("row"))
    project.plugin("mine", MINE)
    project.write("data/a.txt", "abc xyz a b c d elephant crocodile")
    project.write("data/ab.txt", "bcd")
    project.write("prompt.md", "Label: ")
    project.manifest(MANIFEST)
    result = project.build("--jobs", "1")
    assert 0 == result.exit_code, result.stderr
    return project


def follow(project, identity, *arguments):
    result = project.forge("lineage", "forge.toml", "model", "--row", identity, *arguments, "--json")
    assert 0 == result.exit_code, result.stderr
    return {s["step"] + (f".{s['part']}" if s["part"] else ""): s for s in json.loads(result.stdout)["row"]["steps"]}


def test_a_row_is_followed_from_its_raw_file_to_its_label(project):
    steps = follow(project, "a_0")
    assert ["words", "band", "labels", "split.early"] == list(steps)
    assert {"a.txt": digest_bytes((project.root / "data/a.txt").read_bytes())} == steps["words"]["files"]
    assert "`id` holds its name" == steps["words"]["by"]
    assert ["abc", "ABC", "ABC"] == [steps[n]["row"]["word"] for n in ("words", "band", "split.early")]
    [first, second] = steps["labels"]["requests"]
    assert ("m-1", "1", "one is none") == (first["model"], first["reply"], first["refused"])
    assert ("m-1", "3", None) == (second["model"], second["reply"], second["refused"])
    journal = "".join(p.read_text() for p in (project.store / "journals").glob("*.jsonl"))
    assert all(asked["request"] in journal for asked in (first, second))


def test_a_row_of_another_file_and_of_another_part(project):
    assert ["ab.txt"] == list(follow(project, "ab_0")["words"]["files"])
    assert ["words", "band", "labels", "split.late"] == list(follow(project, "a_1"))


@pytest.mark.parametrize(
    ("identity", "reason", "by"),
    [("a_2", "too short", "an example in the record"), ("a_5", "too short", "the step, repeated")],
)
def test_a_row_that_left_is_followed_to_its_reason(project, identity, reason, by):
    steps = follow(project, identity)
    assert ["words", "band"] == list(steps)
    assert ("dropped", [reason], by) == tuple(steps["band"][n] for n in ("state", "dropped", "by"))


def test_the_words_for_people_say_the_same(project):
    said = project.forge("lineage", "forge.toml", "model", "--row", "a_0").stdout
    for part in ("from a.txt  blake3 ", "word: ABC", "label: 3", "reply: 3", "refused: one is none", "to m-1"):
        assert part in said
    assert "dropped: `too short` (4)" in project.forge("lineage", "forge.toml", "model", "--row", "a_5").stdout


def test_a_row_is_found_by_another_column(project):
    assert ["words"] == list(follow(project, "elephant", "--column", "word"))[:1]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("--row", "nobody"), "has a row whose `id` is `nobody`", ""),
        (("--row", "a_0", "--column", "name"), "whose `name` is `a_0`", "have the columns `id`"),
        (("--row", "a_0", "--forward"), "by itself", "--forward"),
    ],
)
def test_what_is_not_there_is_said(project, arguments, message, hint):
    result = project.forge("lineage", "forge.toml", "model", *arguments)
    assert (2, True, True) == (result.exit_code, message in result.stderr, hint in result.stderr), result.stderr


def test_moved_code_leaves_the_reasons_and_says_that_requests_are_not_told(project):
    try:
        project.plugin("mine", MINE.replace('"one is none"', '"one is no label"'))
        found = json.loads(project.forge("lineage", digest(project), "--row", "a_5", "--json").stdout)["row"]["steps"]
        assert (["too short", "too long"], "one of these") == (sorted(found[1]["dropped"])[::-1], found[1]["by"])
        found = json.loads(project.forge("lineage", digest(project), "--row", "a_0", "--json").stdout)["row"]["steps"]
        assert "code or files are not what they were" in found[2]["note"]
    finally:
        project.plugin("mine", MINE)


def digest(project):
    return digest_bytes(b"ABC BCD")


def test_an_accepted_result_is_shown_as_such(project):
    project.plugin("mine", MINE.replace('" ".join(w for', '" ".join(str(w) for'))
    for step in ("words", "band", "labels", "split", "model"):
        done = project.forge("accept", "forge.toml", step, "--why", "only a cast")
        assert 0 == done.exit_code, done.stderr
    said = project.forge("lineage", "forge.toml", "model").stdout
    assert "accepted model on 2" in said
    assert "code mine_plugin.py: class Fit; why: only a cast" in said
    [model, *_] = json.loads(project.forge("lineage", "forge.toml", "model", "--json").stdout)["steps"]
    assert {"from", "moved", "when", "who", "why"} >= model["accepted"].keys() >= {"from", "moved", "when", "why"}
