"""The student filter, trimming, and instructions."""

import json

import polars as pl
import pytest

import forge
from forge_counselling.instructions import INSTRUCTION, Instructions
from forge_counselling.student import Student, Trim

REPLY = "答" * 80


def rows(*conversations, source="CPsyCounD", topic="", tags=()):
    schema = {
        "id": pl.String,
        "source": pl.String,
        "topic": pl.String,
        "conversation": pl.List(pl.Struct({"role": pl.String, "text": pl.String})),
        "meta": pl.Struct({"tags": pl.List(pl.String), "likes": pl.Int64, "answers": pl.Int64}),
    }
    meta = {"tags": list(tags), "likes": 0, "answers": 0}
    return pl.LazyFrame(
        [
            {"id": str(place), "source": source, "topic": topic, "conversation": turns(*texts), "meta": meta}
            for place, texts in enumerate(conversations)
        ],
        schema=schema,
    )


def turns(*texts):
    return [{"role": ("user", "assistant")[place % 2], "text": text} for place, text in enumerate(texts)]


def texts(table):
    return [[turn["text"] for turn in conversation] for conversation in table["conversation"]]


def test_a_dialogue_needs_a_word_of_student_life_anywhere():
    table = Student().transform(rows(("你好", "你在宿舍吗"), ("你好", "嗯"))).collect()
    assert table["__dropped__"].to_list() == [None, "no word of student life"]
    assert Student().transform(rows(("你好", "嗯"), topic="大学")).collect()["__dropped__"].to_list() == [None]


def test_a_question_needs_a_student_and_a_mental_word_or_tag():
    asked = (("高中考试", "嗯"), ("高中考试压力", "嗯"), ("压力", "高中"))
    untagged = Student().transform(rows(*asked, source="PsyQA")).collect()["__dropped__"].to_list()
    assert untagged == ["no mental topic", None, "no word of student life"]
    tagged = Student().transform(rows(*asked, source="PsyQA", tags=["校园"])).collect()["__dropped__"].to_list()
    assert tagged == [None, None, "no word of student life"]


def test_other_words_choose_other_rows():
    step = Student(words=("老板",), mental_words=(), tags=("职场",))
    assert step.transform(rows(("老板", "嗯"))).collect()["__dropped__"].to_list() == [None]
    asked = step.transform(rows(("老板", "嗯"), source="PsyQA", tags=["职场"])).collect()
    assert asked["__dropped__"].to_list() == [None]


def test_short_replies_leave_and_short_turns_of_the_client_stay():
    table = Trim().transform(rows(("好", "答" * 79, "嗯", REPLY))).collect()
    assert texts(table) == [["好", "嗯", REPLY]]
    assert table["__tally__:reply under 80 characters"].to_list() == [1]


def test_the_tail_keeps_twelve_turns():
    table = Trim().transform(rows([f"{place:03d}{'字' * 80}" for place in range(16)])).collect()
    assert [text[:3] for text in texts(table)[0]] == [f"{place:03d}" for place in range(4, 16)]
    assert table["__tally__:turn before the tail"].to_list() == [4]


def test_the_tail_keeps_two_thousand_characters_and_the_last_turn_always():
    exact = Trim().transform(rows(("一" * 900, "二" * 1000, "三" * 100))).collect()
    assert [len(text) for text in texts(exact)[0]] == [900, 1000, 100]
    over = Trim().transform(rows(("一" * 901, "二" * 1000, "三" * 100))).collect()
    assert [len(text) for text in texts(over)[0]] == [1000, 100]
    long = Trim().transform(rows(("一", "二" * 3000))).collect()
    assert [len(text) for text in texts(long)[0]] == [3000]
    assert long["__dropped__"].to_list() == ["one turn left"]


def test_a_question_keeps_its_length():
    table = Trim().transform(rows(("一" * 3000, REPLY), source="PsyQA")).collect()
    assert texts(table) == [["一" * 3000, REPLY]]


def test_what_is_left_without_a_reply_is_dropped():
    table = Trim().transform(rows(("一", "短", "二"), ("一", REPLY))).collect()
    assert table["__dropped__"].to_list() == ["no reply left", None]


LABELS = {"depression_level": 2, "anxiety_level": 1, "risk_flag": "none", "student_distress_score": 7}


def labelled(table, **labels):
    values = {**LABELS, **labels}
    return table.with_columns(
        *(pl.lit(value, pl.String if name == "risk_flag" else pl.Int64).alias(name) for name, value in values.items())
    )


def test_the_output_is_json_with_the_four_keys_in_order():
    table = Instructions().transform(labelled(rows(("你好", "我在")))).collect()
    assert table.columns == ["id", "source", "instruction", "input", "output", "__dropped__"]
    row = table.row(0, named=True)
    assert row["input"] == "来访者：你好\n咨询师：我在"
    assert row["instruction"] == INSTRUCTION
    assert row["output"] == json.dumps(LABELS)
    assert list(json.loads(row["output"])) == list(LABELS)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"risk_flag": None}, "no labels"),
        ({"depression_level": None}, "no labels"),
        ({"depression_level": 4}, "label out of range"),
        ({"anxiety_level": -1}, "label out of range"),
        ({"risk_flag": "high"}, "label out of range"),
        ({"student_distress_score": 10}, "label out of range"),
        ({}, None),
    ],
)
def test_rows_without_labels_in_range_are_dropped_with_a_reason(labels, reason):
    table = Instructions().transform(labelled(rows(("你好", "我在")), **labels)).collect()
    assert table["__dropped__"].to_list() == [reason]


def test_a_missing_label_column_is_an_error_with_its_name():
    with pytest.raises(forge.StepError, match="no label column `risk_flag`"):
        Instructions().transform(labelled(rows(("你好", "我在"))).drop("risk_flag"))


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        (None, "来访者：一一\n咨询师：二二\n来访者：三三"),
        (20, "来访者：一一\n咨询师：二二\n来访者：三三"),
        (19, "咨询师：二二\n来访者：三三"),
        (13, "咨询师：二二\n来访者：三三"),
        (12, "来访者：三三"),
        (6, "来访者：三三"),
        (5, "来访者：3"),
    ],
)
def test_the_input_keeps_whole_turns_from_its_end(characters, expected):
    table = rows(("一一", "二二", "三3" if characters == 5 else "三三"))
    found = Instructions(characters=characters).transform(labelled(table)).collect()["input"].item()
    assert found == expected
    assert characters is None or len(found) <= characters


def test_an_own_instruction_is_used():
    table = Instructions(instruction="评估").transform(labelled(rows(("你好", "我在")))).collect()
    assert table["instruction"].to_list() == ["评估"]


def test_the_counsellor_s_words_may_be_left_out():
    import polars as pl

    rows = pl.LazyFrame(
        {
            "id": ["1", "2"],
            "source": ["a", "a"],
            "conversation": [
                [{"role": "user", "text": "累"}, {"role": "assistant", "text": "嗯"}, {"role": "user", "text": "困"}],
                [{"role": "assistant", "text": "嗯"}],
            ],
            "depression_level": [1, 0],
            "anxiety_level": [0, 0],
            "risk_flag": ["none", "none"],
            "student_distress_score": [1, 0],
        }
    )
    made = Instructions(turns="user").transform(rows).collect()
    assert made["input"].to_list() == ["来访者：累\n来访者：困", ""]
    assert made["__dropped__"].to_list() == [None, "no conversation"]
