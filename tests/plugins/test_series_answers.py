"""Answers and records are read, and intervals find their points."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import forge
from forge_series.answers import UnusableAnswer, move, objects_of, rewritten
from forge_series.records import Records
from forge_series.window import Window


@pytest.mark.parametrize(
    "answer",
    [
        '{"a": 1},{"a": 2}',
        '{"a": 1}\n{"a": 2}',
        '{"a": 1}，{"a": 2}',
        '[{"a": 1}, {"a": 2}]',
        '```json\n{"a": 1},\n{"a": 2}\n```',
    ],
)
def test_answers_that_are_several_objects_are_read(answer):
    assert [{"a": 1}, {"a": 2}] == objects_of(answer)


@pytest.mark.parametrize("answer", ["no anomaly", '{"a": 1', "[1]", "", '{"a": NaN}', '{"a": 1e999}'])
def test_answers_that_are_no_objects_are_refused(answer):
    with pytest.raises(UnusableAnswer):
        objects_of(answer)


@pytest.mark.parametrize(("rest", "starts"), [("keep", [0, 4, 8]), ("drop", [0, 4]), ("shift", [0, 4, 6])])
def test_what_is_behind_the_last_window_follows_the_declared_rule(rest, starts):
    assert starts == Window(4, rest=rest).starts(10)


@given(st.data())
def test_an_interval_lands_inside_the_points_and_on_its_rows(data):
    rows = data.draw(st.integers(2, 200))
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, rows - 1), min_size=1))), dtype=np.uint32)
    first = data.draw(st.integers(0, rows - 1))
    last = data.draw(st.integers(first, rows + 5))
    moved = move((first, last), kept, kept, rows)
    inside = [place for place, row in enumerate(kept) if first <= row <= last]
    if inside:
        assert (inside[0], inside[-1]) == moved.place
    elif moved.place is not None:
        [nearest] = set(moved.place)
        distances = [max(int(row) - last, first - int(row)) for row in kept]
        assert min(distances) == distances[nearest]
    else:
        assert last < kept[0] or first > kept[-1]


def test_only_numbers_that_are_the_interval_are_rewritten():
    entry = {"interval": [1, 20], "reason": "索引1到20，1-20，[1, 20]；不动：11-20、1-200、1.20、1-20.5"}
    expected = "索引3到4，3-4，[3, 4]；不动：11-20、1-200、1.20、1-20.5"
    assert {"interval": [3, 4], "reason": expected} == rewritten(entry, "interval", (1, 20), (3, 4))


@pytest.mark.parametrize(
    "text",
    [
        "区间[100,105]内", "[100, 105]", "（100～105）", "【100，105】", "100-105", "100到105", "第100到第105行",
        "索引100和105之间", "rows 100 and 105", "from 100 to 105", "100 – 105，30-40", "100到105升高", "100-105分别",
        "区间[100,105]时", "第3段（100-105）", "区间1-20和100-105", "区间为100，105",
    ],
)  # fmt: skip
def test_an_interval_is_rewritten_however_people_spell_it(text):
    expected = text.replace("100", "52").replace("105", "54")
    assert expected == rewritten({"r": text}, "interval", (100, 105), (52, 54))["r"]


@pytest.mark.parametrize(
    "text",
    [
        "温度从100升到105度", "100到105度", "100-105℃", "[100,105] kPa", "100~105 kg", "100月105日", "100-105日",
        "2024-100-105", "100:105", "100/105", "¥100-105", "值为100，105", "100、105、110", "100比105", "100到105.5",
        "从100到105小时", "值100-105", "值为100-105",
    ],
)  # fmt: skip
def test_numbers_that_only_equal_the_interval_s_are_left_alone(text):
    assert text == rewritten({"r": text}, "interval", (100, 105), (52, 54))["r"]


def test_an_answer_in_which_a_key_stands_twice_is_refused():
    with pytest.raises(UnusableAnswer, match="a key that stands twice"):
        objects_of('{"detected_anomalies": [{"interval": [1, 2], "interval": [3, 4]}]}')


def test_records_that_cannot_be_used_are_rejected_by_their_reason(tmp_path):
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    good = json.dumps({"image": "x.jpg", "conversations": turns})
    bad = [
        json.dumps({"conversations": turns}),
        json.dumps({"image": "x.jpg"}),
        json.dumps({"image": "x.jpg", "conversations": turns * 2}),
        json.dumps({"image": "x.jpg", "conversations": [{"from": "robot", "value": "a"}]}),
        json.dumps({"image": "x.jpg", "conversations": [turns[0], {"from": "gpt", "value": " "}]}),
        '{"image": "x.jpg", "conversations": [{"from": "human", "value": "q"}, {"from',
    ]
    (tmp_path / "r.json").write_text("[" + ",\n".join([*bad, good]) + "]")
    (tmp_path / "s.json").write_text(good + "\n" + good)
    found = list(Records(forge.Files.match("*.json", tmp_path)).read(forge.LocalRun(tmp_path)))
    assert [
        ("no image", 1),
        ("no conversation", 2),
        ("not one question with one answer", 3),
        ("a turn of an unknown role", 4),
        ("empty question or answer", 5),
        ("broken JSON", 6),
    ] == [(item.reason, item.index) for item in found if isinstance(item, forge.Reject)]
    assert [1, 2] == [item.height for item in found if isinstance(item, pl.DataFrame)]
