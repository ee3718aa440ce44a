from pathlib import Path

import polars as pl
import pytest

import forge
from forge_label.lexicon import LABELS, Lexicon

PACKAGED = Path(__file__).parents[2] / "plugins/forge_label/lexicons/student_zh.toml"
SAMPLE = Path(__file__).parents[3] / "shared/data/counselling/CPsyCounD/Data"
TYPE = pl.List(pl.Struct({"role": pl.String, "text": pl.String}))


def label(*texts, lexicon=None):
    rows = pl.LazyFrame({"text": texts}, schema={"text": pl.String})
    return Lexicon(column="text", lexicon=lexicon).label(rows).collect()


def labels(text):
    return label(text).select(LABELS).row(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天天气很好", (0, 0, "none", 0)),
        ("我最近心情低落，有点担心考试", (1, 1, "none", 2)),
        ("我很抑郁，也很焦虑", (2, 2, "none", 4)),
        ("我得了抑郁症，每天都惊恐，想自杀", (3, 3, "suicidal", 9)),
        ("我不想活了", (3, 0, "suicidal", 6)),
        ("我会割腕", (0, 0, "self_harm", 2)),
        ("爸爸动手打我", (0, 0, "violence", 1)),
        ("我割腕，也想死", (3, 0, "suicidal", 6)),
    ],
)
def test_terms_make_levels_flags_and_their_sum(text, expected):
    assert expected == labels(text)


@pytest.mark.parametrize(
    "text",
    [
        "我没有自杀的想法",
        "我没想过自杀或者自残",
        "我从来没有想过要轻生、跳楼",
        "我不会自杀",
        "同学说：“你去死吧”",
        "老师问我“你想自杀吗”",
        "看了《自杀论》这本书",
        "想死你了",
        "",
    ],
)
def test_what_is_denied_quoted_or_a_title_does_not_count(text):
    assert (0, 0, "none", 0) == labels(text)


@pytest.mark.parametrize(
    "text", ["我是不是想自杀", "忍不住想死", "我睡不好想死", "如果我死了算了会怎样", "我不好。想死", "不止一次想自杀"]
)
def test_what_only_looks_denied_counts_for_risk(text):
    assert "suicidal" == label(text)["risk_flag"][0]


def test_an_imagined_clause_counts_for_no_level():
    assert (0, 0, "none", 0) == labels("如果考砸了我会很焦虑")
    assert (0, 2, "none", 2) == labels("如果考砸了，我现在就焦虑")


def test_only_the_user_s_turns_are_read():
    turns = [
        {"role": "user", "text": "你好"},
        {"role": "assistant", "text": "你想自杀吗？"},
        {"role": "user", "text": None},
    ]
    rows = pl.LazyFrame({"conversation": [turns, [], None]}, schema={"conversation": TYPE})
    out = Lexicon().label(rows).collect()
    assert [(0, 0, "none", 0)] * 3 == out.select(LABELS).rows()


def test_every_row_says_that_it_is_weak_and_why():
    out = label("我焦虑，很焦虑，想死", "好")
    assert ["lexicon (weak)"] * 2 == out["label_source"].to_list()
    assert ["labelled"] * 2 == out["label_state"].to_list()
    assert [["想死", "焦虑"], []] == out["label_evidence"].to_list()
    assert ["text", *LABELS, "label_state", "label_source", "label_evidence"] == out.columns


def test_statistics_say_that_they_are_weak():
    out = label("我焦虑", "好")
    figures = Lexicon(column="text").statistics(out.lazy())
    assert "weak" in figures["source"]
    assert (2, 1.0, {"labelled": 2}) == (figures["rows"], figures["labelled_share"], figures["states"])
    assert {"0": 1, "2": 1} == figures["labels"]["anxiety_level"]


def test_real_dialogues_get_values_in_range_and_not_all_the_same():
    if not SAMPLE.is_dir():
        pytest.skip(f"no sample data in {SAMPLE.name}")
    texts = [path.read_text(encoding="utf-8") for path in sorted(SAMPLE.glob("case_1*.txt"))[:200]]
    out = label(*texts)
    assert set(out["depression_level"]) <= {0, 1, 2, 3}
    assert set(out["anxiety_level"]) <= {0, 1, 2, 3}
    assert set(out["risk_flag"]) <= {"none", "suicidal", "self_harm", "violence"}
    assert set(out["student_distress_score"]) <= set(range(10))
    assert 5 <= out["student_distress_score"].n_unique()


def own(tmp_path, change):
    path = tmp_path / "own.toml"
    path.write_text(change(PACKAGED.read_text(encoding="utf-8")), encoding="utf-8")
    return forge.File("own.toml", path)


def test_a_lexicon_of_one_s_own_takes_the_packaged_one_s_place(tmp_path):
    file = own(tmp_path, lambda text: text.replace('"郁闷"', '"蓝瘦"'))
    assert [1, 0] == label("蓝瘦", "郁闷", lexicon=file)["depression_level"].to_list()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + "[", "is not TOML"),
        (lambda text: text.replace("[anxiety]", "[fear]"), "must hold exactly depression, anxiety"),
        (lambda text: text.replace("violence = 1", "violence = 4"), r"`distress\.violence`.*0\.\.3, got `4`"),
        (lambda text: text.replace("violence = 1", "violence = true"), r"`distress\.violence`"),
        (lambda text: text.replace('"自杀", "轻生", "想死", "不想活"', "1"), r"`risk\.suicidal`.*list of words"),
    ],
)
def test_a_broken_lexicon_is_named(tmp_path, change, message):
    with pytest.raises(forge.StepError, match=message):
        label("x", lexicon=own(tmp_path, change))


def test_terms_with_signs_are_words_and_no_patterns(tmp_path):
    file = own(tmp_path, lambda text: text.replace('"郁闷"', '"T.T"'))
    assert [1, 0] == label("T.T", "TxT", lexicon=file)["depression_level"].to_list()


@pytest.mark.parametrize(
    ("rows", "message"),
    [({"x": ["a"]}, "no column `conversation`"), ({"conversation": [1]}, "must be text or a list of")],
)
def test_a_column_that_does_not_fit_is_named(rows, message):
    with pytest.raises(forge.StepError, match=message):
        Lexicon().label(pl.LazyFrame(rows))
