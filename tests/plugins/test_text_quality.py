"""Quality filters: each drops, or cuts, what it says and nothing else."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forge
from forge_text.loops import Boilerplate, Loops, loop
from forge_text.quality import Characters, Language, ThrowAway


def reasons(step, texts, column="text"):
    rows = pl.LazyFrame({column: pl.Series(texts, dtype=pl.String)})
    return step.transform(rows).collect()["__dropped__"].to_list()


def after(step, values, column="text"):
    return forge.kept(step.transform(pl.LazyFrame({column: values}))).collect()


def turns(*texts):
    return [{"role": ("user", "assistant")[place % 2], "text": text} for place, text in enumerate(texts)]


def test_a_language_is_told_by_the_script_of_the_letters():
    texts = ["我很难过，sorry 123。", "I am sad. 很", "12345！！", "", None, "私は学生ですから"]
    other = "not Chinese: under 0.5 of it"
    assert [None, other, "no letters", "no letters", "no letters", other] == reasons(
        Language(column="text", language="zh"), texts
    )
    assert [None] == reasons(Language(column="text", language="en"), ["I am sad. 很"])


def test_kinds_of_characters_are_bounded_on_both_sides():
    step = Characters(column="text", most={"digits": 0.5, "punctuation": 0.5}, least={"letters": 0.2})
    assert [
        None,
        "digits over 0.5 of the text",
        "punctuation over 0.5 of the text",
        "letters under 0.2 of the text",
    ] == reasons(step, ["好的呀12", "好12345", "？？？！！！好", "。。😀😀😀"])


@pytest.mark.parametrize("bounds", [{"most": {"digit": 0.5}}, {"least": {"digits": 1.5}}])
def test_bounds_that_make_no_sense_are_refused(bounds):
    with pytest.raises(ValueError, match=r"digit|<= 1"):
        Characters(column="text", **bounds)


@pytest.mark.parametrize(
    "text",
    ["同问", "同问！！", "抱抱你～～", "+1", "＋１", "顶顶顶", "加油，抱抱", "Me too!", "。。。", "😀", "", None],
)
def test_replies_that_say_nothing_are_dropped(text):
    assert ["throw-away reply"] == reasons(ThrowAway(column="text"), [text])


@pytest.mark.parametrize(
    "text", ["同问，我也失眠", "加油站在哪", "123", "抱抱你，慢慢来会好的", "OK then tell me more"]
)
def test_replies_that_say_something_stay(text):
    assert [None] == reasons(ThrowAway(column="text"), [text])


def test_in_a_conversation_turns_go_and_rows_that_have_no_reply_left():
    talks = [
        turns("我好累", "抱抱"),
        turns("我好累", "怎么了？", "睡不着", "同问"),
        turns("同问", "说说看"),
        turns("嗯"),
    ]
    marked = ThrowAway(column="talk").transform(pl.LazyFrame({"talk": talks})).collect()
    assert ["no turn of `assistant` left", None, None, None] == marked["__dropped__"].to_list()
    assert [1, 1, 0, 0] == marked["__tally__:throw-away reply"].to_list()
    assert [["我好累"], ["我好累", "怎么了？", "睡不着"], ["同问", "说说看"], ["嗯"]] == [
        [turn["text"] for turn in talk] for talk in marked["talk"].to_list()
    ]


def test_a_phrase_that_would_match_every_text_is_refused():
    with pytest.raises(ValueError, match="`phrases` holds `。。`"):
        ThrowAway(column="text", phrases=("。。",))


LOOP = "我想说的是，你很棒。" + "加油，一切都会好起来的！" * 8


def test_a_text_that_ends_in_a_loop_is_dropped_or_cut_after_its_first_saying():
    texts = [
        LOOP,
        LOOP + "加油，一切都会",
        "哈" * 70,
        "哈" * 20,
        "普通的一句话，" * 3,
        "一" * 10 + "二" * 40 + "。",
        None,
        "",
    ]
    marks = ["ends in a loop", "ends in a loop", "ends in a loop", None, None, None, None, None]
    assert marks == reasons(Loops(column="text"), texts)
    cut = after(Loops(column="text", action="cut"), [LOOP, LOOP + "加油，一切都会", "没有循环"])
    assert ["我想说的是，你很棒。加油，一切都会好起来的！", "没有循环"] == cut["text"].unique(
        maintain_order=True
    ).to_list()[-2:]
    assert cut["__tally__:characters of a loop"].to_list()[0] == len(LOOP) - len(
        "我想说的是，你很棒。加油，一切都会好起来的！"
    )


def test_loops_are_cut_in_turns():
    [talk] = after(Loops(column="talk", action="cut"), [turns("你好", LOOP)], "talk")["talk"].to_list()
    assert turns("你好", "我想说的是，你很棒。加油，一切都会好起来的！") == talk


def test_sentences_that_come_again_and_again_are_a_loop_without_an_end():
    said = ["我觉得可能是因为我没有做好充分的准备。", "那么，你是否认为是因为你缺乏耐心？", "听起来你已经有了认识。"]
    talk = turns(*(said[place % 3] + (said[place % 2] if place % 4 else "") for place in range(16)))
    plain = turns(*(f"第{place}句，和别的都不一样。" for place in range(16)))
    again = "says the same again and again"
    for action in ("drop", "cut"):
        marked = Loops(column="talk", action=action).transform(pl.LazyFrame({"talk": [talk, plain]})).collect()
        assert [again, None] == marked["__dropped__"].to_list()


@given(st.text("ab，", max_size=12), st.text("ab，c", min_size=1, max_size=12), st.integers(2, 30), st.integers(0, 11))
def test_a_loop_is_found_where_it_is_planted(before, phrase, times, rest):
    text = before + phrase * times + phrase[:rest]
    found = loop(text.rstrip(), times=4, characters=20)
    if len(phrase) * times >= 20 and times >= 4:
        assert found is not None
        assert found <= len(before) + len(phrase)
    if found is not None:
        assert text[found:] in text[:found] * len(text) or text[:found].endswith(text[found : found + 1]) or found > 0


def test_declared_phrases_are_cut_wherever_they_stand():
    step = Boilerplate(column="text", phrases=("（以上内容仅供参考）", "As an AI language model, "))
    marked = step.transform(
        pl.LazyFrame(
            {"text": ["你好（以上内容仅供参考）。", "As an AI language model, I see.", "（以上内容仅供参考）", "好"]}
        )
    ).collect()
    assert ["你好。", "I see.", "", "好"] == marked["text"].to_list()
    assert [None, None, "boilerplate alone", None] == marked["__dropped__"].to_list()
    assert [10, 25, 10, 0] == marked["__tally__:characters of boilerplate"].to_list()


def test_lines_that_too_many_rows_share_are_cut_whole():
    texts = [f"第{place}个问题(a.b)\n  欢迎关注[心理]公众号 \n谢谢{place}" for place in range(12)] + [
        "欢迎关注[心理]公众号的人"
    ]
    left = after(Boilerplate(column="text", shared=0.5), texts)
    assert "第0个问题(a.b)\n谢谢0" == left["text"][0]
    assert "欢迎关注[心理]公众号的人" == left["text"][12]
    assert texts == after(Boilerplate(column="text", shared=0.95), texts)["text"].to_list()
    assert texts == after(Boilerplate(column="text", shared=0.5, least_rows=13), texts)["text"].to_list()


def test_rows_with_boilerplate_can_be_dropped_and_conversations_are_read():
    talks = [turns(f"第{place}次", "愿你早日康复" if place else "好好休息") for place in range(12)]
    marked = Boilerplate(column="talk", shared=0.5, action="drop").transform(pl.LazyFrame({"talk": talks})).collect()
    assert [None, *["holds boilerplate"] * 11] == marked["__dropped__"].to_list()
    assert talks == marked["talk"].to_list()


@pytest.mark.parametrize("values", [{}, {"phrases": (" ",)}])
def test_boilerplate_that_is_nothing_is_refused(values):
    with pytest.raises(ValueError, match=r"nothing is looked for|holds an empty one"):
        Boilerplate(column="text", **values)


def test_a_throw_away_phrase_of_any_script_is_found_with_its_marks():
    rows = pl.LazyFrame({"text": ["ठीक है 😊", "ठीक नहीं"]})
    marks = ThrowAway(column="text", phrases=("ठीक है",)).transform(rows).collect()["__dropped__"].to_list()
    assert ["throw-away reply", None] == marks
