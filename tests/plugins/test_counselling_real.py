"""The real slices, beside the plain script that fixes the rules."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import forge
from forge_counselling.dialogues import CPsyCounD, CPsyCounE
from forge_counselling.psyqa import PsyQA
from forge_counselling.student import Student, Trim
from forge_counselling.unify import Unify
from forge_text.split import Deduplicate

SHARED = Path(__file__).parents[2].parent / "shared"
DATA = SHARED / "data/counselling"
PLAIN = SHARED / "bench/pipeline/clean_baseline.py"

pytestmark = pytest.mark.slow

OTHER_SPEAKERS = {
    "CPsyCounD_case_1561",  # 小强 speaks: the plain script puts his words into the counsellor's mouth
    "CPsyCounD_case_1571",  # 父母
    "CPsyCounD_case_1720",  # 娜娜的母亲
    "CPsyCounD_case_2463",  # A and B, a couple played by the client
    "CPsyCounD_case_563",  # B
    "CPsyCounD_case_76",  # 妈妈
}
SOURCES = {
    "psyqa": (PsyQA, "PsyQA/*.json"),
    "cpsycound": (CPsyCounD, "CPsyCounD/Data/*.txt"),
    "cpsycoune": (CPsyCounE, "CPsyCounE/*/*.json"),
}


def kept(rows):
    return forge.kept(rows).select(pl.exclude("^__.*$")).collect()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    if not (DATA.is_dir() and PLAIN.is_file()):
        pytest.skip("the shared data and the plain script are not here")
    run = forge.LocalRun(scratch=tmp_path_factory.mktemp("run"))
    tables, rejects = {}, []
    for name, (step, pattern) in SOURCES.items():
        found = list(step(path=forge.Files.match(pattern, DATA)).read(run))
        tables[name] = pl.concat([item for item in found if isinstance(item, pl.DataFrame)]).lazy()
        rejects += [item for item in found if isinstance(item, forge.Reject)]
    unified = kept(Unify().merge(tables))
    trimmed = kept(Trim().transform(kept(Student().transform(unified.lazy())).lazy()))
    return rejects, {"unified": unified, "unified_min": trimmed}


@pytest.fixture(scope="module")
def plain(tmp_path_factory, built):
    out = tmp_path_factory.mktemp("plain")
    command = [sys.executable, PLAIN, "--source", DATA, "--out", out]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    return out


def test_no_real_file_is_rejected_and_the_counts_are_those_of_the_slices(built):
    rejects, tables = built
    assert rejects == []
    assert Unify().statistics(tables["unified"].lazy())["by_source"] == {
        "CPsyCounD": 2471,
        "CPsyCounE": 36,
        "PsyQA": 894,
    }


@pytest.mark.parametrize("name", ["unified", "unified_min"])
def test_tables_equal_the_plain_scripts_row_for_row_but_where_others_speak(built, plain, name):
    lines = (plain / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    expected = {row["id"]: row for row in map(json.loads, lines)}
    found = {row["id"]: row for row in built[1][name].to_dicts()}
    different = {key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)}
    assert different <= OTHER_SPEAKERS
    assert [key for key in found if key not in different] == [key for key in expected if key not in different]


@pytest.mark.parametrize(("name", "stats"), [("unified", "stats.json"), ("unified_min", "stats_min.json")])
def test_statistics_equal_the_plain_scripts_but_for_those_rows(built, plain, name, stats):
    lines = (plain / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["id"] not in OTHER_SPEAKERS]
    found = Trim().statistics(built[1][name].lazy().filter(~pl.col("id").is_in(list(OTHER_SPEAKERS))))
    assert found["total"] == len(rows)
    turns = [len(row["conversation"]) for row in rows if row["source"] == "CPsyCounD"]
    assert found["avg_turns"]["CPsyCounD"] == round(sum(turns) / len(turns), 4)
    assert set(json.loads((plain / stats).read_text(encoding="utf-8"))) <= set(found)


def test_identical_files_are_found_and_the_first_is_kept(built):
    table = built[1]["unified"]
    marked = Deduplicate(column="conversation", near=1.0).transform(table.lazy()).collect()
    repeated = marked.filter(pl.col("__dropped__").is_not_null())["id"].to_list()
    # The two files are equal byte for byte, and to case_1762 but for white space.
    assert repeated == ["CPsyCounD_case_2274", "CPsyCounD_case_2301"]
