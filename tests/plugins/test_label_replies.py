import json

import pytest

import forge
from forge_label.replies import read_object
from forge_label.schema import Schema

GOOD = {"depression_level": 1, "anxiety_level": 2, "risk_flag": "none", "student_distress_score": 4}
TEXT = json.dumps(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"  {TEXT}\n",
        f"```json\n{TEXT}\n```",
        f"```\n{TEXT}\n```",
        f"好的，评估如下：\n{TEXT}\n希望有帮助。",
        f"<think>maybe {{1}}</think>\n{TEXT}",
        json.dumps(GOOD, indent=2),
    ],
)
def test_the_one_object_in_a_reply_is_read(text):
    assert GOOD == read_object(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the reply is empty"),
        ("抱歉", "holds no JSON object"),
        ("[1, 2]", "holds no JSON object"),
        (TEXT + TEXT, "more than one"),
        (f"{TEXT}\n或者\n{TEXT}", "more than one"),
        (f"{TEXT}}}", "more than one"),
        (f"[{TEXT}]", "something around one"),
        (f"结果 [{TEXT}]", "something around one"),
        (f'{{"draft": {TEXT}, "final": {{"depr', "can't be read"),
        (f"{{例}} {TEXT}", "can't be read"),
        (TEXT[:-1], "can't be read"),
        (TEXT.replace('"', "'"), "can't be read"),
        ('{"a": 1, "a": 2}', "`a` is given twice"),
        ('{"a": {"b": 1, "b": 1}}', "`b` is given twice"),
        ('{"a": NaN}', "`NaN` is not a JSON number"),
        ('{"a": -Infinity}', "`-Infinity` is not a JSON number"),
        ('{"a": "\\ud83d"}', "half of a surrogate pair"),
        ('{"a":' * 100_000, "can't be read"),
        ('{"a": ' + "9" * 5_000 + "}", "can't be read"),
    ],
)
def test_what_can_be_read_in_two_ways_or_in_none_is_refused(text, reason):
    with pytest.raises(forge.Refused, match=reason):
        read_object(text)


def schema(tmp_path, **properties):
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"type": "object", "properties": properties}), encoding="utf-8")
    return Schema.read(forge.File("s.json", path))


LEVEL = {"type": "integer", "minimum": 0, "maximum": 3}


@pytest.mark.parametrize("value", [0, 1, 3])
def test_integers_in_the_range_are_accepted(tmp_path, value):
    schema(tmp_path, level=LEVEL).check({"level": value})


@pytest.mark.parametrize("value", [12, 4, -1, 2.0, "2", True, False, None, [2], {"x": 2}])
@pytest.mark.parametrize("level", [LEVEL, {"type": "integer", "enum": [0, 1, 2, 3]}, {"enum": [0, 1, 2, 3]}])
def test_nothing_else_passes_for_an_integer(tmp_path, value, level):
    with pytest.raises(forge.Refused, match="`level`: "):
        schema(tmp_path, level=level).check({"level": value})


@pytest.mark.parametrize("value", ["None", "none ", "", None, "suicide", ["none"]])
def test_a_flag_is_one_of_the_listed_words(tmp_path, value):
    flag = {"type": "string", "enum": ["none", "suicidal"]}
    with pytest.raises(forge.Refused, match="`flag`: "):
        schema(tmp_path, flag=flag).check({"flag": value})


@pytest.mark.parametrize("values", [{}, {"level": 1, "more": 1}, [1], "x", None])
def test_the_keys_are_exactly_the_schema_s_even_where_it_does_not_say_so(tmp_path, values):
    with pytest.raises(forge.Refused):
        schema(tmp_path, level=LEVEL).check(values)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (LEVEL, [0, 1, 2, 3]),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3}, [1, 2]),
        ({"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 4}, [4, 8]),
        ({"type": "integer", "minimum": -0.5, "maximum": 1.5}, [0, 1]),
        ({"type": "integer", "minimum": 0, "maximum": 100_000}, None),
        ({"type": "integer", "minimum": 0}, None),
        ({"type": "number", "minimum": 0, "maximum": 3}, None),
    ],
)
def test_integer_ranges_are_sent_as_enumerations(tmp_path, given, sent):
    made = schema(tmp_path, level=given).sent["properties"]["level"]
    assert made == ({"type": "integer", "enum": sent} if sent else given)


def test_what_is_sent_asks_for_every_key_and_no_other(tmp_path):
    inner = {"type": "object", "properties": {"x": LEVEL}}
    sent = schema(tmp_path, a=LEVEL, b=inner).sent
    assert (["a", "b"], False) == (sent["required"], sent["additionalProperties"])
    assert (["x"], False) == (sent["properties"]["b"]["required"], sent["properties"]["b"]["additionalProperties"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "can't read the schema `s.json`"),
        ("[]", "does not describe an object"),
        ('{"type": "object"}', "does not describe an object"),
        ('{"type": "object", "properties": {"a": {"type": "whole"}}}', "is not a JSON Schema"),
    ],
)
def test_a_schema_that_is_none_is_named(tmp_path, text, message):
    (tmp_path / "s.json").write_text(text, encoding="utf-8")
    with pytest.raises(forge.StepError, match=message):
        Schema.read(forge.File("s.json", tmp_path / "s.json"))
