"""Several sets in proportions."""

import polars as pl
import pytest

import forge
from forge_llm.train import Mix

SETS = """
    [sources.a]
    use = "files.jsonl"
    path = "a.jsonl"

    [sources.b]
    use = "files.jsonl"
    path = "b.jsonl"

    [transforms.mixed]
    use = "train.mix"
    from = { a = "a", b = "b" }
    shares = { a = 0.7, b = 0.3 }
    """


def table(name, count):
    return pl.DataFrame({"id": [f"{name}{n}" for n in range(count)]}).lazy()


def mixed(a, b, **parameters):
    frame = Mix(**{"shares": {"a": 0.7, "b": 0.3}, **parameters}).merge({"a": table("a", a), "b": table("b", b)})
    return forge.kept(frame).collect()


def counts(frame):
    return dict(frame.group_by("set").len().sort("set").iter_rows())


@pytest.mark.parametrize(
    ("a", "b", "parameters", "expected"),
    [
        (70, 30, {}, {"a": 70, "b": 30}),
        (700, 30, {}, {"a": 70, "b": 30}),
        (7, 300, {}, {"a": 7, "b": 3}),
        (700, 300, {"rows": 10}, {"a": 7, "b": 3}),
        (700, 30, {"exhausted": "repeat"}, {"a": 700, "b": 300}),
        (7, 300, {"exhausted": "repeat"}, {"a": 700, "b": 300}),
        (7, 3, {"exhausted": "repeat", "rows": 101}, {"a": 71, "b": 30}),
        (100, 100, {"rows": 11}, {"a": 8, "b": 3}),
    ],
)
def test_each_set_has_its_share(a, b, parameters, expected):
    assert expected == counts(mixed(a, b, **parameters))


def test_no_row_is_used_twice_unless_that_is_asked_for_and_then_all_equally_often():
    assert 100 == mixed(700, 30)["id"].n_unique()
    repeated = mixed(700, 40, exhausted="repeat").filter(set="b")["id"].value_counts()["count"]
    assert ({7, 8}, 40) == (set(repeated), len(repeated))


def test_the_order_is_mixed_and_hangs_on_the_seed_alone():
    first, again, other = mixed(70, 30, seed=1), mixed(70, 30, seed=1), mixed(70, 30, seed=2)
    assert first.equals(again)
    assert first["id"].to_list() != other["id"].to_list()
    assert 10 <= first.head(50).filter(set="b").height <= 20


def test_the_order_of_names_in_the_manifest_changes_nothing():
    one, two = (mixed(70, 40, shares=shares) for shares in ({"a": 0.7, "b": 0.3}, {"b": 0.3, "a": 0.7}))
    assert one.equals(two)


def test_what_a_set_has_beyond_its_share_is_in_the_ledger(forge_project):
    forge_project.write("a.jsonl", "".join(f'{{"id": "a{n}", "text": "x"}}\n' for n in range(20)))
    forge_project.write("b.jsonl", "".join(f'{{"id": "b{n}"}}\n' for n in range(3)))
    forge_project.manifest(SETS)
    built = forge_project.build()
    step = built.steps["mixed"]
    assert (23, 10, {"beyond the share of `a`": 13}) == (step.rows_in, step.rows_out, step.drops), built.stderr
    shown = forge_project.forge("show", "forge.toml", "mixed", "--json").stdout
    assert '"share": 0.7' in shown


def test_a_set_that_is_repeated_is_counted_as_made(forge_project):
    forge_project.write("a.jsonl", "".join(f'{{"id": "a{n}"}}\n' for n in range(70)))
    forge_project.write("b.jsonl", "".join(f'{{"id": "b{n}"}}\n' for n in range(10)))
    forge_project.manifest(SETS + 'exhausted = "repeat"\n')
    step = forge_project.build().steps["mixed"]
    assert (80, 100, {}) == (step.rows_in, step.rows_out, step.drops)
    assert "80 rows in, 20 made, 100 rows out" in forge_project.forge("show", "forge.toml", "mixed").stdout


@pytest.mark.parametrize(
    ("shares", "message", "hint"),
    [
        ({"a": 0.5, "bb": 0.5}, "`shares` names the set `bb`, `from` does not", "did you mean `b`?"),
        ({"a": 1.0}, "`shares` says nothing of `b`, which `from` names", None),
    ],
)
def test_shares_and_inputs_must_name_the_same_sets(shares, message, hint):
    with pytest.raises(forge.StepError) as caught:
        mixed(5, 5, shares=shares)
    assert (message, hint) == (caught.value.message, caught.value.hint)


@pytest.mark.parametrize(("shares", "problem"), [({"a": 0.5, "b": 0.4}, "must add up to 1"), ({}, "at least one set")])
def test_shares_that_are_none_are_refused(shares, problem):
    with pytest.raises(ValueError, match=problem):
        Mix(shares=shares)


def test_sets_that_cant_give_a_row_are_named():
    with pytest.raises(forge.StepError, match="set `b` has no rows"):
        mixed(5, 0)
    with pytest.raises(forge.StepError, match="the share of set `b` comes to no row of 1"):
        mixed(1, 1)


def test_a_column_that_is_there_already_is_not_written_over():
    with pytest.raises(forge.StepError, match="set `a` has a column `id` of its own"):
        mixed(5, 5, column="id")
    assert ["id"] == mixed(5, 5, column="").columns
