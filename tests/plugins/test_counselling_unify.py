"""The unified shape: labels, best answers, noise, personal data, and the ledger."""

import polars as pl
import pytest

import forge
from forge_counselling.unify import Unify

LONG = "你能说出来已经很不容易了，我们一起看看。"


def dialogue(*lines, source="CPsyCounD", topic="", identity="d"):
    schema = {"id": pl.String, "source": pl.String, "topic": pl.String, "lines": pl.List(pl.String)}
    return pl.LazyFrame([{"id": identity, "source": source, "topic": topic, "lines": list(lines)}], schema=schema)


def question(*answers, title="题目", content="", tags=(), identity="q"):
    answer = pl.List(pl.Struct({"text": pl.String, "likes": pl.Int64}))
    schema = {
        **dict.fromkeys(("id", "source", "title", "content"), pl.String),
        "tags": pl.List(pl.String),
        "answers": answer,
    }
    row = {"id": identity, "source": "PsyQA", "title": title, "content": content, "tags": list(tags)}
    row["answers"] = [{"text": text, "likes": likes} for text, likes in answers]
    return pl.LazyFrame([row], schema=schema)


def unify(*tables, **options):
    merged = Unify(**options).merge({f"t{place}": table for place, table in enumerate(tables)})
    return merged.collect()


def turns(*lines, **options):
    return [(turn["role"], turn["text"]) for turn in unify(dialogue(*lines), **options)["conversation"].to_list()[0]]


def tallies(table):
    return {
        name.removeprefix("__tally__:"): table[name].sum()
        for name in table.columns
        if name.startswith("__tally__") and table[name].sum()
    }


def test_every_source_has_one_schema_and_keeps_the_order_of_the_inputs():
    table = unify(question((LONG, 3), tags=["校园"]), dialogue("来访者：你好", f"咨询师：{LONG}"))
    assert forge.kept(table.lazy()).select(pl.exclude("^__.*$")).collect().to_dicts() == [
        {
            "id": "q",
            "source": "PsyQA",
            "topic": "校园",
            "conversation": [{"role": "user", "text": "题目"}, {"role": "assistant", "text": LONG}],
            "meta": {"tags": ["校园"], "likes": 3, "answers": 1},
        },
        {
            "id": "d",
            "source": "CPsyCounD",
            "topic": "",
            "conversation": [{"role": "user", "text": "你好"}, {"role": "assistant", "text": LONG}],
            "meta": {"tags": [], "likes": 0, "answers": 0},
        },
    ]


@pytest.mark.parametrize(
    "label",
    [
        "心理咨询师：",
        "咨询师:",
        "支持者：",
        "心理咨询师（扮演老人）：",
        "咨询师(温和地):",
        "  心理咨询师 ： ",
        "咨询师2：",
        "医生：",
        "Counselor:",
        "助手：",
    ],
)
def test_a_counsellor_is_known_by_every_label(label):
    assert turns("来访者：你好", label + LONG) == [("user", "你好"), ("assistant", LONG)]


@pytest.mark.parametrize(
    "label",
    [
        "来访者：",
        "来访者（小李）：",
        "来访者1：",
        "来访者2 :",
        "求助者：",
        "妈妈：",
        "女儿：",
        "A：",
        "B:",
        "小强：",
        "娜娜的母亲：",
        "client:",
    ],
)
def test_a_client_is_known_by_every_label(label):
    assert turns(label + "你好", f"心理咨询师：{LONG}") == [("user", "你好"), ("assistant", LONG)]


@pytest.mark.parametrize(("first", "second"), [("A", "B"), ("甲", "乙"), ("Q", "A"), ("问", "答")])
def test_letters_alone_are_the_one_who_asks_and_the_one_who_answers(first, second):
    expected = [("user", "你好"), ("assistant", LONG), ("user", "谢谢")]
    assert turns(f"{first}：你好", f"{second}：{LONG}", f"{first}：谢谢") == expected


def test_letters_beside_named_roles_are_people_on_the_clients_side():
    lines = ("来访者：我来试试。", "A：我想离婚。", "B：可是孩子呢？", f"心理咨询师：{LONG}")
    assert turns(*lines) == [("user", "我来试试。\n我想离婚。\n可是孩子呢？"), ("assistant", LONG)]


def test_lines_without_a_label_carry_the_turn_on():
    lines = ("来访者：你好", "心理咨询师：可以这样做：", "1. 深呼吸", "2. 倾听：不打断", "总结：慢慢来", "来访者：好")
    assert turns(*lines)[1] == ("assistant", "可以这样做： 1. 深呼吸 2. 倾听：不打断 总结：慢慢来")


def test_remarks_stay_in_their_turn_or_leave_as_declared():
    lines = ("来访者：你好", f"心理咨询师：{LONG}", "（一段时间后）", "来访者：我好多了（笑）")
    assert turns(*lines)[1] == ("assistant", f"{LONG} （一段时间后）")
    table = unify(dialogue(*lines), remarks="drop")
    assert [turn["text"] for turn in table["conversation"][0]] == ["你好", LONG, "我好多了（笑）"]
    assert tallies(table) == {"stage direction": 1}


def test_turns_of_one_role_in_a_row_are_joined_by_a_line_end():
    lines = ("来访者：一", "来访者：二", f"咨询师：{LONG}", "咨询师：好的", f"咨询师：{LONG}")
    table = unify(dialogue(*lines))
    assert [turn["text"] for turn in table["conversation"][0]] == ["一\n二", f"{LONG}\n{LONG}"]
    assert tallies(table) == {"throw-away reply": 1}


def test_a_bare_label_at_the_end_leaves_no_turn():
    table = unify(dialogue("来访者：你好", f"咨询师：{LONG}", "来访者："))
    assert len(table["conversation"][0]) == 2
    assert tallies(table) == {"empty turn": 1}


def test_text_before_the_first_label_is_left_out_and_counted():
    table = unify(dialogue("案例一", "来访者：你好", f"咨询师：{LONG}"), dialogue("无标签"))
    assert [turn["text"] for turn in table["conversation"][0]] == ["你好", LONG]
    assert table["__dropped__"].to_list() == [None, "no labelled turn"]
    assert tallies(table) == {"text before the first label": 2}


def test_lines_of_speakers_whom_nobody_knows_are_counted():
    lines = (
        "来访者：我很难过。",
        "王老师：来，坐下说。",
        "他说：好。",
        f"咨询师：{LONG}",
        "督导（女）：这里共情不够。",
    )
    table = unify(dialogue("旁白：夜里", *lines), question((LONG, 1)))
    strange = "line that begins like a label nobody knows, now part of a turn"
    assert {strange: 2, "text before the first label": 1} == tallies(table)


def test_system_prompts_leave_and_are_counted():
    said = [{"role": "user", "text": "你好"}, {"role": "assistant", "text": LONG}]
    told = [
        {"id": str(n), "source": "s", "topic": "", "system": system, "conversation": said}
        for n, system in enumerate(["你是咨询师", "", None])
    ]
    assert {"system prompt, for which unified rows have no place": 1} == tallies(unify(pl.LazyFrame(told)))


def test_no_text_passes_from_one_dialogue_to_the_next():
    both = pl.concat(
        [
            dialogue("来访者：你好", f"咨询师：{LONG}", identity="1"),
            dialogue("没有标签的一行", "咨询师：" + LONG, identity="2"),
        ]
    )
    table = unify(both)
    assert [turn["text"] for turn in table["conversation"][0]] == ["你好", LONG]
    assert table["__dropped__"].to_list() == [None, "under two turns"]


def test_white_space_of_any_kind_is_one_blank():
    assert turns("来访者：\u3000你\t\t好\u00a0\u2003啊 ", f"咨询师：{LONG}")[0] == ("user", "你 好 啊")


def test_personal_data_is_replaced_in_every_text():
    table = unify(
        question((f"加v demo_student。{LONG}", 0), title="我叫13600000000", content="邮箱a@example.com"),
        dialogue("来访者：我的电话是１３６００００００００", f"咨询师：{LONG}"),
    )
    texts = [[turn["text"] for turn in turns] for turns in table["conversation"]]
    assert texts == [["我叫[PHONE]\n邮箱[EMAIL]", f"[SOCIAL]。{LONG}"], ["我的电话是[PHONE]", LONG]]


def test_title_and_content_are_the_users_turn():
    table = unify(question((LONG, 0), title=" 题 ", content="内\n容"), question((LONG, 0), title="题", content=" "))
    assert [turns[0]["text"] for turns in table["conversation"]] == ["题\n内 容", "题"]


@pytest.mark.parametrize(
    ("answers", "best"),
    [
        ([(LONG, 1), (LONG + "长", 0)], 0),
        ([(LONG, 0), (LONG + "长", 0)], 1),
        ([("一" + LONG, 2), ("二" + LONG, 2)], 0),
        ([("同问", 99), (LONG, 0)], 1),
        ([("抱抱你！！！……～～", 99), (LONG, 0)], 1),
        ([("短的回答", 99), (LONG, 0)], 1),
        ([("", 99), (LONG, 0)], 1),
        ([(LONG, 0), (LONG + "   " * 40, 0), (LONG + "多一些", 0)], 2),
        ([(LONG, 2**40), (LONG, 2**31)], 0),
    ],
)
def test_the_best_answer_has_most_likes_then_most_characters_then_comes_first(answers, best):
    table = unify(question(*answers))
    assert table["conversation"][0][1]["text"] == " ".join(answers[best][0].split())
    assert table["meta"][0]["answers"] == len(answers)


def test_a_question_without_a_usable_answer_or_text_is_dropped_with_its_reason():
    table = unify(question(("同问", 3), ("抱抱", 1)), question(), question((LONG, 0), title="", content=""))
    assert table["__dropped__"].to_list() == ["no usable reply", "no usable reply", "no question"]
    assert tallies(table) == {"throw-away reply": 2}


def test_answers_that_are_not_chosen_are_counted():
    assert tallies(unify(question((LONG, 0), (LONG + "。", 0), ("加油！", 0)))) == {
        "answer not chosen": 1,
        "throw-away reply": 1,
    }


def test_own_stock_phrases_and_length_are_used():
    table = unify(question(("慢慢来，慢慢来。", 0)), least_reply=2, stock_phrases=("慢慢来慢慢来",))
    assert table["__dropped__"].to_list() == ["no usable reply"]


def test_a_table_of_another_shape_is_refused_by_name():
    with pytest.raises(forge.StepError, match="input `t0` has the columns `text`"):
        unify(pl.LazyFrame({"text": ["a"]}))


def test_the_statistics_are_the_designs():
    table = forge.kept(
        unify(question((LONG, 0), tags=["校园"]), dialogue("来访者：你好", f"咨询师：{LONG}", "来访者：好")).lazy()
    )
    found = Unify().statistics(table)
    assert found == {
        "total": 2,
        "by_source": {"CPsyCounD": 1, "PsyQA": 1},
        "avg_turns": {"CPsyCounD": 3.0, "PsyQA": 2.0},
        "topics": {"": 1, "校园": 1},
        "turns": {"2": 1, "3": 1},
        "characters": {
            "min": 22, "p05": 22, "p25": 22, "median": 22, "p75": 22, "p95": 22, "max": 23, "mean": 22.5,
        },
        "turn_characters": {
            "assistant": {
                "min": 20, "p05": 20, "p25": 20, "median": 20, "p75": 20, "p95": 20, "max": 20, "mean": 20.0,
            },
            "user": {"min": 1, "p05": 1, "p25": 1, "median": 2, "p75": 2, "p95": 2, "max": 2, "mean": 1.6667},
        },
    }  # fmt: skip


def test_labels_are_counted_where_rows_have_them():
    table = forge.kept(unify(question((LONG, 0))).lazy()).with_columns(
        pl.lit("none").alias("risk_flag"), pl.lit(2).alias("anxiety_level")
    )
    expected = {"anxiety_level": {"2": 1}, "risk_flag": {"none": 1}}
    assert expected == Unify().statistics(table)["labels"]


def told(*turns, identity="t", source="SMILE"):
    conversation = [{"role": role, "text": text} for role, text in turns]
    return pl.LazyFrame(
        [{"id": identity, "source": source, "topic": "x", "system": None, "conversation": conversation}]
    )


def test_dialogues_told_turn_by_turn_are_cleaned_as_others_are():
    table = unify(told(("user", " 你  好 "), ("assistant", LONG), ("assistant", "嗯嗯"), ("user", "电话13812345678")))
    assert [("user", "你 好"), ("assistant", LONG), ("user", "电话[PHONE]")] == [
        (turn["role"], turn["text"]) for turn in table["conversation"].to_list()[0]
    ]
    assert {"throw-away reply": 1} == {name: count for name, count in tallies(table).items() if count}
    assert ["t", "SMILE", "x"] == list(table.select("id", "source", "topic").row(0))


def test_the_statistics_of_no_rows_are_empty():
    table = unify(question((LONG, 0))).lazy().filter(pl.lit(value=False))
    assert Unify().statistics(table)["total"] == 0
