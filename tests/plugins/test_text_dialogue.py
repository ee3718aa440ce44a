"""Dialogues of every shape to one: roles by every name, systems, records that contain one another."""

import polars as pl
import pytest

import forge
from forge_text.dialogue import Dialogue
from forge_text.roles import roles_of


def told(rows, **parameters):
    parameters = {"source": "X", **parameters}
    made = Dialogue(**parameters).transform(pl.DataFrame(rows, infer_schema_length=None).lazy()).collect()
    kept = made.filter(pl.col("__dropped__").is_null())
    return kept.to_dicts(), made["__dropped__"].drop_nulls().to_list()


def talk(*texts):
    return [{"role": role, "text": text} for role, text in zip(["user", "assistant"] * 9, texts, strict=False)]


@pytest.mark.parametrize(
    ("asks", "answers"),
    [
        ("来访者", "咨询师"),
        ("求助者", "支持者"),
        ("患者", "医生"),
        ("用户", "助手"),
        ("client", "counselor"),
        ("Client", "Counsellor"),
        ("seeker", "supporter"),
        ("speaker", "listener"),
        ("user", "assistant"),
        ("human", "gpt"),
        ("Q", "A"),
        ("问", "答"),
        ("A", "B"),
        ("1", "2"),
        (0, 1),
        ("来访者1：", "咨询师："),
        (" 来访者（小李）", "心理咨询师（扮演老人）"),
    ],
)
def test_roles_are_known_by_many_names(asks, answers):
    turns = [{"role": str(asks), "content": "一"}, {"role": str(answers), "content": "二"}]
    rows, dropped = told([{"conversation": turns}], form="turns")
    assert (talk("一", "二"), []) == (rows[0]["conversation"], dropped)


def test_letters_beside_names_say_no_role():
    assert ["user", None, "assistant"] == roles_of(["来访者", "A", "咨询师"], {})
    assert [None, None, None] == roles_of(["A", "C", "D"], {})
    text = "用户：选一个\nA：苹果\nB：梨\n助手：A"
    assert talk("选一个\nA：苹果\nB：梨", "A") == told([{"t": text}], form="text", column="t")[0][0]["conversation"]


def test_an_unknown_role_costs_its_row_or_its_turn_and_can_be_told():
    turns = [{"role": r, "content": r} for r in ("client", "narrator", "counselor")]
    rows = [{"conversation": turns}]
    assert ([], ["unknown role"]) == told(rows, form="turns")
    assert talk("client", "counselor") == told(rows, form="turns", unknown="turn")[0][0]["conversation"]
    more = told(rows, form="turns", roles={"narrator": "system"})[0][0]
    assert ("narrator", talk("client", "counselor")) == (more["system"], more["conversation"])


def test_a_role_twice_in_a_row_is_joined_or_costs_its_row():
    turns = [{"speaker": s, "content": c} for s, c in (("speaker", "a\n"), ("speaker", "b\n"), ("listener", "c"))]
    rows = [{"dialog": turns}]
    assert talk("a\nb", "c") == told(rows, form="turns", column="dialog", role="speaker")[0][0]["conversation"]
    assert ["a role twice in a row"] == told(rows, form="turns", column="dialog", role="speaker", repeated="drop")[1]


def test_pairs_have_a_system_in_the_first_alone():
    pairs = [{"system": "你是专家", "input": "一", "output": "二"}, {"system": None, "input": "三", "output": "四"}]
    rows, _ = told([{"conversation": pairs, "n": 7}], form="pairs", id=("n",))
    assert [("X_7", "你是专家", talk("一", "二", "三", "四"))] == [
        (row["id"], row["system"], row["conversation"]) for row in rows
    ]


def test_records_that_contain_one_another_are_one_dialogue():
    pairs = [["一", "二"], ["三", "四"], ["五", "六"]]
    rows = [
        {"instruction": q, "input": "", "output": a, "history": pairs[:n], "file": "case_1.json"}
        for n, (q, a) in enumerate(pairs)
    ]
    parameters = {"form": "history", "column": "history", "id": ("file",)}
    kept, dropped = told(rows, **parameters)
    assert [("X_case_1", talk("一", "二", "三", "四", "五", "六"))] == [(r["id"], r["conversation"]) for r in kept]
    assert ["told whole by another row"] * 2 == dropped
    assert 3 == len(told(rows, **parameters, contained="keep")[0])


def test_equal_dialogues_both_stay_and_one_that_only_looks_alike_does():
    def row(*pairs):
        return {"history": [list(p) for p in pairs[:-1]], "instruction": pairs[-1][0], "output": pairs[-1][1]}

    rows = [row(("a", "b")), row(("a", "b")), row(("a", "bc"), ("d", "e"))]
    assert 3 == len(told(rows, form="history", column="history")[0])
    assert 1 == len(told([*rows, row(("a", "b"), ("d", "e"))], form="history", column="history")[1]) - 1


@pytest.mark.parametrize("colon", [":", "：", " ： "])
def test_text_is_split_at_labels_of_both_widths(colon):
    text = f"用户{colon}一\n续\n助手{colon}二\r\nUser{colon}三\r助手{colon}\n四"
    assert talk("一\n续", "二", "三", "四") == told([{"t": text}], form="text", column="t")[0][0]["conversation"]


def test_lines_of_speakers_whom_nobody_knows_are_counted():
    text = "用户：难过\n王老师：来，坐下说。\n他说：好。\nA：甲\n助手：好：的\n\n督导（女）：不够。\nDr. Wu: yes"
    step = Dialogue(source="X", form="text", column="t")
    made = step.transform(pl.LazyFrame({"t": [text]})).collect()
    assert [3] == made["__tally__:line that begins like a label nobody knows, now part of a turn"].to_list()
    more = Dialogue(source="X", form="text", column="t", labels=("用户", "助手", "王老师", "督导", "Dr. Wu"))
    made = more.transform(pl.LazyFrame({"t": [text]})).collect()
    assert [0] == made["__tally__:line that begins like a label nobody knows, now part of a turn"].to_list()


def test_a_label_may_stand_on_its_own_line():
    text = "来访者：\n我睡不着。\n\n咨询师：\n多久了？\n"
    assert talk("我睡不着。", "多久了？") == told([{"t": text}], form="text", column="t")[0][0]["conversation"]


def test_labels_count_behind_a_blank_where_a_text_has_no_line_breaks():
    text = "用户：一 医生：不是 助手：二 用户：三 助手：四"
    rows, _ = told([{"t": text}], form="text", column="t", inline=True, labels=("用户", "助手"))
    assert talk("一 医生：不是", "二", "三", "四") == rows[0]["conversation"]


def test_lines_with_labels_are_turns():
    lines = ["求助者：一", "支持者：二", "（沉默）"]
    assert talk("一", "二\n（沉默）") == told([{"lines": lines}], form="lines", column="lines")[0][0]["conversation"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "no text"), (" \n", "no text"), ("什么都没有", "no labelled turn"), ("用户：一", "under two turns")],
)
def test_a_row_without_a_dialogue_says_why(value, reason):
    assert [reason] == told([{"t": value}, {"t": "用户：一\n助手：二"}], form="text", column="t")[1]


def test_a_row_without_text_is_shown_as_empty():
    rows = pl.LazyFrame({"t": [None, "用户：一\n助手：二"]})
    made = Dialogue(source="X", form="text", column="t").transform(rows).collect()["conversation"].to_list()
    assert [[{"role": "unread", "text": ""}], talk("一", "二")] == made


def test_a_column_of_another_form_costs_its_rows():
    assert ["`conversation` is not of the form `turns`"] == told([{"conversation": [1, 2]}], form="turns")[1]


@pytest.mark.parametrize(
    ("parameters", "wrong", "parameter"),
    [
        ({"form": "turns", "role": "rolle"}, "rolle", "role"),
        ({"form": "turns", "text": "value"}, "value", "text"),
        ({"form": "pairs"}, "input", "user"),
    ],
)
def test_a_field_that_no_object_has_is_told_with_those_that_are_there(parameters, wrong, parameter):
    rows = [{"conversation": [{"role": "user", "content": "一"}, {"role": "assistant", "content": "二"}]}]
    with pytest.raises(forge.StepError) as caught:
        told(rows, **parameters)
    expected = f"no object in `conversation` has the field `{wrong}`, which `{parameter}` names"
    assert expected == caught.value.message
    assert caught.value.hint.startswith("they have `role`, `content`; ")


def test_a_field_that_some_objects_lack_costs_nobody_else():
    rows = [{"conversation": [{"role": "user", "content": "一"}, {"role": "assistant", "content": "二"}]}]
    kept, dropped = told([*rows, {"conversation": [{"rolle": "user", "content": "一"}]}], form="turns")
    assert (1, ["unknown role"]) == (len(kept), dropped)


def test_what_is_kept_may_not_stand_in_the_place_of_what_is_made():
    with pytest.raises(ValueError, match="`keep` names `id`, which the step makes itself"):
        Dialogue(form="turns", source="x", keep=("number", "id"))


def test_a_column_that_is_not_there_is_told():
    with pytest.raises(forge.StepError, match="there is no column `turns`") as caught:
        told([{"a": 1}], form="turns", column="turns")
    assert caught.value.hint == "the table has `a`"
