"""Which answer of a question stays: the fast way cleans few of them and chooses as if it had cleaned all."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_counselling.answers import best_answers
from forge_text import personal
from forge_text.personal import anonymise

ROW = "row"
LEAST = 8
SAYINGS = st.sampled_from(
    (
        *("", "同问", "我的电话是13812345678", "13812345678", "a@b.com", "慢慢来", "慢慢来，一步一步走下去。"),
        *("你能说出来已经很不容易了。" * 30, "说得好 \n 很好。" * 40, "说得好 很好。" * 40),
        *("抱抱" + "。" * 800, "\n" * 900, "长长的回答。" * 60, "b" * 500, "三句话，就好了。" * 7),
        *("打13812345678，或者写信到 li.ming@example.com 找我。" + "慢慢来。" * 80, "慢慢来。" * 90 + "QQ：123456789"),
    )
)
ANSWERS = st.lists(st.tuples(SAYINGS, st.sampled_from((None, -1, 0, 1, 2, 3, 2**31, 2**31 + 1, 10**12))), max_size=5)


def thrown_away(text, least=LEAST):
    return (text.str.len_chars() < least) | (text == "慢慢来，一步一步走下去。") | text.str.contains("^抱抱。*$")


def table(questions):
    answer = pl.List(pl.Struct({"text": pl.String, "likes": pl.Int64}))
    rows = [[{"text": text, "likes": likes} for text, likes in question] for question in questions]
    return pl.LazyFrame({"answers": rows}, schema={"answers": answer}).with_row_index(ROW)


def all_cleaned(question, least=LEAST):
    """Clean every answer, as one would by hand; return the best one's text and likes, and how many count."""
    cleaned = [(anonymise(" ".join(text.split())), likes) for text, likes in question]
    usable = [
        (t, likes)
        for t, likes in cleaned
        if len(t) >= least and t != "慢慢来，一步一步走下去。" and t.rstrip("。") != "抱抱"
    ]
    best = max(usable, key=lambda answer: (min(max(answer[1] or 0, 0), 2**40), len(answer[0])), default=(None, None))
    return {"text": best[0], "likes": best[1]}


@settings(max_examples=300)
@given(st.lists(ANSWERS, max_size=6), st.sampled_from((LEAST, 1, 60, 400)))
def test_the_best_answer_is_that_of_all_cleaned(questions, least):
    best = best_answers(table(questions), ROW, lambda text: thrown_away(text, least), least).drop(ROW).collect()
    assert [all_cleaned(question, least) for question in questions] == best.drop("valid").to_dicts()
    assert all(valid <= len(question) for valid, question in zip(best["valid"], questions, strict=True))


def test_the_answers_that_count_are_those_that_were_not_thrown_away():
    question = [("长长的回答。" * 60, 5), ("同问", 9), ("短的回答，谢谢你。", 0)]
    assert [2] == best_answers(table([question]), ROW, thrown_away).collect()["valid"].to_list()


def test_a_long_throw_away_leaves_the_next_in_likes():
    question = [("抱抱" + "。" * 800, 10), ("长长的回答。" * 60, 5), ("短的回答，谢谢你。", 3)]
    found = best_answers(table([question]), ROW, thrown_away).collect()
    assert [("长长的回答。" * 60, 5)] == found.select("text", "likes").rows()


def test_long_answers_that_others_outdo_are_not_cleaned(monkeypatch):
    looked_at = []

    def tidied(text):
        def look(texts):
            looked_at.extend(texts.drop_nulls())
            return texts

        return text.map_batches(look, return_dtype=pl.String, is_elementwise=True)

    monkeypatch.setattr(personal, "tidied", tidied)
    best, long, short = "最好。" * 100, "很长。" * 200, "短的回答，谢谢你。"
    best_answers(table([[(long, 1), (best, 9), (short, 0)]]), ROW, thrown_away).collect()
    assert [short, best] == looked_at
