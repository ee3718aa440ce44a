"""What runs again, and what does not, after a change."""

import json

import pytest

from .conftest import CHAIN, TOY


@pytest.fixture(scope="module")
def first(shared_toy):
    assert 0 == shared_toy.build().exit_code
    return shared_toy


@pytest.fixture
def built(first):
    """Give the project as it was built, whatever the test before left; changes are the test's own, as all is kept."""
    first.reset()
    return first


@pytest.fixture
def built_last(built):
    """Give the project with what it was at first as its last build, against which changes are told."""
    built.build()
    return built


def ran(result):
    assert 0 == result.exit_code, result.stderr
    return sorted(name for name, status in result.statuses.items() if status == "ran")


def test_a_changed_parameter_runs_the_step_and_what_follows_it_alone(built_last):
    result = built_last.build("--set", "first=b")
    assert ["both", "one", "two"] == ran(result)
    assert ("hit", "hit") == (result.statuses["raw"], result.statuses["other"])
    assert "params.text: a → b" == result.steps["one"].because


def test_a_step_that_comes_out_the_same_cuts_off_what_follows(built):
    # `two` writes capitals, so `one`'s change is gone behind it
    assert ["one", "two"] == ran(built.build("--set", "first=A"))


def test_going_back_to_an_earlier_value_is_all_hits(built):
    built.build("--set", "first=c", "one")
    assert [] == ran(built.build())


def test_a_changed_file_runs_what_reads_it(built):
    built.write("raw.txt", "war")
    assert ["both", "one", "other", "raw", "two"] == ran(built.build())


def test_a_touched_or_renamed_file_runs_nothing(built):
    built.write("raw.txt", "raw")
    assert [] == ran(built.build())


def test_a_comment_a_docstring_and_a_log_line_run_nothing(built):
    source = TOY.replace(
        "        _ran(self.text)\n", "        # a comment\n        run.log('hm')\n        _ran(self.text)\n"
    )
    source = source.replace('"""Write *text* and what', '"""Put *text* and what')
    assert source != TOY
    built.plugin("toy", source)
    assert [] == ran(built.build())


def test_changed_code_runs_the_plugin_s_steps_with_the_new_code(built):
    built.plugin("toy", TOY.replace('"".join(before) + self.text', 'self.text + "".join(before)'))
    assert "code" in built.forge("plan", "forge.toml", "--json").stdout
    assert ["both", "one", "other", "two"] == ran(built.build())
    built.forge("get", "forge.toml", "both", "both.txt/")
    assert "!ARAWzraw" == (built.root / "both.txt" / "text").read_text()


def test_a_renamed_step_and_spelled_out_defaults_run_nothing(built):
    renamed = CHAIN.replace("[transforms.one]", "[transforms.uno]\npause = 3").replace('"one"', '"uno"')
    built.manifest(renamed)
    assert [] == ran(built.build())


def test_a_setting_runs_nothing(built):
    assert [] == ran(built.build("--set", "one.pause=9.5", "--jobs", "1"))


def test_a_plan_says_what_would_run_and_why_without_running_it(built_last):
    plan = json.loads(built_last.forge("plan", "forge.toml", "--set", "first=d", "--json").stdout)["steps"]
    wills = {entry["name"]: entry["will"] for entry in plan}
    assert {"raw": "hit", "other": "hit", "one": "run", "two": "unknown", "both": "unknown"} == wills
    assert ["params.text: a → d"] == {entry["name"]: entry["moved"] for entry in plan}["one"]
    assert [] == built_last.runs()


def test_explain_names_the_definition_that_changed(built_last):
    built_last.plugin("toy", TOY.replace('"".join(before) + self.text', '"".join(before) + self.text * 2'))
    said = built_last.forge("explain", "forge.toml", "one").stdout
    assert "code toy_plugin.py: class Write" in said


def test_equal_steps_run_once_and_both_have_the_result(built):
    twins = "".join(
        f"""
    [transforms.{name}]
    use = "toy.write"
    from = "raw"
    text = "new"
    pause = 0.2
    """
        for name in ("twin", "twin2")
    )
    built.manifest(CHAIN + twins)
    result = built.build()
    assert ["new"] == built.runs(), result.stderr
    assert ["hit", "ran"] == sorted([result.statuses["twin"], result.statuses["twin2"]])
    assert result.steps["twin"].tree == result.steps["twin2"].tree
