"""Token ids and loss masks: exactly the answers are learned."""

from __future__ import annotations

import json

import polars as pl
import pytest

import forge
from forge_llm.train import Tokens

ROW = {"id": "a", "instruction": "Label it.", "input": "我很焦虑", "output": '{"risk": 2}'}


def make(tmp_path, model, rows, part="train", **parameters):
    folder = tmp_path / "table"
    forge.write_rows(pl.DataFrame(rows), folder)
    out = tmp_path / "out"
    out.mkdir()
    run = forge.LocalRun(scratch=tmp_path)
    inputs = {"model": forge.Artifact("base", model), part: forge.Artifact("rows", folder)}
    Tokens(**parameters).make(inputs, out, run)
    made = forge.Artifact(part, out / part).rows().collect()
    return made, json.loads((out / "stats.json").read_text()), run


def learned(model, row):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    kept = zip(row["input_ids"], row["loss_mask"], strict=True)
    return tokenizer.decode([token for token, is_learned in kept if is_learned])


def test_what_is_learned_is_the_answer_and_its_end_mark(tmp_path, tiny_model):
    made, stats, _ = make(tmp_path, tiny_model, [ROW])
    row = made.row(0, named=True)
    assert learned(tiny_model, row) == '{"risk": 2}<|im_end|>'
    assert row["id"] == "a"
    assert row["n_tokens"] == len(row["input_ids"]) == stats["train"]["longest"]
    assert row["n_trained"] == len('{"risk": 2}') + 1 == stats["train"]["trained_tokens"]


def test_the_ids_are_those_of_the_models_own_template(tmp_path, tiny_model):
    from transformers import AutoTokenizer

    made, _, _ = make(tmp_path, tiny_model, [ROW], system="Be kind.")
    chat = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Label it.\n我很焦虑"},
        {"role": "assistant", "content": '{"risk": 2}'},
    ]
    expected = AutoTokenizer.from_pretrained(tiny_model).apply_chat_template(chat, return_dict=False)
    assert expected == made["input_ids"][0].to_list()


def test_every_answer_of_a_long_dialogue_is_learned_and_nothing_else(tmp_path, tiny_model):
    turns = [("user", "你好"), ("assistant", "嗯，请说"), ("user", "嗯，请说"), ("assistant", " 好。")]
    rows = [{"id": "d", "conversation": [{"role": role, "text": text} for role, text in turns]}]
    made, _, _ = make(tmp_path, tiny_model, rows)
    assert learned(tiny_model, made.row(0, named=True)) == "嗯，请说<|im_end|> 好。<|im_end|>"


def test_all_tokens_are_learned_where_that_is_asked_for(tmp_path, tiny_model):
    made, stats, _ = make(tmp_path, tiny_model, [ROW], train_on="all")
    assert all(made["loss_mask"][0])
    assert stats["train"]["trained_share"] == 1.0


def test_rows_that_are_too_long_are_dropped_and_counted(tmp_path, tiny_model):
    rows = [ROW, ROW | {"id": "b", "input": "长" * 200}]
    made, stats, run = make(tmp_path, tiny_model, rows, max_length=200)
    assert made["id"].to_list() == ["a"]
    assert run.drops == {"longer than `max_length`": 1}
    assert stats["train"]["dropped"] == 1


def test_a_row_that_is_too_long_is_an_error_where_that_is_asked_for(tmp_path, tiny_model):
    with pytest.raises(forge.StepError, match=r"row `a` of table `train` has \d+ tokens, `max_length` is 20"):
        make(tmp_path, tiny_model, [ROW], max_length=20, too_long="error")


def test_rows_without_an_answer_are_dropped_with_the_reason(tmp_path, tiny_model):
    made, _, run = make(
        tmp_path, tiny_model, [ROW, ROW | {"id": "b", "output": None}, ROW | {"id": "c", "output": " "}]
    )
    assert made["id"].to_list() == ["a"]
    assert run.drops == {"nothing to learn: no answer in the row": 1, "empty turn": 1}


def test_an_empty_table_is_named(tmp_path, tiny_model):
    with pytest.raises(forge.StepError, match="table `train` has no rows"):
        make(tmp_path, tiny_model, pl.DataFrame([ROW]).clear())


def test_a_table_without_chat_columns_is_told_what_it_has(tmp_path, tiny_model):
    with pytest.raises(forge.StepError, match="has none of the columns") as caught:
        make(tmp_path, tiny_model, [{"id": "a", "text": "x"}])
    assert caught.value.hint == "it has `id`, `text`"


def test_a_table_in_which_nothing_is_left_is_an_error(tmp_path, tiny_model):
    with pytest.raises(forge.StepError, match="no row of table `train` can be learned from: all 1 were dropped"):
        make(tmp_path, tiny_model, [ROW], max_length=10)


def test_a_model_without_a_template_is_refused_with_a_hint(tmp_path, save_tokenizer):
    model = tmp_path / "bare"
    save_tokenizer(model, template=None)
    with pytest.raises(forge.StepError, match="no chat template") as caught:
        make(tmp_path, model, [ROW])
    assert "instruct model" in str(caught.value.hint)


def test_a_template_that_refuses_a_role_costs_the_row_alone(tmp_path, save_tokenizer):
    model = tmp_path / "strict"
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    body = "{% for m in messages %}{{ m['role'] + ':' + m['content'] + '<|im_end|>' }}{% endfor %}"
    opening = "{% if add_generation_prompt %}assistant:{% endif %}"
    save_tokenizer(model, template=refusing + body + opening)
    rows = [ROW | {"system": None}, ROW | {"id": "b", "system": "Be kind."}]
    made, _, run = make(tmp_path, model, rows)
    assert made["id"].to_list() == ["a"]
    assert run.drops == {"refused by the chat template": 1}
    assert learned(model, made.row(0, named=True)) == '{"risk": 2}<|im_end|>'


def test_a_template_that_opens_with_reasoning_still_learns_the_answer(tmp_path, save_tokenizer):
    model = tmp_path / "thinking"
    body = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    opening = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
    save_tokenizer(model, template=body + opening)
    made, _, _ = make(tmp_path, model, [ROW])
    assert learned(model, made.row(0, named=True)) == '{"risk": 2}<|im_end|>'


def test_the_same_rows_give_the_same_bytes(tmp_path, tiny_model):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make(tmp_path / name, tiny_model, [ROW, ROW | {"id": "b", "output": "好"}])
    files = [(tmp_path / name / "out" / "train" / "rows.arrow").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


def test_weights_go_along_and_are_counted(tmp_path, tiny_model):
    rows = [ROW | {"id": str(n), "weight": weight} for n, weight in enumerate((5, 1, 5, 0, None, float("inf")))]
    made, stats, run = make(tmp_path, tiny_model, rows)
    assert [("0", 5.0), ("1", 1.0), ("2", 5.0)] == list(made.select("id", "weight").iter_rows())
    assert {"1": 1, "5": 2} == stats["train"]["weights"]
    assert {"its weight is no number above 0": 3} == run.drops


def test_tables_without_weights_have_the_columns_that_they_had(tmp_path, tiny_model):
    made, stats, _ = make(tmp_path, tiny_model, [ROW])
    assert ["id", "input_ids", "loss_mask", "n_tokens", "n_trained"] == made.columns
    assert "weights" not in stats["train"]
    (tmp_path / "b").mkdir()
    made, _, _ = make(tmp_path / "b", tiny_model, [ROW | {"weight": "60 kg"}], weight="")
    assert "weight" not in made.columns


def test_weights_of_another_column_are_taken_by_its_name(tmp_path, tiny_model):
    made, _, _ = make(tmp_path, tiny_model, [ROW | {"times": 2}], weight="times")
    assert [2.0] == made["weight"].to_list()


@pytest.mark.parametrize(
    ("column", "weight", "message"),
    [
        ("weight", "weight", "column `weight` of table `train` is taken for weights and holds no numbers"),
        ("weight", "times", "table `train` has no column `times`, which `weight` names"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path, tiny_model, column, weight, message):
    with pytest.raises(forge.StepError) as caught:
        make(tmp_path, tiny_model, [ROW | {column: "60 kg"}], weight=weight)
    assert message in str(caught.value)
