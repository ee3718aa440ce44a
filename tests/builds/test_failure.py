"""Steps that fail, and what a build makes of them."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import CHAIN, TOY

FAILING = (
    CHAIN
    + """
    [transforms.broken]
    use = "toy.fail"
    from = "one"

    [transforms.after]
    use = "toy.upper"
    from = "broken"
    """
)


@pytest.fixture
def toy(shared_toy):
    """Give a project whose good steps are built before, by the first test here."""
    shared_toy.reset()
    return shared_toy


def test_a_failed_step_stops_what_needs_it_and_nothing_else(toy):
    toy.manifest(FAILING)
    result = toy.build()
    others = {name: status for name, status in result.statuses.items() if name not in ("broken", "after")}
    assert (1, {"ran"}) == (result.exit_code, set(others.values()))
    assert ("failed", "skipped") == (result.statuses["broken"], result.statuses["after"])
    assert "`broken` failed" == result.steps["after"].because
    assert ("the well is dry", "dig deeper", 1) == tuple(
        result.steps["broken"].error[key] for key in ("message", "hint", "exit_code")
    )
    assert "error: step `broken`: the well is dry\n  hint: dig deeper\n" in result.stderr
    assert "Traceback" not in result.stderr
    again = toy.build("--set", "broken.how=silently")
    assert "step `broken` made no files" == again.steps["broken"].error["message"]
    assert "hit" == again.statuses["both"]


def test_a_plugin_s_bug_shows_the_plugin_s_traceback_and_none_of_forge_s(toy):
    toy.manifest(FAILING)
    result = toy.build("--set", "broken.how=stumble")
    assert (1, "failed") == (result.exit_code, result.statuses["broken"])
    assert "IndexError: list index out of range" == result.steps["broken"].error["message"]
    assert "return steps[3]" in result.stderr
    assert 'toy_plugin.py", line' in result.stderr
    assert "forge/run" not in result.stderr
    log = result.steps["broken"].error["log"]
    assert "return steps[3]" in Path(log).read_text()


def test_a_step_whose_process_is_killed_fails_and_the_others_are_built(toy):
    toy.build()
    toy.manifest(FAILING)
    result = toy.build("--set", "broken.how=killed")
    assert (1, "failed", "hit") == (result.exit_code, result.statuses["broken"], result.statuses["both"])
    assert (
        "the process that ran step `broken` was killed by signal 9 (SIGKILL)"
        == (result.steps["broken"].error["message"])
    )


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_build_whose_standard_streams_are_closed_is_a_build(toy, closed):
    toy.manifest(CHAIN.replace("raw.txt", "closed.txt"))
    toy.write("closed.txt", closed)
    words = f"{shlex.quote(sys.executable)} -m forge build forge.toml {closed}"
    done = subprocess.run(
        ["sh", "-c", words], check=False, cwd=toy.root, env=toy._environment({}), stderr=subprocess.PIPE, text=True
    )
    assert (0, False) == (done.returncode, "Traceback" in done.stderr)
    assert {"hit"} == set(toy.build().statuses.values())


MISTAKES = """
import shutil
import sys

import attrs

import forge


@attrs.frozen
class Rows:
    \"\"\"Do *what* with the rows.\"\"\"

    what: str

    def transform(self, rows):
        return eval(self.what)


@attrs.frozen
class Parts(Rows):
    \"\"\"Do *what* for parts.\"\"\"

    transform = None

    def parts(self):
        return ("one",)

    def split(self, rows):
        return eval(self.what)


@attrs.frozen
class Files:
    \"\"\"Do *what* with the folder.\"\"\"

    what: str

    def make(self, inputs, out, run):
        exec(self.what)


@forge.hookimpl
def forge_register(register):
    register.transform("rows", Rows, version="1")
    register.transform("each", Rows, version="1", rowwise=True)
    register.transform("parts", Parts, version="1")
    register.transform("files", Files, version="1")
"""
MISTAKEN = """
    [sources.words]
    use = "toy.words"
    path = "raw.txt"

    [transforms.broken]
    use = "mistakes.KIND"
    from = "words"
    what = "WHAT"
    """


@pytest.mark.parametrize(
    ("kind", "what", "message"),
    [
        ("rows", "rows.collect()", "`transform` of `mistakes.rows` must return a LazyFrame, it returned `DataFrame`"),
        ("rows", "None", "`transform` of `mistakes.rows` must return a LazyFrame, it returned nothing"),
        ("each", "rows.collect()", "`transform` of `mistakes.each` must return a LazyFrame, it returned `DataFrame`"),
        ("parts", "[rows]", "`split` of `mistakes.parts` must return a dict of LazyFrames, it returned `list`"),
        (
            "parts",
            "{'one': rows.collect()}",
            "`split` of `mistakes.parts` must return a LazyFrame, it returned `DataFrame` as part `one`",
        ),
        ("files", "sys.exit(3)", "the step raised `SystemExit: 3`, which ends a process"),
        ("files", "raise KeyboardInterrupt", "the step raised `KeyboardInterrupt`, which ends a process"),
        ("files", "shutil.rmtree(out)", "the step took its folder away"),
        ("files", "shutil.rmtree(out); out.write_text('x')", "the step put a file in the place of its folder"),
    ],
)
def test_a_plugin_author_s_mistake_is_told_in_words(toy, kind, what, message):
    toy.plugin("mistakes", MISTAKES)
    toy.manifest(MISTAKEN.replace("KIND", kind).replace("WHAT", what))
    result = toy.build()
    assert (1, message) == (result.exit_code, result.steps["broken"].error["message"])
    assert result.steps["broken"].error["hint"]


def test_a_failed_check_shows_the_figure_beside_its_bound(toy):
    toy.manifest(
        CHAIN
        + """
        [checks.bound]
        use = "toy.bound"
        from = "one"
        least = 5
        """
    )
    result = toy.build()
    assert (1, "failed") == (result.exit_code, result.statuses["bound"])
    assert "check `bound` failed: 1 of 1 bounds is broken" in result.stderr
    assert "letters: 4, required 5" in result.stderr
    shown = toy.forge("show", "forge.toml", "bound")
    assert (2, True) == (shown.exit_code, "letters" in shown.stdout)
    passed = toy.build("--set", "bound.least=4")
    assert (0, "ran") == (passed.exit_code, passed.statuses["bound"])
    receipt = json.loads(toy.forge("show", "forge.toml", "bound", "--set", "bound.least=4", "--json").stdout)["receipt"]
    assert [True, "toy.bound"] == [receipt["passed"], receipt["check"]]
    assert [{"digest": passed.steps["one"].tree, "files": dict(passed.steps["one"].outputs)}] == list(
        receipt["inputs"].values()
    )


@pytest.mark.parametrize("filtered", [True, False])
def test_an_empty_table_is_an_error_that_names_the_step_and_the_reasons(toy, filtered):
    toy.write("words.txt", "a\nbb\n")
    toy.manifest(
        f"""
        [sources.words]
        use = "toy.words"
        path = "words.txt"

        [transforms.band]
        use = "toy.band"
        from = "words"
        least = 5
        filtered = {str(filtered).lower()}
        """
    )
    result = toy.build()
    reason = "filtered by toy.band" if filtered else "too short"
    assert (1, f"it has no rows left of 2 that came in\n  2 × {reason}") == (
        result.exit_code,
        result.steps["band"].error["message"],
    )


def test_a_source_without_rows_is_told_of_its_files_and_not_of_a_step_before(toy):
    toy.write("rows.jsonl", "")
    toy.manifest('[sources.rows]\nuse = "files.jsonl"\npath = "rows.jsonl"\n')
    failed = toy.build()
    assert "it has no rows left\n  1 × empty file" == failed.steps["rows"].error["message"]
    assert failed.steps["rows"].error["hint"].startswith("its files hold nothing that can be used")
    assert "error: step `rows`: it has no rows left" in failed.stderr
    assert "warning: `rows`: 1 file can't be used" in failed.stderr


def test_a_step_that_needs_the_network_is_refused_offline(toy):
    toy.manifest(CHAIN.replace('use = "toy.upper"', 'use = "toy.wide"'))
    result = toy.build("--offline")
    assert (1, "failed", "skipped") == (result.exit_code, result.statuses["two"], result.statuses["both"])
    assert "needs the network, which `--offline` forbids" in result.stderr


def test_a_plugin_that_can_t_be_loaded_is_exit_code_3_with_its_error(toy):
    toy.plugin("toy", TOY + "\nraise RuntimeError('half a plugin')\n")
    result = toy.build()
    assert 3 == result.exit_code
    assert "plugin `toy` (`toy_plugin`) can't be loaded: RuntimeError('half a plugin')" in result.stderr


def test_a_plugin_that_registers_a_plain_class_is_exit_code_3_with_a_hint(toy):
    toy.plugin("toy", TOY.replace("@attrs.frozen\nclass Upper", "class Upper"))
    result = toy.build()
    assert (3, True) == (result.exit_code, "decorate `Upper` with `@attrs.frozen`" in result.stderr)


@pytest.mark.parametrize("store", ["raw.txt", "raw.txt/store"])
def test_a_store_that_can_t_be_made_is_exit_code_4(toy, store):
    result = toy.build("--store", store)
    assert (4, False) == (result.exit_code, "Traceback" in result.stderr)


def test_a_store_of_another_format_is_exit_code_4(toy):
    toy.write("newer/format", "99")
    result = toy.build("--store", "newer")
    assert (4, True) == (result.exit_code, "has format `99`" in result.stderr)


def test_a_damaged_object_stops_what_needs_it_and_the_next_build_heals_it(toy):
    first = toy.build()
    digest = first.steps["one"].outputs["text"]
    damaged = toy.store / "objects" / digest[:2] / digest[2:]
    damaged.chmod(0o644)
    damaged.write_text("RAWx")
    assert 4 == toy.forge("store", "verify").exit_code
    toy.manifest(CHAIN.replace('use = "toy.upper"', 'use = "toy.write"'))
    second = toy.build()
    assert (4, "failed") == (second.exit_code, second.statuses["two"])
    assert "is damaged or missing" in second.stderr
    third = toy.build()
    assert (0, "ran", "ran") == (third.exit_code, third.statuses["one"], third.statuses["two"])
    assert 0 == toy.forge("store", "verify").exit_code
