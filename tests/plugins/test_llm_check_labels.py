"""What a reply must be, read from a JSON Schema; and the figures of replies."""

import json
from pathlib import Path

import attrs
import pytest

import forge
from forge_llm.check.figures import Reply, below_commonest, figures, judge, macro_f1, names
from forge_llm.check.gguf_check import GgufCheck
from forge_llm.check.labels import read_labels

GOOD = {"depression_level": 1, "anxiety_level": 0, "risk_flag": "none", "student_distress_score": 9}
SCHEMA = forge.File("student.json", Path(__file__).parents[2] / "manifests/schemas/student.json")
STUDENT = read_labels(SCHEMA)


def schema_file(tmp_path, schema):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(schema))
    return forge.File("labels.json", path)


def an_object(**properties):
    return {"type": "object", "properties": properties}


def reply(text, expected="{}", reference=None):
    return Reply(
        row=1, prompt="", expected=expected, text=text, stopped=True, free=text, free_stopped=False, reference=reference
    )


@pytest.mark.parametrize(
    ("change", "in_range"),
    [
        ({}, True),
        ({"depression_level": 4}, False),
        ({"depression_level": -1}, False),
        ({"depression_level": 1.0}, False),
        ({"depression_level": True}, False),
        ({"depression_level": "1"}, False),
        ({"depression_level": None}, False),
        ({"risk_flag": "None"}, False),
        ({"extra": 1}, False),
    ],
)
def test_a_label_is_in_range_or_it_is_not(change, in_range):
    assert in_range == STUDENT.in_range({**GOOD, **change})


@pytest.mark.parametrize(
    ("answer", "objection"),
    [
        (json.dumps(GOOD), ""),
        ("very sad", "is no JSON object"),
        ("{}", "has no `depression_level`"),
        (json.dumps({**GOOD, "risk_flag": "neutral"}), '`risk_flag` = "neutral"'),
        (json.dumps({**GOOD, "anxiety_level": 4}), "`anxiety_level` = 4"),
        (json.dumps({**GOOD, "mood": 4}), "has `mood`, which the schema does not name"),
    ],
)
def test_what_is_not_allowed_is_told_by_key_and_value(answer, objection):
    assert objection == STUDENT.objection(answer)


def test_a_missing_key_is_not_in_range():
    assert not STUDENT.in_range({key: value for key, value in GOOD.items() if key != "risk_flag"})


def test_the_grammar_of_an_integer_range_is_an_enumeration():
    rules = dict(line.split(" ::= ") for line in STUDENT.grammar().splitlines())
    assert rules["value-0"] == '"0" | "1" | "2" | "3"'
    assert rules["value-2"] == r'"\"none\"" | "\"suicidal\"" | "\"self_harm\"" | "\"violence\""'
    assert rules["root"].startswith(r'"{" "\"depression_level\"" ":" gap value-0 "," gap "\"anxiety_level\""')


def test_open_bounds_become_closed_ones(tmp_path):
    field = {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3}
    labels = read_labels(schema_file(tmp_path, an_object(a=field)))
    assert labels.fields[0].choices == (1, 2)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("[", "`labels.json` is not JSON"),
        ({"type": "array"}, "`labels.json` must be the schema of an object with properties"),
        ({**an_object(a={"type": "string"}), "patternProperties": {}}, "has `patternProperties`, which is not checked"),
        (an_object(a={"type": "string", "pattern": "x"}), "`a` in `labels.json` has `pattern`, which is not checked"),
        (an_object(a={"type": "array"}), "`a` in `labels.json` must be one of integer, number, string, boolean"),
        ({**an_object(a={"type": "string"}), "required": ["b"]}, "must require at least one of its properties"),
        (an_object(a={"type": "integer", "minimum": 9, "maximum": 3}), "allows no value: its minimum 9 is above 3"),
        (an_object(a={"type": "number", "minimum": 0.2, "maximum": 0.1}), "allows no value: its minimum 0.2 is above"),
        (an_object(a={"type": "string", "minLength": 3, "maxLength": 2}), "allows no value: its minLength 3 is above"),
    ],
)
def test_a_schema_that_says_more_than_is_checked_is_refused(tmp_path, schema, message):
    file = schema_file(tmp_path, schema)
    if isinstance(schema, str):
        file.path.write_text(schema)
    with pytest.raises(ValueError, match=r"labels\.json") as caught:
        GgufCheck(schema=file)
    assert message in str(caught.value)


def test_a_range_that_no_grammar_holds_is_refused_unless_none_is_wanted(tmp_path):
    file = schema_file(tmp_path, an_object(a={"type": "integer", "minimum": 0}))
    with pytest.raises(forge.StepError) as caught:
        GgufCheck(schema=file)
    assert caught.value.message == "the range of `a` can't be held by a grammar"
    assert GgufCheck(schema=file, grammar=False).grammar is False


@pytest.mark.parametrize(
    ("require", "message"),
    [
        ({"json_vald": 0.9}, "there is no figure `json_vald`; did you mean `json_valid`?"),
        ({"anxiety_mae": 0.9}, "there is no figure `anxiety_mae`; did you mean `anxiety_level_mae`?"),
        ({"token_ids_equal": 1.0}, "the bound of `token_ids_equal` must be true or false, got `1.0`"),
        ({"json_valid": True}, "the bound of `json_valid` must be a number, got `true`"),
        ({"json_valid": 99.0}, "the bound of `json_valid` must be from 0 to 1, got `99.0`"),
        ({"Q4_K_M.acuracy": 0.9}, "there is no figure `acuracy`; did you mean `accuracy`?"),
        ({"q4_k_m.accuracy": 0.9}, "`q4_k_m.accuracy` names no type; did you mean `Q4_K_M.accuracy`?"),
        ({"Q4_K_MM.accuracy": 0.9}, "there is no GGUF type `Q4_K_MM`; did you mean `Q4_K_M`?"),
        ({"accuracy": 1.5}, "the bound of `accuracy` must be from 0 to 1, got `1.5`"),
        ({"anxiety_level_mae": -0.5}, "the bound of `anxiety_level_mae` must be >= 0, got `-0.5`"),
    ],
)
def test_a_bound_on_nothing_is_refused_before_anything_runs(require, message):
    with pytest.raises(ValueError, match=r"figure|bound|type") as caught:
        GgufCheck(require=require, schema=SCHEMA)
    assert str(caught.value) == message


def test_a_bound_on_what_depends_on_the_machine_is_refused():
    with pytest.raises(ValueError, match="how fast a machine is, and how much it holds, is measured"):
        GgufCheck(schema=SCHEMA, require={"tokens_per_second": 20.0})


def test_a_bound_on_agreement_needs_rows_to_agree_on():
    with pytest.raises(ValueError, match="needs `reference_rows` above 0"):
        GgufCheck(schema=SCHEMA, require={"agreement": 0.9}, reference_rows=0)


def test_figures_are_at_least_distances_at_most_and_facts_equal_to_their_bound():
    require = {"json_valid": 0.9, "anxiety_level_mae": 0.5, "token_ids_equal": True, "agreement": 0.1}
    assert forge.Finding("json_valid", 0.9, 0.9, passed=True) == judge("json_valid", 0.9, require)
    assert forge.Finding("json_valid", 0.89, 0.9, passed=False) == judge("json_valid", 0.89, require)
    assert forge.Finding("anxiety_level_mae", 0.5, 0.5, passed=True) == judge("anxiety_level_mae", 0.5, require)
    assert forge.Finding("anxiety_level_mae", 0.6, 0.5, passed=False) == judge("anxiety_level_mae", 0.6, require)
    assert not judge("token_ids_equal", value=False, require=require).passed
    assert not judge("agreement", None, require).passed
    assert judge("accuracy", 0.0, require) == forge.Finding("accuracy", 0.0)


def test_shares_and_distances_are_counted_over_all_replies():
    other = {**GOOD, "depression_level": 3, "risk_flag": "violence"}
    replies = [
        reply(json.dumps(GOOD), json.dumps(GOOD), json.dumps(other)),
        reply(json.dumps({**GOOD, "anxiety_level": 7}), json.dumps(other), "I am no JSON"),
        reply("so sorry to hear", json.dumps(GOOD)),
        reply('{"depression_level": 1}', json.dumps(GOOD)),
    ]
    found = figures(replies, STUDENT)
    assert found["json_valid"] == 0.75
    assert found["keys_exact"] == 0.5
    assert found["label_in_range"] == 0.25
    assert (found["stopped"], found["stopped_free"]) == (1.0, 0.0)
    assert found["accuracy"] == (4 + 1 + 0 + 1) / 16
    assert found["agreement"] == (2 + 0) / 8
    assert found["depression_level_accuracy"] == 0.5
    assert found["depression_level_mae"] == round((0 + 2 + 0) / 3, 6)
    assert found["anxiety_level_mae"] == 3.5


def test_macro_f1_is_what_the_textbook_gives():
    """F1 by value: 0 twice right and once said for a 1, 1 once right of two, 2 wanted once and never said."""
    wanted = [0, 0, 1, 1, 2]
    said = [0, 0, 0, 1, None]
    pairs = [({"a": w}, None if s is None else {"a": s}) for w, s in zip(wanted, said, strict=True)]
    assert macro_f1(pairs, "a") == pytest.approx(((2 * 2 / 5) + (2 * 1 / 3) + 0) / 3)
    assert macro_f1([(None, {"a": 1})], "a") is None


def test_what_is_held_by_a_grammar_and_what_is_free_are_counted_apart():
    other = {**GOOD, "anxiety_level": 3}
    one = attrs.evolve(reply(json.dumps(GOOD), json.dumps(GOOD)), free=json.dumps(other))
    found = figures([one, attrs.evolve(one, free="no JSON")], STUDENT)
    assert (found["accuracy"], found["accuracy_free"]) == (1.0, 3 / 8)
    assert (found["json_valid"], found["json_valid_free"]) == (1.0, 0.5)
    assert (found["mae"], found["mae_free"]) == (0.0, 1.0)
    assert (found["macro_f1"], found["macro_f1_free"] < 1) == (1.0, True)


def test_replies_without_labels_are_counted_as_text():
    found = figures([reply("yes", "no", "yes"), reply("yes", "yes", "no"), reply("yes")], None)
    assert {"stopped": 1.0, "distinct_replies": 1, "agreement": 0.5} == found
    assert not [name for name in names(None) if "json" in name or "accuracy" in name]


@pytest.mark.parametrize("form", [None, "text"])
@pytest.mark.parametrize(
    "name", ["json_valid", "label_in_range", "accuracy", "f16.macro_f1", "mae", "level_accuracy", "stopped_free"]
)
def test_a_bound_on_labels_without_a_schema_is_refused_before_anything_runs(form, name):
    with pytest.raises(ValueError, match=f"`{name}` is a figure of labels, and no `schema` says what they are"):
        GgufCheck(form=form, require={name: 1.0})


def test_without_a_schema_replies_are_text():
    GgufCheck(require={"f16.top1_answers": 0.9, "agreement": 0.5})
    with pytest.raises(ValueError, match='`form = "labels"` needs a `schema`'):
        GgufCheck(form="labels")


def test_whose_accuracy_is_below_that_of_the_commonest_answer():
    values = {"accuracy_of_commonest": 0.5, "f16.accuracy": 0.5, "Q4_K_M.accuracy": 0.4, "f16.mood_accuracy": 0.1}
    assert ["Q4_K_M"] == below_commonest(values)
    assert [] == below_commonest({"f16.accuracy": 0.4, "accuracy_of_commonest": None})


def test_with_nothing_to_measure_on_a_figure_is_none():
    found = figures([reply("no", "also no")], STUDENT)
    assert found["agreement"] is None
    assert found["anxiety_level_mae"] is None
    assert found["accuracy"] == 0.0
