"""Prompts and schemas of labelers, looked at without a request."""

from __future__ import annotations

import json

import pytest

MANIFEST = """
    [sources.rows]
    use = "files.jsonl"
    path = "rows.jsonl"

    [labelers.labels]
    use = "label.openai"
    from = {{ data = "rows" }}
    base_url = "http://127.0.0.1:9/v1"
    model = "m"
    column = "{column}"
    prompt_text = "{prompt}"
    schema = "schema.json"
    {more}

    [transforms.long]
    use = "text.length-band"
    from = "labels"
    column = "text"
    least = 3

    [checks.believable]
    use = "check.labels"
    from = {{ data = "labels" }}
    labels = ["level"]
    require = {{ labelled = 1.0 }}
    """
SCHEMA = {
    "type": "object",
    "properties": {"level": {"type": "integer", "minimum": 0, "maximum": 3}, "flag": {"enum": ["none", "some"]}},
}


@pytest.fixture
def project(forge_project):
    rows = [{"id": n, "text": f"text number {n}"} for n in range(12)] + [{"id": 12, "text": " "}]
    forge_project.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    forge_project.write("schema.json", json.dumps(SCHEMA))
    return forge_project


def checked(project, *, column="text", prompt="Label {{ text }}", more=""):
    project.manifest(MANIFEST.format(column=column, prompt=prompt, more=more))
    result = project.forge("check", "forge.toml", "--json")
    looks = {look["step"]: look for look in json.loads(result.stdout)["looks"]}
    bad = [n for n in looks["labels"]["notices"] if n["state"] == "bad"]
    assert (1 if bad else 0) == result.exit_code or any("environment" in n["message"] for n in bad)
    return looks, bad


def test_prompts_are_rendered_over_the_rows_and_what_follows_is_tried_on_stand_in_labels(project):
    looks, bad = checked(project)
    assert [] == bad
    said = {n["what"]: n["message"] for n in looks["labels"]["notices"]}
    assert "2 labels: level, flag" == said["schema"]
    assert "12 of 13 rows give a prompt, 1 are skipped: `text` is empty" == said["prompts"]
    assert "12 of 13 rows; left out: 1 × under 3 characters" == looks["long"]["notices"][0]["message"]
    assert "good" == looks["believable"]["state"]
    assert not (project.store / "journals").exists() or not list((project.store / "journals").iterdir())


@pytest.mark.parametrize(
    ("values", "said", "hint"),
    [
        (
            {"prompt": "Label {{ txet }}"},
            "the prompt `prompt_text` names `txet`, which is no column",
            "did you mean `text`?",
        ),
        ({"prompt": "Label {{ text"}, "the prompt `prompt_text`, line 1: ", None),
        ({"prompt": "Label {{ text + 1 }}"}, "can't render the prompt: ", "it may use"),
        ({"column": "txt"}, "the rows have no column `txt`", "did you mean `text`?"),
        ({"more": 'evidence_text = "Quote {{ wrods }}"'}, "`evidence_text` names `wrods`", None),
    ],
)
def test_a_prompt_that_can_t_be_rendered_is_found_before_a_request(project, values, said, hint):
    _, bad = checked(project, **values)
    assert said in bad[0]["message"]
    assert hint is None or hint in bad[0]["hint"]


def test_a_name_that_only_some_rows_would_have_is_allowed_where_the_prompt_asks_for_it(project):
    looks, bad = checked(project, prompt="{{ text }}{% if topic is defined %}{{ topic }}{% endif %}")
    assert [] == bad
    assert "doubtful" == looks["labels"]["state"]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{", "can't read the schema `schema.json`"),
        ('{"type": "array"}', "does not describe an object with properties"),
        ('{"type": "object", "properties": {"level": {"type": "intger"}}}', "is not a JSON Schema"),
        (
            '{"type": "object", "properties": {"level": {"type": "integer", "minimum": 4, "maximum": 3}}}',
            "`level` is to be at least 4 and at most 3",
        ),
    ],
)
def test_a_schema_that_no_reply_can_fit_is_found(project, schema, said):
    project.write("schema.json", schema)
    _, bad = checked(project)
    assert said in bad[0]["message"]


def test_a_key_that_is_not_set_is_found_beside_all_else(project):
    project.environment["NO_SUCH_KEY"] = None
    project.manifest(MANIFEST.format(column="text", prompt="Label {{ txet }}", more='key_env = "NO_SUCH_KEY"'))
    result = project.forge("check", "forge.toml")
    assert 2 == result.exit_code
    assert "names `txet`" in result.stdout
    assert "the environment variable `NO_SUCH_KEY` is not set" in result.stdout
    assert "forge.toml:14: step `labels`: the environment variable `NO_SUCH_KEY` is not set" in result.stderr
