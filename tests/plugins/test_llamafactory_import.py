"""LLaMA-Factory's registry: what is imported as conversations, and what is refused before anything runs."""

import json
import os

import pytest

import forge
from forge_llamafactory.importer import Dataset

SHAREGPT = {"formatting": "sharegpt", "columns": {"messages": "m", "system": "s"}, "tags": {"user_tag": "客人"}}


@pytest.fixture
def project(tmp_path):
    def write(info, **files):
        (tmp_path / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
        for name, data in files.items():
            path = tmp_path / name.replace("__", ".")
            path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")

        def read(*names):
            step = Dataset(info=forge.File("file", tmp_path / "dataset_info.json"), dataset=names)
            step.files()
            rows, rejects = [], []
            for item in step.read(forge.LocalRun(tmp_path)):
                if isinstance(item, forge.Reject):
                    rejects.append((item.where, item.index, item.reason))
                else:
                    rows += item.to_dicts()
            return rows, rejects

        return read

    return write


def said(row):
    return [(turn["role"], turn["text"]) for turn in row["conversation"]]


def test_alpaca_has_query_history_and_system_under_names_of_its_own(project):
    columns = {"prompt": "q", "query": "more", "response": "a", "history": "h", "system": "s"}
    record = {"q": "三", "more": "四", "a": "五", "h": [["一", "二"]], "s": "你是厨师"}
    read = project({"d": {"file_name": "d.json", "columns": columns}}, d__json=[record, {**record, "h": None, "s": ""}])
    rows, rejects = read("d")
    assert [] == rejects
    assert ["d_1", "d", "你是厨师"] == [rows[0][name] for name in ("id", "source", "system")]
    assert [("user", "一"), ("assistant", "二"), ("user", "三\n四"), ("assistant", "五")] == said(rows[0])
    assert (None, [("user", "三\n四"), ("assistant", "五")]) == (rows[1]["system"], said(rows[1]))


def test_a_reject_shows_its_record(project, tmp_path):
    bad = {"m": [{"from": "observation", "value": "二"}], "s": "礼貌"}
    project({"d": {"file_name": "d.jsonl", **SHAREGPT}}, d__jsonl=json.dumps(bad))
    step = Dataset(info=forge.File("file", tmp_path / "dataset_info.json"), dataset=("d",))
    (reject,) = (item for item in step.read(forge.LocalRun(tmp_path)) if isinstance(item, forge.Reject))
    assert ("d.jsonl", 1, bad) == (reject.where, reject.index, json.loads(reject.excerpt))


def test_sharegpt_has_tags_and_rejects_what_it_does_not_know(project):
    def record(*turns, system=None):
        return {"m": [{"from": role, "value": text} for role, text in turns], "s": system}

    records = [
        record(("客人", "一"), ("gpt", "二"), system="礼貌"),
        record(("system", "简短"), ("客人", "一"), ("gpt", "二")),
        record(("客人", "一"), ("observation", "二")),
        record(("客人", "一"), ("客人", "二"), ("gpt", "三")),
    ]
    read = project({"d": {"file_name": "d.jsonl", **SHAREGPT}}, d__jsonl="\n".join(map(json.dumps, records)))
    rows, rejects = read("d")
    assert [("礼貌", [("user", "一"), ("assistant", "二")]), ("简短", [("user", "一"), ("assistant", "二")])] == [
        (row["system"], said(row)) for row in rows
    ]
    assert [("d.jsonl", 3, "unknown role"), ("d.jsonl", 4, "a role twice in a row")] == rejects


def test_several_sets_and_other_forms_of_file_are_read(project):
    info = {"a": {"file_name": "a.csv"}, "b": {"file_name": "b.json"}}
    read = project(
        info, a__csv="instruction,input,output\n一,,二\n", b__json='{"instruction": "三", "output": "四"}\n{'
    )
    rows, rejects = read("a", "b")
    assert [("a_1", "a"), ("b_1", "b")] == [(row["id"].replace("a_2", "a_1"), row["source"]) for row in rows]
    assert [("b.json", 2, "broken JSON")] == rejects


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"hf_hub_url": "x/y"}, "it lies on a hub (`hf_hub_url`)"),
        ({"file_name": "d.json", "ranking": True}, "`ranking`: its ranked answers"),
        ({"file_name": "d.json", "columns": {"tools": "t"}}, "`columns.tools`: its tool calls"),
        ({"file_name": "d.json", "columns": {"images": "t"}}, "`columns.images`: its pictures"),
        ({"file_name": "d.json", "formatting": "openai"}, "its formatting `openai` is neither"),
        ({"file_name": "d.json", "num_samples": 3}, "`num_samples`: its sample is drawn anew"),
        ({"file_name": "e.json"}, "there is no file `e.json` beside the registry"),
        ({"file_name": "dataset_info.txt"}, "there is no file `dataset_info.txt`"),
        ({"file_name": "d.txt"}, "plain text has no answers"),
        ({"file_name": "d.png"}, "`d.png` is none of .json, .jsonl, .csv, .parquet"),
        ({"columns": {}}, "its entry names no `file_name`"),
        ({"file_name": "d.json", "columns": 3}, "`columns` and `tags` must hold strings"),
        ([], "its entry is not a table"),
    ],
)
def test_what_can_t_be_imported_is_refused_by_name_before_anything_runs(project, tmp_path, entry, why):
    project({"d": entry}, d__json="[]", d__txt="x", d__png="x")
    step = Dataset(info=forge.File("file", tmp_path / "dataset_info.json"), dataset=("d",))
    with pytest.raises(forge.StepError) as caught:
        step.files()
    assert f"data set `d` can't be imported: {why}" in caught.value.message


def test_a_misspelt_set_is_told(project, tmp_path):
    project({"cooking": {"file_name": "d.json"}})
    with pytest.raises(forge.StepError, match=r"`dataset_info.json` has no data set `coking`") as caught:
        Dataset(info=forge.File("file", tmp_path / "dataset_info.json"), dataset=("coking",)).files()
    assert "did you mean `cooking`?" == caught.value.hint


def test_a_build_imports_and_a_changed_file_is_noticed(forge_project):
    forge_project.write("d/dataset_info.json", json.dumps({"d": {"file_name": "d.json"}}))
    forge_project.write("d/d.json", json.dumps([{"instruction": "一", "output": "二"}]))
    forge_project.manifest('[sources.d]\nuse = "llamafactory.dataset"\ninfo = "d/dataset_info.json"\ndataset = ["d"]\n')
    first = forge_project.build().steps["d"]
    assert ("ran", 1) == (first.status, first.rows_out)
    assert "hit" == forge_project.build().statuses["d"]
    forge_project.write("d/d.json", json.dumps([{"instruction": "一", "output": "二"}] * 2))
    second = forge_project.build().steps["d"]
    assert ("ran", 2) == (second.status, second.rows_out)
    forge_project.write("d/dataset_info.json", json.dumps({"d": {"hf_hub_url": "x/y"}}))
    refused = forge_project.build()
    assert (2, True) == (refused.exit_code, "forge.toml:2: step `d`: data set `d` can't be imported" in refused.stderr)


@pytest.mark.parametrize("way", ["from the project", "from the root", "by a link"])
def test_a_registry_leads_out_of_the_project_only_where_a_person_allows_it(forge_project, tmp_path_factory, way):
    secret = tmp_path_factory.mktemp("outside") / "x.json"
    secret.write_text(json.dumps([{"instruction": "一", "output": "二"}]), encoding="utf-8")
    (forge_project.root / "d").mkdir()
    (forge_project.root / "d/link.json").symlink_to(secret)
    beside = os.path.relpath(secret, forge_project.root / "d")
    name = {"from the project": beside, "from the root": str(secret), "by a link": "link.json"}[way]
    forge_project.write("d/dataset_info.json", json.dumps({"d": {"file_name": name}}))
    forge_project.manifest('[sources.d]\nuse = "llamafactory.dataset"\ninfo = "d/dataset_info.json"\ndataset = ["d"]\n')
    refused = forge_project.build()
    assert (2, True) == (refused.exit_code, "which leads out of the project" in refused.stderr), refused.stderr
    allowed = forge_project.build(FORGE_ALLOW=str(secret.parent))
    assert ("ran", 1) == (allowed.steps["d"].status, allowed.steps["d"].rows_out)


def test_a_registry_that_a_person_names_brings_the_files_beside_it(forge_project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    (folder / "sets").mkdir()
    rows = json.dumps([{"instruction": "一", "output": "二"}])
    (folder / "sets/d.json").write_text(rows, encoding="utf-8")
    (folder / "near.json").write_text(rows, encoding="utf-8")
    info = folder / "sets/dataset_info.json"
    info.write_text(json.dumps({"d": {"file_name": "d.json"}, "near": {"file_name": "../near.json"}}))
    forge_project.manifest('[sources.d]\nuse = "llamafactory.dataset"\ninfo = "-"\ndataset = ["d"]\n')
    given = ("--set", f"d.info={info}")
    assert "ran" == forge_project.build(*given).statuses["d"]
    assert "leads out of the project" in forge_project.build(*given, "--set", 'd.dataset=["near"]').stderr
