"""What holds for every value, tried on many."""

import string
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forge.core.action import Action
from forge.core.artifact import Member, Tree
from forge.core.digest import canonical
from forge.plan.lines import lines_of
from forge.plan.load import load
from forge.run.ledger import Ledger

quick = settings(max_examples=40, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=8)
scalars = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
members = st.dictionaries(names, st.builds(Member, digests, st.integers(0, 2**40), st.booleans()), max_size=6)


def shuffled(value, random):
    """Return an equal value whose tables are in another order."""
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    return [shuffled(each, random) for each in value] if isinstance(value, list) else value


def toml(value):
    """Write a value as TOML, in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c if c not in '"\\' and c.isprintable() else f"\\U{ord(c):08x}" for c in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
    return repr(value) if "." in repr(value) or isinstance(value, int) else repr(value).replace("e", ".0e")


@quick
@given(values, st.randoms(use_true_random=False))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value, random):
    assert canonical(value) == canonical(shuffled(value, random))


@quick
@given(st.dictionaries(names, values, max_size=4), st.randoms(use_true_random=False))
def test_an_action_s_key_does_not_depend_on_the_order_of_parameters(params, random):
    one, two = (Action("a.b", "1", p, (), {}, {}, {}) for p in (params, shuffled(params, random)))
    assert one.key == two.key


@quick
@given(st.dictionaries(names, values, max_size=4), st.dictionaries(names, values, max_size=4))
def test_actions_with_other_parameters_have_other_keys(one, two):
    keys = [Action("a.b", "1", p, (), {}, {}, {}).key for p in (one, two)]
    assert (canonical(one) == canonical(two)) == (keys[0] == keys[1])


@quick
@given(members, st.randoms(use_true_random=False))
def test_a_tree_s_digest_is_that_of_its_members_in_any_order_and_survives_json(found, random):
    tree = Tree(found)
    assert tree.digest == Tree(shuffled(found, random)).digest == Tree.from_json(tree.to_json()).digest


@quick
@given(st.dictionaries(names, st.dictionaries(names, values, max_size=4), max_size=4))
def test_every_key_of_a_toml_text_is_found_on_its_line(tables):
    lines = []
    for table, entries in tables.items():
        lines.append(f"[{toml(table)}]  # [not.a.table]")
        lines += [f"{toml(key)} = {toml(value)}  # a comment" for key, value in entries.items()]
        lines.append("")
    text = "\n".join(lines)
    assert tables == tomllib.loads(text)
    found = lines_of(text)
    for table, entries in tables.items():
        assert lines[found[table,] - 1].startswith(f"[{toml(table)}]")
        for key in entries:
            assert lines[found[table, key] - 1].startswith(f"{toml(key)} = ")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    path = tmp_path_factory.mktemp("set") / "forge.toml"
    path.write_text('[params]\nx = 0\n[sources.a]\nuse = "b.c"\nold = 0\nnew = "${x}"\n')
    return path


@quick
@given(values)
def test_what_is_set_is_what_the_step_gets(manifest, value):
    (step,) = load(manifest, [f"a.old={toml(value)}", f"x={toml(value)}"]).steps
    expected = tomllib.loads(f"value = {toml(value)}")["value"]
    if "${" not in repr(expected):
        assert [expected, expected] == [step.values["old"], step.values["new"]]


@quick
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30))
def test_rows_in_are_rows_out_and_drops(tmp_path, rows):
    import polars as pl

    import forge
    from forge.run.tables import settle

    ledger = Ledger(tmp_path, 1, lambda _: None, lambda: None)
    frame = pl.DataFrame(rows, schema=["n", "b"], orient="row").lazy()
    marked = forge.drop(frame, {"small": pl.col("n") < 3, "even": pl.col("n") % 2 == 0}).filter("b")
    left = settle(marked, len(rows), ledger, "toy.band")
    assert len(rows) == left.height + sum(ledger.drops.values())
    assert [n for n, b in rows if b and n >= 3 and n % 2] == left["n"].to_list()
