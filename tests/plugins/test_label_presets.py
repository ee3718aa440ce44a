"""Providers by name, and the schema that the lexicon is held to."""

import polars as pl
import pytest

import forge
from forge.plugin.requests import request_key
from forge_label.endpoint import OpenAI
from forge_label.lexicon import Lexicon
from forge_label.schema import Label

SCHEMA = {"level": Label(minimum=0, maximum=3)}


def asking(**parameters):
    return OpenAI(schema=SCHEMA, prompt_text="{{ text }}", column="text", **parameters)


def preset(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    return forge.File("mine.toml", tmp_path / "mine.toml")


def test_a_preset_asks_for_what_its_lines_written_out_would_ask_for(tmp_path):
    file = preset(tmp_path, 'base_url = "http://127.0.0.1:1/v1"\nmodel = "m"\nkey_env = "K"\nstructured = "none"\n')
    out = asking(base_url="http://127.0.0.1:1/v1", model="m", key_env="K", structured="none")
    row = {"text": "a"}
    assert request_key(out.request(row)) == request_key(asking(preset_file=file).request(row))
    assert (("K",), "m") == (asking(preset_file=file).secrets(), asking(preset_file=file).named)


def test_what_a_step_says_itself_goes_before_its_preset():
    mine = asking(preset="gemini", model="gemini-2.5-pro")
    assert ("gemini-2.5-pro", ("GEMINI_API_KEY",)) == (mine.named, mine.secrets())
    assert "https://generativelanguage.googleapis.com/v1beta/openai" == mine.identity()["provider"]


@pytest.mark.parametrize("name", ["gemini", "openai", "deepseek", "qwen", "ollama", "llama-server"])
def test_every_preset_is_whole(name):
    assert asking(preset=name).address.startswith("http")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base_url = 3", "`base_url` must be a string, got `3`"),
        ('base_url = "https://a:b@c/v1"\nmodel = "m"', "must hold no user, password or query"),
        ('base_uri = "http://x"', "can't say `base_uri`; it may hold `base_url`"),
        ('base_url = "http://x/v1"', "`model` is missing: give it, or a `preset` that does"),
        ("base_url", "is not TOML"),
    ],
)
def test_a_preset_that_is_wrong_is_told_what_is_wrong_in_it(tmp_path, text, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        asking(preset_file=preset(tmp_path, text))
    assert said in str(caught.value)


def test_an_unknown_preset_is_told_the_nearest_one():
    with pytest.raises(ValueError, match=r"there is no preset `gemnii`; did you mean `gemini`\?"):
        asking(preset="gemnii")


def test_the_lexicon_gives_the_labels_of_its_schema_and_no_value_that_it_forbids():
    rows = pl.LazyFrame({"conversation": ["我很焦虑"]})
    flags = Label(enum=("none", "suicidal", "self_harm", "violence"))
    out = Lexicon(schema={"anxiety_level": Label(minimum=0, maximum=3), "risk_flag": flags}).label(rows).collect()
    assert "depression_level" not in out.columns
    assert {"anxiety_level", "risk_flag"} <= set(out.columns)
    with pytest.raises(forge.StepError, match="the lexicon has no label `mood`"):
        Lexicon(schema={"mood": Label(minimum=0, maximum=3)}).label(rows)
    with pytest.raises(forge.StepError, match="the lexicon may give `anxiety_level` the value `3`, the schema forbids"):
        Lexicon(schema={"anxiety_level": Label(minimum=0, maximum=2)}).label(rows)
