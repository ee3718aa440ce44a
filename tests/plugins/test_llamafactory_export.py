"""What is written for LLaMA-Factory fits together, and what doesn't is refused."""

import json

import polars as pl
import pytest

import forge
from forge_llamafactory.exporter import Export, Training, as_yaml

CHATTS = {"form": "chatts", "template": "chatts", "name": "points", "model": "models/ChatTS"}
ALPACA = {"form": "alpaca", "template": "qwen3", "name": "student", "model": "models/Qwen3"}
SHAREGPT = ALPACA | {"form": "sharegpt"}
SAMPLE = {"input": "<ts><ts/> and <ts><ts/>?", "output": "{}", "timeseries": [[1.0, 2.5], [3.0]]}
STUDENT = {"id": "1", "instruction": "judge", "input": "a talk", "output": "{}"}


def export(folder, rows, **parameters):
    """Return the entry, the samples and the training file's text."""
    table, out = folder / "table", folder / "out"
    out.mkdir()
    forge.write_rows(pl.DataFrame(rows, strict=False), table)
    run = forge.LocalRun(folder)
    Export(**parameters).export({"data": forge.Artifact("data", table)}, out, run)
    info = json.loads((out / "dataset_info.json").read_text())
    [entry] = info.values()
    assert [parameters["name"]] == list(info)
    lines = (out / entry["file_name"]).read_text().splitlines()
    return entry, [json.loads(line) for line in lines], (out / "train.yaml").read_text(), run.messages


def test_chatts_gets_the_columns_of_its_fork(tmp_path):
    entry, samples, train, _ = export(tmp_path, [SAMPLE | {"id": "a"}], **CHATTS)
    columns = {"prompt": "input", "response": "output", "timeseries": "timeseries"}
    assert {"file_name": "data/points.jsonl", "columns": columns} == entry
    assert [SAMPLE] == samples
    assert '\ntemplate: "chatts"\n' in train


def test_the_student_set_goes_out_as_alpaca(tmp_path):
    entry, samples, _, _ = export(tmp_path, [STUDENT], **ALPACA)
    assert {"prompt": "instruction", "query": "input", "response": "output"} == entry["columns"]
    assert [{name: STUDENT[name] for name in ("instruction", "input", "output")}] == samples


def test_the_student_set_goes_out_as_sharegpt(tmp_path):
    entry, samples, _, _ = export(tmp_path, [STUDENT | {"system": "be brief"}], **SHAREGPT)
    tags = {
        "role_tag": "from",
        "content_tag": "value",
        "user_tag": "human",
        "assistant_tag": "gpt",
        "system_tag": "system",
    }
    assert ("sharegpt", {"messages": "conversations"}, tags) == (entry["formatting"], entry["columns"], entry["tags"])
    turns = [("system", "be brief"), ("human", "judge\na talk"), ("gpt", "{}")]
    assert [{"conversations": [{"from": role, "value": text} for role, text in turns]}] == samples


@pytest.mark.parametrize(("column", "key"), [("conversation", "text"), ("messages", "content")])
def test_conversations_go_out_turn_by_turn(tmp_path, column, key):
    talk = [{"role": role, key: text} for role, text in [("user", "a"), ("assistant", "b")] * 2]
    _, [sample], _, _ = export(tmp_path, [{column: talk}], **SHAREGPT)
    assert [("human", "a"), ("gpt", "b")] * 2 == [(turn["from"], turn["value"]) for turn in sample["conversations"]]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (CHATTS | {"template": "qwen"}, "`template` must be `chatts` where `form` is `chatts`, got `qwen`"),
        (ALPACA | {"template": "qwen_3"}, "no name that LLaMA-Factory knows: `qwen_3`, did you mean `qwen3`"),
        (ALPACA | {"template": "chatts"}, "no name that LLaMA-Factory knows: `chatts`"),
        (ALPACA | {"max_samples": 0}, "max_samples.* must be >= 1"),
        (ALPACA | {"name": "my set"}, "name.* must match regex"),
        (ALPACA | {"val_size": 1.0}, "val_size.* must be < 1"),
    ],
)
def test_what_costs_a_day_of_training_is_refused_before_anything_runs(parameters, said):
    with pytest.raises(ValueError, match=said):
        Export(**parameters)


def test_a_template_of_a_later_release_can_be_named():
    assert "new" == Export(**(ALPACA | {"template": "new", "more_templates": ("new",)})).template


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (SAMPLE | {"input": "<ts><ts/>?"}, r"sample 2 of `points` .* 1 `<ts><ts/>` in `input` for 2 series"),
        (SAMPLE | {"timeseries": [[float("nan")], [1.0]]}, "a number that is not finite"),
        (SAMPLE | {"timeseries": [[float("inf")], [1.0]]}, "a number that is not finite"),
        (SAMPLE | {"timeseries": [[], [1.0]]}, "`timeseries` holds no points"),
        (SAMPLE | {"output": " "}, "`output` is empty"),
        (SAMPLE | {"output": "<ts><ts/>"}, "a `<ts>` that stands for no series"),
    ],
)
def test_a_sample_that_cannot_be_trained_on_is_named(tmp_path, sample, said):
    with pytest.raises(forge.StepError, match=said):
        export(tmp_path, [SAMPLE, sample], **CHATTS)


@pytest.mark.parametrize(
    ("rows", "parameters", "said"),
    [
        ([STUDENT], CHATTS, "form `chatts` needs a column `timeseries`, the table has `id`, `instruction`"),
        ([{"instruction": "x", "output": 3}], ALPACA, "column `output` holds Int64 where form `alpaca` needs String"),
        ([STUDENT], ALPACA | {"least": 2}, "the set has 1 samples where `least` asks for 2"),
        ([STUDENT], ALPACA | {"val_size": 0.5}, "no sample is left to train on"),
        ([{"messages": [{"role": "user", "content": "a"}]}], SHAREGPT, "turns do not alternate"),
    ],
)
def test_a_table_that_is_no_set_is_refused(tmp_path, rows, parameters, said):
    with pytest.raises(forge.StepError, match=said):
        export(tmp_path, rows, **parameters)


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(forge.StepError, match="the set has 0 samples"):
        export(tmp_path, pl.DataFrame(STUDENT).clear(), **ALPACA)


def test_a_sample_longer_than_the_cut_is_warned_of(tmp_path):
    _, _, _, messages = export(tmp_path, [STUDENT | {"input": "x" * 99}], **(ALPACA | {"cutoff_len": 50}))
    assert any("the longest sample has 106 characters" in message for message in messages)


def test_the_training_file_is_yaml_that_keeps_numbers_numbers():
    yaml = pytest.importorskip("yaml")
    settings = Export(**ALPACA, max_samples=3, val_size=0.1, training=Training(learning_rate=1e-5)).settings()
    read = yaml.safe_load(as_yaml(settings))
    assert settings == read
    assert ("student", "qwen3", 3, 1e-5) == tuple(
        read[name] for name in ("dataset", "template", "max_samples", "learning_rate")
    )
