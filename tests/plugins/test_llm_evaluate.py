"""Any form of a model is scored on any table by the same figures."""

import json

import polars as pl
import pytest

import forge
from forge_llm.evaluate import forge_eval

pytestmark = pytest.mark.slow

SCHEMA = {"type": "object", "properties": {"level": {"type": "integer", "minimum": 0, "maximum": 3}}}


@pytest.fixture
def given(tmp_path, exported):
    rows = [{"instruction": "Rate it.", "input": f"text {n}", "output": json.dumps({"level": n % 4})} for n in range(6)]
    forge.write_rows(
        pl.DataFrame([*rows, {"instruction": "Rate it.", "input": "long " * 9000, "output": "{}"}]), tmp_path / "data"
    )
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "scratch").mkdir()
    run = forge.LocalRun(scratch=tmp_path / "scratch", threads=1)
    artifacts = {name: forge.Artifact(name, exported / name) for name in ("base", "adapter", "merged", "gguf")}
    schema = forge.File("schema.json", tmp_path / "schema.json")

    def score(form, inputs=("base",), **how):
        how = forge.Evaluation(**{"schema": schema, "max_tokens": 8, "rows": 4, **how})
        made_of = {name: artifacts[name] for name in inputs}
        return forge_eval(artifacts[form], made_of, forge.Artifact("data", tmp_path / "data"), how, run)

    return score, run


def test_base_adapter_merged_model_and_gguf_are_scored_alike(given):
    score, run = given
    forms = {form: score(form) for form in ("base", "adapter", "merged")}
    forms["gguf"] = score("gguf", type="f16")
    assert forms["adapter"] == forms["merged"]  # for it is merged before it is asked
    assert [4] * 4 == [found["rows"] for found in forms.values()]
    names = {"rows", "json_valid", "keys_exact", "label_in_range", "accuracy", "level_accuracy", "distinct_replies"}
    assert names <= set(forms["base"])
    assert "agreement" not in forms["base"]
    assert 4 == run.drops["longer than the context"]
    assert [] == list(run.scratch.iterdir())


def test_a_grammar_makes_replies_valid_and_is_for_gguf_files_alone(given):
    score, _ = given
    found = score("gguf", type="Q4_K_M", grammar=True)
    assert (1.0, 1.0) == (found["json_valid"], found["label_in_range"])
    with pytest.raises(forge.StepError, match="`merged` is no GGUF file"):
        score("merged", grammar=True)


def test_one_file_of_several_and_the_base_of_an_adapter_must_be_known(given):
    score, _ = given
    with pytest.raises(forge.StepError, match="`gguf` holds 2 files, one is wanted"):
        score("gguf")
    with pytest.raises(forge.StepError, match="`adapter` is an adapter, and its base is not known"):
        score("adapter", inputs=())


def test_without_a_schema_replies_are_judged_as_text(given):
    score, _ = given
    assert {"rows", "stopped", "distinct_replies"} == set(score("gguf", type="f16", schema=None))
    with pytest.raises(forge.StepError, match="a grammar holds replies to a schema, and there is none"):
        score("gguf", type="f16", schema=None, grammar=True)
