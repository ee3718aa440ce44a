"""Rows in are rows out and drops, for every step of every chain over every table."""

import json
from typing import Any

import attrs
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import forge
from forge.cli.app import run
from forge.core.errors import StepError
from forge.plugin.registry import VERBS, StepType
from forge.run.job import Job
from forge.run.ledger import Ledger
from forge.run.verbs import Work, perform
from forge_text.filters import Anonymise, LengthBand
from forge_text.loops import Boilerplate, Loops
from forge_text.quality import Characters, Language, ThrowAway
from forge_text.split import Deduplicate, Split


@attrs.frozen
class PlainFilter:
    """Take rows away without a word."""

    least: int

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.filter(pl.col("number") >= self.least)


@attrs.frozen
class MarkThenFilter:
    """Mark rows twice over, take others away, and change a column."""

    least: int

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        marked = forge.drop(rows, {"even": pl.col("number") % 2 == 0, "five": pl.col("number") % 5 == 0})
        again = forge.drop(marked.filter(pl.col("number") >= self.least), {"null": pl.col("text").is_null()})
        return forge.tally(again, {"letters": pl.col("number")}).with_columns(pl.col("number") + 1)


@attrs.frozen
class LeakySplit:
    """Give some rows to no part, and drop some of those that get one."""

    def parts(self) -> tuple[str, ...]:
        return ("low", "high")

    def split(self, rows: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
        low = forge.drop(rows.filter(pl.col("number") < 4), {"zero": pl.col("number") == 0})
        return {"low": low, "high": rows.filter(pl.col("number") > 4)}


@attrs.frozen
class SilentMake:
    """Write a table of half the rows."""

    def make(self, inputs: dict[str, forge.Artifact], out: Any, run: forge.Run) -> None:
        rows = inputs["in"].rows().collect()
        forge.write_rows(rows.head(max(1, rows.height // 2)), out)


SHARES = {"one": 0.5, "two": 0.5}
STEPS = st.one_of(
    st.builds(PlainFilter, st.integers(0, 9)),
    st.builds(MarkThenFilter, st.integers(0, 9)),
    st.builds(LeakySplit),
    st.builds(SilentMake),
    st.builds(LengthBand, st.just("text"), st.integers(0, 4), st.integers(4, 90)),
    st.builds(Language, st.just("text"), st.sampled_from(["zh", "en"])),
    st.builds(Characters, st.just("text"), st.fixed_dictionaries({"digits": st.floats(0, 1)})),
    st.builds(ThrowAway, st.just("text")),
    st.builds(Loops, st.just("text"), action=st.sampled_from(["drop", "cut"])),
    st.builds(Boilerplate, st.just("text"), st.just(("加油",)), action=st.sampled_from(["drop", "cut"])),
    st.builds(Deduplicate, st.just("text"), st.sampled_from([0.5, 0.8, 1.0])),
    st.builds(Split, st.just("text"), st.just(SHARES), limits=st.sampled_from([{}, {"one": 1}, {"one": 2, "two": 1}])),
    st.builds(Anonymise, st.just(("text",))),
)
TEXTS = st.one_of(
    st.none(),
    st.text("我你难过加油123ab，。", max_size=12),
    st.sampled_from(
        ["同问", "加油", "电话13800001111", "好的加油" * 20, "I am so very sad today", "我今天真的非常非常难过"]
    ),
)
TABLES = st.lists(st.tuples(TEXTS, st.integers(0, 9)), min_size=1, max_size=30)


def ran(step, table, folder):
    """Run one step as a worker does, and return its ledger, rows in and rows out."""
    verb = next(v for verbs in VERBS.values() for v, _ in verbs if callable(getattr(type(step), v, None)))
    job = Job("k", "step", "transform", "toy.step", verb, {}, [], {}, {}, "", "", 1, network=False, modules={}, seen={})
    kind = StepType("toy", "step", "transform", type(step), "1", verb)
    ledger = Ledger(lambda: folder, 1, lambda _: None, lambda: None)
    out = folder / "out"
    out.mkdir(parents=True)
    artifact = forge.Artifact("in", table)
    rows = perform(Work(job, kind, step, {"in": artifact}, {}, out, ledger, store=None))
    return ledger, rows, out


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TABLES, st.lists(STEPS, min_size=1, max_size=5), st.booleans(), st.data())
def test_rows_in_are_rows_out_and_drops_in_every_chain(tmp_path_factory, rows, steps, named, data):
    folder = tmp_path_factory.mktemp("chain")
    frame = pl.DataFrame(rows, schema={"text": pl.String, "number": pl.Int64}, orient="row")
    if named:
        frame = frame.with_row_index("id")
    table = folder / "start"
    came = forge.write_rows(frame, table)
    for place, step in enumerate(steps):
        try:
            ledger, parts, out = ran(step, table, folder / str(place))
        except StepError as error:
            if not any(word in error.message for word in ("no rows left", "can't be split")):
                raise
            return  # the chain ends with an error, not with a wrong sum
        made = sum(parts.values()) + sum(ledger.drops.values())
        assert came == made
        assert all(count > 0 for count in ledger.drops.values())
        for reason, examples in ledger.examples.items():
            assert len(examples) <= min(3, ledger.drops[reason])
            assert all(len(example) <= 160 for example in examples)
        unmarked = ("not passed on by toy.step", "in no part")
        if named:
            assert [] == [r for r in ledger.drops if r not in unmarked and not ledger.examples.get(r)]
        part = data.draw(st.sampled_from(sorted(parts)))
        table, came = out / part, parts[part]
        assert came == pl.read_ipc(table / "rows.arrow").height


def test_rows_that_a_plain_filter_takes_are_shown(tmp_path):
    frame = pl.DataFrame({"text": ["a", "b", "b", None], "number": [1, 2, 2, 3]})
    forge.write_rows(frame, tmp_path / "in")
    ledger, rows, _ = ran(PlainFilter(2), tmp_path / "in", tmp_path / "step")
    assert ({"": 3}, {"filtered by toy.step": 1}) == (rows, ledger.drops)
    assert {"filtered by toy.step": ['{"text": "a", "number": 1}']} == ledger.examples


def test_no_example_is_guessed_where_rows_can_t_be_told_apart(tmp_path):
    @attrs.frozen
    class Other:
        def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
            return rows.head(1).with_columns(pl.lit("else").alias("text"))

    forge.write_rows(pl.DataFrame({"text": ["a", "b"]}), tmp_path / "in")
    ledger, _, _ = ran(Other(), tmp_path / "in", tmp_path / "step")
    assert ({"filtered by toy.step": 1}, {}) == (ledger.drops, {r: e for r, e in ledger.examples.items() if e})


@pytest.fixture
def chain(forge_project):
    texts = [f"今天是第{place}次觉得很难过，不知道应该怎么办。{chr(0x4E00 + 7 * place) * 30}" for place in range(40)]
    texts += ["同问", "I am sad and I do not know why", "短", texts[3] + "！！", "加油一切都会好" * 20]
    lines = [json.dumps({"id": place, "text": text}, ensure_ascii=False) for place, text in enumerate(texts)]
    forge_project.write("rows.jsonl", "\n".join(lines) + "\nbroken\n")
    forge_project.plugin(
        "lines",
        "import json\nimport attrs, forge\n\n"
        "@attrs.frozen\n"
        "class Lines:\n"
        '    """Read lines of JSON."""\n\n'
        "    path: forge.File\n\n"
        "    def read(self, run):\n"
        "        for index, line in enumerate(self.path.path.read_text().splitlines(), start=1):\n"
        "            try:\n"
        "                yield [json.loads(line)]\n"
        "            except ValueError:\n"
        "                yield forge.Reject(self.path.name, 'no JSON', index, line)\n\n"
        "@forge.hookimpl\n"
        "def forge_register(register):\n"
        '    register.source("lines", Lines, version="1")\n',
    )
    forge_project.manifest(
        """
        [sources.rows]
        use = "lines.lines"
        path = "rows.jsonl"
        [transforms.chinese]
        use = "text.language"
        from = "rows"
        column = "text"
        language = "zh"
        [transforms.said]
        use = "text.throw-away"
        from = "chinese"
        column = "text"
        [transforms.straight]
        use = "text.loops"
        from = "said"
        column = "text"
        [transforms.band]
        use = "text.length-band"
        from = "straight"
        column = "text"
        least = 5
        [transforms.single]
        use = "text.deduplicate"
        from = "band"
        column = "text"
        [transforms.split]
        use = "text.split"
        from = "single"
        column = "text"
        shares = { train = 0.8, test = 0.2 }
        limits = { train = 30 }
        """
    )
    return forge_project


def test_what_show_prints_adds_up_with_examples_of_each_reason(chain, monkeypatch, capsys):
    assert 0 == chain.build().exit_code
    monkeypatch.chdir(chain.root)
    monkeypatch.syspath_prepend(str(chain.root / "plugins"))
    monkeypatch.delenv("FORGE_STORE", raising=False)

    def show(*arguments):
        assert 0 == run(["show", "forge.toml", *arguments])
        return capsys.readouterr().out

    expected = {
        "rows": (None, 45, {"no JSON": 1}),
        "chinese": (45, 44, {"not Chinese: under 0.5 of it": 1}),
        "said": (44, 43, {"throw-away reply": 1}),
        "straight": (43, 42, {"ends in a loop": 1}),
        "band": (42, 41, {"under 5 characters": 1}),
        "single": (41, 40, {"equal to an earlier row": 1}),
        "split": (40, 38, {"over the limit": 2}),
    }
    for step, (rows_in, rows_out, drops) in expected.items():
        record = json.loads(show(step, "--json"))
        assert (rows_in, rows_out, drops) == (record["rows_in"], record["rows_out"], record["drops"])
        assert all(record["examples"][reason] for reason in drops)
        said = show(step, "--rows", "0")
        assert all(f"{count} dropped: {reason}" in said for reason, count in drops.items())
