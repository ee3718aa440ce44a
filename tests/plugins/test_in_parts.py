"""Step types that promise that rows never look at one another make of a table's parts what they make of the whole."""

from pathlib import Path

import attrs
import polars as pl
import pytest

import forge
from forge.plugin import table
from forge.plugin.discovery import Registry
from forge.plugin.registry import VERBS, Register
from forge.plugin.table import read_rows, write_rows
from forge.run import tables
from forge.run.job import Job
from forge.run.ledger import Ledger
from forge.run.verbs import Work, attempt
from forge_counselling.dialogues import CPsyCounD, CPsyCounE
from forge_counselling.psyqa import PsyQA
from forge_counselling.student import Student, Trim
from forge_counselling.unify import Unify
from forge_text.filters import Anonymise, LengthBand
from forge_text.quality import Characters, Language, ThrowAway

SAMPLES = Path(__file__).parents[2] / "examples" / "counselling"
PROMISED = {
    "counselling.unify": Unify(),
    "counselling.student": Student(),
    "counselling.trim": Trim(characters=120, turns=4),
    "text.anonymise": Anonymise(("conversation", "topic")),
    "text.length-band": LengthBand("topic", 3, 6),
    "text.language": Language("topic", "zh"),
    "text.characters": Characters("topic", {"latin": 0.1}, {"han": 0.5}),
    "text.throw-away": ThrowAway("conversation"),
}

SILENT = {"text.anonymise", "text.throw-away"}
"""Step types that count nothing of the samples."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Write the raw tables of the samples."""
    folders = {}
    for source, pattern in [(PsyQA, "PsyQA/*.json"), (CPsyCounD, "**/Data/*.txt"), (CPsyCounE, "CPsyCounE/*/*.json")]:
        folder = folders[source.__name__] = tmp_path_factory.mktemp(source.__name__)
        found = source(path=forge.Files.match(pattern, SAMPLES)).read(forge.LocalRun(scratch=folder))
        rows = [each for each in found if not isinstance(each, forge.Reject)]
        write_rows(pl.concat(each if isinstance(each, pl.DataFrame) else pl.DataFrame(each) for each in rows), folder)
    return folders


def work(use, instance, inputs, out):
    """Do the work of one step and return its table, its rows and what its ledger says."""
    out.mkdir()
    step_type = Registry().find(use)
    job = attrs.evolve(JOB, use=use, verb=next(verb for verb, _ in VERBS["transform"] if hasattr(type(instance), verb)))
    artifacts = {name: forge.Artifact(name, folder) for name, folder in inputs.items()}
    ledger = Ledger(lambda: out, 2, lambda _: None, lambda: None)
    rows = attempt(Work(job, step_type, instance, artifacts, {}, out, ledger, None))
    return read_rows(out).collect(), rows, (ledger.drops, ledger.tallies, ledger.examples), bytes_of(out)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


JOB = Job(
    step="step", kind="transform", use="", verb="", key="0" * 64, action={}, inputs=[], code={}, spec={}, modules={},
    seen={}, root="", store="", threads=2, network=True,
)  # fmt: skip


def test_all_that_promise_it_are_looked_at():
    registry = Registry()
    found = {
        each.use
        for namespace in registry.namespaces
        for each in registry.plugin(namespace).types.values()
        if each.in_parts
    }
    assert set(PROMISED) == found


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("use", PROMISED)
def test_parts_make_the_same_table_the_same_counts_and_the_same_statistics(use, mapped, raw, tmp_path, monkeypatch):
    inputs = raw
    if use != "counselling.unify":
        work("counselling.unify", Unify(), raw, tmp_path / "unified")
        inputs = {"unified": tmp_path / "unified"}
    whole = work(use, PROMISED[use], inputs, tmp_path / "whole")
    monkeypatch.setattr(tables, "_PART", 1)
    monkeypatch.setattr(tables, "BATCH", 3)
    monkeypatch.setattr(table, "MAPPED_FROM", 0 if mapped else 1 << 40)
    parts = work(use, PROMISED[use], inputs, tmp_path / "parts")
    assert whole[0].equals(parts[0])
    assert whole[1:] == parts[1:]
    assert any(whole[2]) or use in SILENT, "the samples hold nothing that the step counts"


@pytest.mark.parametrize("mapped", [False, True])
def test_parts_of_several_tables_are_parts_of_them_joined(mapped, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "MAPPED_FROM", 0 if mapped else 1 << 40)
    write_rows(pl.DataFrame({"text": ["一" * n for n in range(20)], "n": range(20)}), tmp_path / "one")
    write_rows(pl.DataFrame({"text": ["二" * n for n in range(30)]}), tmp_path / "two")
    inputs = {name: tmp_path / name for name in ("one", "two")}
    band = LengthBand(column="text", least=5)
    whole = work("text.length-band", band, inputs, tmp_path / "whole")
    monkeypatch.setattr(tables, "_PART", 1)
    monkeypatch.setattr(tables, "BATCH", 3)
    parts = work("text.length-band", band, inputs, tmp_path / "parts")
    assert (40, whole[1:]) == (whole[0].height, parts[1:])


def test_inputs_that_don_t_go_together_are_told_of_before_any_part_is_made(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_PART", 1)
    monkeypatch.setattr(tables, "BATCH", 3)
    monkeypatch.setattr(tables, "run_plan", lambda _: pytest.fail("a part was made"))
    write_rows(pl.DataFrame({"x": [1]}), tmp_path / "odd")
    with pytest.raises(forge.StepError, match="input `odd` has the columns `x`"):
        work("counselling.unify", Unify(), {**raw, "odd": tmp_path / "odd"}, tmp_path / "out")


def test_a_type_can_t_promise_to_be_kept_by_rows_and_given_parts():
    with pytest.raises(forge.ForgeError, match="both `rowwise` and `in_parts`"):
        Register("toy").transform("band", LengthBand, version="1", rowwise=True, in_parts=True)
