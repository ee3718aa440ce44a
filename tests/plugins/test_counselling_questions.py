"""Questions from tables with an answer a row."""

import polars as pl
import pytest

import forge
from forge_counselling.questions import Questions

ROWS = pl.DataFrame(
    {
        "q": [1, 2, 1, 3],
        "title": ["睡眠", "考试", "睡眠", None],
        "text": ["a", None, "a", None],
        "answer": ["一", "二", "三", "四"],
        "votes": ["1.2k", None, "3赞", "0"],
        "topic": ["x", None, "y", "z"],
    }
)


def gathered(**parameters):
    parameters = {"source": "S", "title": "title", "answer": "answer", **parameters}
    return Questions(**parameters).transform(ROWS.lazy()).collect()


def test_rows_of_one_question_are_joined_in_their_order():
    table = gathered(content="text", likes="votes", tags=("topic",), group=("q",))
    assert [None, None, "answer joined to its question", "no question"] == table["__dropped__"].to_list()
    assert [
        {
            "id": "S_1",
            "source": "S",
            "title": "睡眠",
            "content": "a",
            "tags": ["x"],
            "answers": [{"text": "一", "likes": 1200}, {"text": "三", "likes": 3}],
        },
        {
            "id": "S_2",
            "source": "S",
            "title": "考试",
            "content": "",
            "tags": [],
            "answers": [{"text": "二", "likes": 0}],
        },
    ] == forge.kept(table.lazy()).collect().to_dicts()


def test_without_a_group_equal_questions_are_one_and_ids_are_numbers():
    kept = forge.kept(gathered().lazy()).collect()
    assert [("S_1", 2), ("S_2", 1)] == [(row["id"], len(row["answers"])) for row in kept.to_dicts()]


def test_a_column_that_is_not_there_is_told():
    with pytest.raises(forge.StepError, match="there is no column `Votes`"):
        gathered(likes="Votes")
