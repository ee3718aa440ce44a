"""What a file was made of, and what was made of a file, as `forge lineage` tells it."""

import json

import pytest

from forge.core.digest import digest_bytes

TOY = '''
import attrs

import forge


@attrs.frozen
class Words:
    """Read words, one a line."""

    path: forge.Files

    def read(self, run):
        for file in self.path:
            yield [{"id": f"{file.name}-{n}", "word": w} for n, w in enumerate(file.read_text().split())]


@attrs.frozen
class Length:
    """Label words by whether they are long."""

    def label(self, rows):
        import polars as pl

        long = pl.col("word").str.len_chars() > 3
        return rows.with_columns(long=long, label_state=pl.lit("labelled"), label_source=pl.lit("counting"))


@attrs.frozen
class Halves:
    """Split words into even and odd ones."""

    def parts(self):
        return ("even", "odd")

    def split(self, rows):
        import polars as pl

        even = pl.col("word").str.len_chars() % 2 == 0
        return {"even": rows.filter(even), "odd": rows.filter(~even)}


@attrs.frozen
class Fit:
    """Write the words that came in to one file."""

    mark: str = ""

    def train(self, inputs, out, run):
        words = [w for a in inputs.values() for w in a.rows().collect()["word"]]
        (out / "model.bin").write_text(self.mark + " ".join(words))
        (out / "metrics.json").write_text(f'{{"words": {len(words)}, "loss": [0.5, {len(self.mark)}]}}')


@attrs.frozen
class Bound:
    """Check that the model holds anything."""

    def check(self, inputs, out, run):
        yield forge.Finding("letters", 1, 0, True)


@forge.hookimpl
def forge_register(register):
    register.source("words", Words, version="1")
    register.labeler("length", Length, version="1")
    register.transform("halves", Halves, version="1")
    register.trainer("fit", Fit, version="1")
    register.check("bound", Bound, version="1")
'''

MANIFEST = """
    [params]
    mark = "m"

    [sources.words]
    use = "toy.words"
    path = "data"

    [labelers.labels]
    use = "toy.length"
    from = "words"

    [transforms.split]
    use = "toy.halves"
    from = "labels"

    [trainers.model]
    use = "toy.fit"
    from = "split.even"
    mark = "${mark}"

    [checks.receipt]
    use = "toy.bound"
    from = "model"
    """


def prepare(project):
    project.plugin("toy", TOY)
    project.write("data/a.txt", "ab abc abcd")
    project.write("data/b.txt", "xy xyz abcdef")
    project.manifest(MANIFEST)


@pytest.fixture
def built(forge_project):
    """Give a project whose build has ended, and its steps."""
    prepare(forge_project)
    result = forge_project.build("--jobs", "1")
    assert 0 == result.exit_code, result.stderr
    return forge_project, result.steps


def lineage(project, *arguments):
    result = project.forge("lineage", *arguments, "--json")
    assert 0 == result.exit_code, result.stderr
    return json.loads(result.stdout)


def test_a_file_leads_back_to_rows_labels_and_raw_files(built):
    project, steps = built
    assert 0 == project.forge("get", "forge.toml", "model", "out").exit_code
    found = lineage(project, "out/model.bin")
    assert ["model", "split", "labels", "words"] == [s["step"] for s in found["steps"]]
    assert [steps[n].key for n in ("model", "split", "labels", "words")] == [s["key"] for s in found["steps"]]
    assert {"kind": "file", "digest": steps["model"].outputs["model.bin"], "names": ["model.bin"]} == found["target"]
    [model, split, labels, words] = found["steps"]
    assert ["split.even", "labels", "words"] == [
        e["step"] for s in (model, split, labels) for e in s["inputs"].values()
    ]
    assert {"False": 4, "True": 2} == labels["labels"]["long"]
    assert {"counting": 6} == labels["labels"]["label_source"]
    assert {
        "path": {
            "a.txt": {"digest": digest_bytes(b"ab abc abcd"), "size": 11},
            "b.txt": {"digest": digest_bytes(b"xy xyz abcdef"), "size": 13},
        }
    } == words["files"]


def test_a_person_sees_steps_labels_and_raw_files(built):
    project, steps = built
    said = project.forge("lineage", steps["model"].outputs["model.bin"][:12])
    assert 0 == said.exit_code, said.stderr
    for phrase in ("model.bin", "toy.fit", "split.even", "6 labelled", "a.txt", digest_bytes(b"ab abc abcd")):
        assert phrase in said.stdout


def test_a_raw_file_leads_on_to_everything_made_of_it(built):
    project, steps = built
    found = lineage(project, "data/b.txt", "--forward")
    assert ["words", "labels", "split", "model", "receipt"] == [s["step"] for s in found["steps"]]
    assert [["forge"]] * 5 == [s["last_build_of"] for s in found["steps"]]
    assert [{"step": "words", "key": steps["words"].key}] == found["read_by"]
    assert "receipt" in project.forge("lineage", "data/b.txt", "--forward").stdout


def test_a_raw_file_was_made_by_no_step(built):
    project, _ = built
    assert "it is a source file, read by `words`" in project.forge("lineage", "data/a.txt").stdout


@pytest.mark.parametrize("kind", ["key", "tree"])
def test_an_action_and_an_artifact_are_followed_both_ways(built, kind):
    project, steps = built
    digest = getattr(steps["split"], kind)
    assert ["split", "labels", "words"] == [s["step"] for s in lineage(project, digest)["steps"]]
    forward = [s["step"] for s in lineage(project, digest[:20], "--forward")["steps"]]
    assert ["model", "receipt"] == forward


def test_two_builds_of_one_file_are_both_found(built):
    project, steps = built
    assert 0 == project.build("--set", "mark=n").exit_code
    forward = lineage(project, "data/a.txt", "--forward")["steps"]
    assert 2 == [s["step"] for s in forward].count("model")
    [old] = [s for s in forward if s["key"] == steps["model"].key]
    assert [] == old["last_build_of"]
    back = lineage(project, steps["model"].outputs["model.bin"])["steps"]
    assert steps["model"].key == back[0]["key"]


def test_a_copy_in_another_step_was_still_made_by_the_first(built):
    project, _ = built
    project.manifest(
        MANIFEST
        + """
    [exporters.delivered]
    use = "files.copy"
    from = "model"
    to = "delivered"
    """
    )
    assert 0 == project.build().exit_code
    assert "model" == lineage(project, "delivered/model.bin")["steps"][0]["step"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.bin"], "error: there is no file `missing.bin`, and it is no digest"),
        (["abc"], "hint: name a file, or 8 to 64 hex digits"),
        (["0" * 64], "names anything with the digest `0000000000000000…`"),
        (["forge.toml"], "hint: name the store it was built in with `--store`"),
        (["data"], "error: `data` is a folder"),
    ],
)
def test_what_is_unknown_is_said_with_a_hint(forge_project, arguments, message):
    prepare(forge_project)
    said = forge_project.forge("lineage", *arguments)
    assert (2, "", True) == (said.exit_code, said.stdout, message in said.stderr), said.stderr
