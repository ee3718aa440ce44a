"""The real slices through the general sources: every quirk that their README tells."""

import json
import re
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

import forge
from forge_counselling.dialogues import CPsyCounD, CPsyCounE
from forge_counselling.questions import Questions
from forge_files.csv_source import FilesCsv
from forge_files.json_source import FilesJson, FilesJsonl
from forge_files.text_source import FilesText
from forge_llamafactory.importer import Dataset
from forge_text.dialogue import Dialogue

DATA = Path(__file__).parents[2].parent / "shared/data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")


@pytest.fixture
def read(tmp_path):
    """Read real files and refuse any reject."""

    def read(source, pattern, **parameters):
        found = list(source(path=forge.Files.match(pattern, DATA), **parameters).read(forge.LocalRun(tmp_path)))
        assert [] == [item for item in found if isinstance(item, forge.Reject)]
        return pl.concat(found)

    return read


def kept(table, step):
    return forge.kept(step.transform(table.lazy())).select(pl.exclude("^__.*$")).collect()


def turns(row):
    return [(turn["role"], turn["text"]) for turn in row["conversation"]]


def test_cpsycound_is_one_text_whatever_its_line_ends(read):
    files = [path.read_bytes() for path in (DATA / "counselling/CPsyCounD/Data").iterdir()]
    assert {True: 1649, False: 822} == Counter(b"\r\n" in data for data in files)
    table = read(CPsyCounD, "counselling/CPsyCounD/Data/*.txt")
    assert (2471, 2471) == (table.height, table["id"].n_unique())
    assert not any("\r" in line or not line.strip() for lines in table["lines"] for line in lines)
    same = table.filter(pl.col("id").is_in(["CPsyCounD_case_2274", "CPsyCounD_case_2301"]))["lines"]
    assert same[0].to_list() == same[1].to_list()


def test_cpsycoune_topics_hold_blanks_and_ampersands(read):
    table = read(CPsyCounE, "counselling/CPsyCounE/*/*.json")
    assert (36, 9) == (table.height, table["topic"].n_unique())
    assert {"Emotion&Stress", "Love&Marriage", "Family Relationship"} < set(table["topic"])


def test_cpsycound_json_does_not_multiply_its_dialogues(read):
    step = Dialogue(form="history", column="history", source="J", id=("file", "n"))
    where = {"file_column": "file", "index_column": "n"}
    last = kept(read(FilesJson, "counselling/CPsyCounD_json/CPsyCounD.json", **where), step)
    cases = read(FilesJson, "counselling/CPsyCounD_json/per_case/*.json", **where)
    whole = kept(cases, step)
    assert (150, 161, 20) == (last.height, cases.height, whole.height)
    assert set(cases.group_by("file").agg(pl.col("n").max()).sort("file").iter_rows()) == {
        (f"{identity.removeprefix('J_').rpartition('_')[0]}.json", int(identity.rpartition("_")[2]))
        for identity in whole["id"]
    }
    known = [turns(row) for row in last.iter_rows(named=True)]
    assert all(turns(row) in known for row in whole.iter_rows(named=True))


def test_smile_files_are_one_dialogue_each(read):
    table = read(FilesJson, "counselling/SMILE/data/*.json", each="file", file_column="file")
    step = Dialogue(form="turns", column="value", source="SMILE", id=("file",))
    dialogues = kept(table, step)
    assert (300, 300) == (dialogues.height, dialogues["id"].n_unique())
    joined = table["value"].list.len() != dialogues["conversation"].list.len()
    assert 1 == joined.sum()  # two turns of one role in a row


def test_emollm_has_its_system_in_the_first_turn_only(read):
    table = read(FilesJson, "counselling/EmoLLM/data.json")
    dialogues = kept(table, Dialogue(form="pairs", source="EmoLLM"))
    assert (400, 0) == (dialogues.height, dialogues["system"].null_count())
    assert {"user", "assistant"} == {role for row in dialogues.iter_rows(named=True) for role, _ in turns(row)}


def test_esconv_speakers_are_roles_and_their_line_ends_go(read):
    table = read(FilesJson, "counselling/ESConv/*.json")
    dialogues = kept(table, Dialogue(form="turns", column="dialog", role="speaker", source="E", topic="problem_type"))
    assert (40, table["problem_type"].to_list()) == (dialogues.height, dialogues["topic"].to_list())
    assert [("user", "Hey there\nHow are you?"), ("assistant", "hi\nI AM FINE, AND YOU")] == turns(
        dialogues.row(0, named=True)
    )[:2]
    assert table["dialog"].list.len().sum() > dialogues["conversation"].list.len().sum()


def test_counsel_chat_has_answers_over_several_lines_and_rows(read):
    table = read(FilesCsv, "counselling/counsel-chat/*.csv", index_column="line")
    assert ["line", "column_1", "questionID"] == table.columns[:3]
    assert [378, 83, 23] == [table.filter(pl.col("upvotes") == n).height for n in range(3)]
    assert table["line"].max() > 501
    assert table["questionText"].str.contains("\n").any()
    step = Questions(source="c", title="questionTitle", answer="answerText", likes="upvotes", group=("questionID",))
    questions = kept(table, step)
    assert (214, 500) == (questions.height, questions["answers"].list.len().sum())
    assert table["upvotes"].sum() == questions["answers"].explode().struct.field("likes").sum()


def test_medical_dialogue_is_gb18030(read):
    table = read(FilesCsv, "counselling/medical-dialogue/*.csv")
    assert (500, ["department", "title", "ask", "answer"]) == (table.height, table.columns)
    assert "心血管科" == table["department"][0]
    assert not any(table[name].str.contains("\ufffd").any() for name in table.columns)
    assert table["answer"].null_count() == 0


def test_personal_data_examples_keep_their_offsets(read):
    table = read(FilesJsonl, "counselling/pii_examples/*.jsonl")
    assert 25 == table.height
    for row in table.iter_rows(named=True):
        assert all(row["text"][span["start"] : span["end"]] == span["text"] for span in row["spans"])


def test_prophet_files_have_cr_alone_nan_and_quoted_headers(read):
    air = read(FilesCsv, "timeseries/prophet/example_air_passengers.csv")
    temperatures = read(FilesCsv, "timeseries/prophet/example_yosemite_temps.csv")
    log = read(FilesCsv, "timeseries/prophet/example_wp_log_R.csv")
    assert (144, {"ds": "1949-01-01", "y": 112}) == (air.height, air.row(0, named=True))
    assert (18721, 12, pl.Float64) == (temperatures.height, temperatures["y"].null_count(), temperatures["y"].dtype)
    assert (["ds", "y"], False) == (log.columns, log["ds"].is_sorted())


def test_plant_series_have_an_index_column_without_a_name(read):
    table = read(FilesCsv, "timeseries/chatts/timeseries/gdsh/**/*.csv", file_column="file")
    assert {"file", "column_1", "date", "category", "value"} == set(table.columns)


def test_one_set_of_texts_is_the_same_in_four_forms(read):
    forms = {
        "json": read(FilesJson, "generic/text/train.json"),
        "jsonl": read(FilesJsonl, "generic/text/train.jsonl"),
        "txt": read(FilesText, "generic/text/train.txt", each="line", unescape=True),
        "oneline": read(FilesText, "generic/text/train.oneline.txt", each="line"),
    }
    assert forms["json"].equals(forms["jsonl"])
    assert forms["json"].equals(forms["txt"])
    found = {}
    for name, table in forms.items():
        step = Dialogue(form="text", column="text", source="t", labels=("用户", "助手"), inline=name == "oneline")
        rows = kept(table, step).iter_rows(named=True)
        found[name] = [[(role, " ".join(re.split(r"\s+", text))) for role, text in turns(row)] for row in rows]
    assert 281 == len(found["json"])
    assert found["json"] == found["jsonl"] == found["txt"] == found["oneline"]


def test_seed_tasks_have_nested_instances(read):
    columns = {"task": "instruction", "answer": "instances.0.output"}
    table = read(FilesJsonl, "generic/alpaca/seed_tasks.jsonl", columns=columns)
    assert (175, 0) == (table.height, table["answer"].null_count())


def test_documents_a_line_and_parts_of_messages_are_read(read):
    assert 6 == read(FilesText, "generic/llamafactory/wiki_demo.txt", each="line").height
    assert 60 == read(FilesJsonl, "generic/llamafactory/c4_demo.jsonl").height
    parts = read(FilesJsonl, "generic/llamafactory/v1_sft_demo.jsonl")
    assert (200, "hi") == (parts.height, parts["messages"][0][0]["content"][0]["value"])


IMPORTED = {"identity": 91, "alpaca_en_demo": 250, "alpaca_zh_demo": 700}
REFUSED = {
    "glaive_toolcall_zh_demo": "`columns.tools`: its tool calls can't be trained on here",
    "mllm_demo": "`columns.images`: its pictures can't be trained on here",
    "mllm_video_demo": "`columns.videos`: its videos can't be trained on here",
    "mllm_audio_demo": "`columns.audios`: its sounds can't be trained on here",
    "dpo_zh_demo": "`ranking`: its ranked answers are not for training on one answer",
    "kto_en_demo": "`columns.kto_tag`: its judged answers can't be trained on here",
    "wiki_demo": "plain text has no answers, it is for pre-training",
    "c4_demo": "it has no answers in `output`, it is for pre-training",
    "belle_math": "it lies on a hub (`hf_hub_url`)",
}


@pytest.mark.parametrize("name", json.loads((DATA / "generic/llamafactory/dataset_info.json").read_bytes())
                         if DATA.is_dir() else [])  # fmt: skip
def test_each_set_of_llamafactory_s_registry_is_imported_or_refused_with_a_reason(name, tmp_path):
    info = DATA / "generic/llamafactory/dataset_info.json"
    step = Dataset(info=forge.File("file", info), dataset=(name,))
    run = forge.LocalRun(tmp_path)
    if name not in IMPORTED:
        with pytest.raises(forge.StepError, match=f"data set `{re.escape(name)}` can't be imported: ") as caught:
            (step.files(), list(step.read(run)))
        assert REFUSED.get(name, "") in caught.value.message
        return
    assert [f"{name}.json"] == [file.name for file in step.files()]
    [rows] = step.read(run)
    assert IMPORTED[name] == rows.height
    assert (name == "identity") == any("which nobody has filled in" in message for message in run.messages)
