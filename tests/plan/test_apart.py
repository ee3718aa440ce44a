"""What steps put into the tree keeps apart from each other's, and from what is read."""

import pytest

from forge.core.errors import ManifestError
from forge.core.files import Files, fixed_part
from forge.plan.apart import matches, would_read

RAW = """
[sources.raw]
use = "toy.read"
path = "{path}"
"""
PUT = """
[exporters.{name}]
use = "toy.put"
from = "raw"
to = "{to}"
"""


def told(plan, text):
    with pytest.raises(ManifestError) as caught:
        plan(text)
    return [(p.line, p.step, p.message) for p in caught.value.problems]


@pytest.mark.parametrize(("one", "two"), [("out", "out"), ("out", "./out"), ("out", "out/x"), ("out/a/b", "out")])
def test_two_steps_that_put_files_at_one_place_are_refused_with_both_lines(plan, tmp_path, one, two):
    text = RAW.format(path="data/*.txt") + PUT.format(name="one", to=one) + PUT.format(name="two", to=two)
    message = f'`to = "{two}"` and `to = "{one}"` of step `one` ({tmp_path}/forge.toml:9) overlap'
    assert [(14, "two", message)] == told(plan, text)


def test_places_beside_each_other_are_two(plan):
    text = RAW.format(path="data/*.txt") + PUT.format(name="one", to="out/a") + PUT.format(name="two", to="out/ab")
    assert 3 == len(plan(text).steps)


@pytest.mark.parametrize(
    ("path", "to"), [("data/*.txt", "data/sum.txt"), ("data", "data/out"), ("data", "./data/low/out"), ("data", "data")]
)
def test_what_the_next_build_would_read_is_refused_with_both_lines(plan, tmp_path, path, to):
    read = f'`path = "{path}"`, {tmp_path}/forge.toml:4'
    message = f'`to = "{to}"` lies in what step `raw` reads ({read}): the next build would take it in'
    assert [(9, "one", message)] == told(plan, RAW.format(path=path) + PUT.format(name="one", to=to))


@pytest.mark.parametrize(
    ("path", "to"), [("data/*.txt", "data/sum.json"), ("data", "data/.out"), ("data/a.txt", "sum"), ("data", "out")]
)
def test_what_no_build_would_read_may_be_put(plan, path, to):
    assert 2 == len(plan(RAW.format(path=path) + PUT.format(name="one", to=to)).steps)


@pytest.mark.parametrize(
    ("wild", "path", "matched"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "a.json", False),
        ("*.txt", "low/a.txt", False),
        ("*.txt", ".a.txt", False),
        (".*", ".a.txt", True),
        ("**/*.txt", "a.txt", True),
        ("**/*.txt", "low/er/a.txt", True),
        ("**/*.txt", ".low/a.txt", False),
        ("**", "low/a.txt", True),
        ("*/x/*.txt", "a/x/b.txt", True),
        ("*/x/*.txt", "a/y/b.txt", False),
        ("[ab].txt", "b.txt", True),
    ],
)
def test_a_glob_matches_what_it_would_find(tmp_path, wild, path, matched):
    assert ("", wild) == fixed_part(wild)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("x")
    assert [matched] * 2 == [matches(wild.split("/"), path.split("/")), bool(Files.match(wild, tmp_path))]


@pytest.mark.parametrize(
    ("pattern", "store", "read"),
    [
        (".", "store", True),
        ("**", "store", True),
        ("**/*.json", "store", True),
        ("store", "store", True),
        ("sto*/**", "store", True),
        ("**/*.txt", "store", False),
        ("**", ".store", False),
        ("data/**", "store", False),
        ("data/**", "data/deep/store", True),
        (".", "../store", False),
        ("*", "store", False),
    ],
)
def test_a_glob_that_would_read_the_store_is_known_before_there_is_one(tmp_path, pattern, store, read):
    (tmp_path / "data").mkdir()
    (tmp_path / "store").mkdir()
    assert read == would_read(pattern, tmp_path, tmp_path / store)
