"""`forge show` of token ids: what is learned is seen, with colours and without."""

import io
import json

import pytest
from rich.cells import cell_len
from rich.console import Console

from forge.cli.show_tokens import is_tokens, show_sample, show_statistics, text_of

SEGMENTS = [
    ["<|im_start|>", False, True],
    ["user\n今天我很焦虑，睡不着。" * 3 + "[bold]x[/]", False, False],
    ["<|im_end|>", False, True],
    ["\n", False, False],
    ["<|im_start|>", False, True],
    ["assistant\n", False, False],
    ['{"risk": 2, "说明": "焦虑"}', True, False],
    ["<|im_end|>", True, True],
    ["\n", False, False],
]
ROW = {"id": "a", "n_tokens": 40, "n_trained": 10, "segments": SEGMENTS}
STATISTICS = {
    "train": {
        "rows": 1200,
        "read": 1203,
        "dropped": 3,
        "reasons": {"longer than `max_length`": 3},
        "tokens": 384000,
        "trained_tokens": 46080,
        "trained_share": 0.12,
        "longest": 1024,
        "mean": 320.0,
        "straddling": 0,
        "split": 2,
        "parts": 5,
        "weights": {"1": 1000, "5": 200},
    },
    "eval": {
        "rows": 1,
        "read": 1,
        "dropped": 0,
        "tokens": 10,
        "trained_tokens": 5,
        "trained_share": 0.5,
        "longest": 10,
        "mean": 10.0,
        "straddling": 0,
    },
    "template": "0123",
}


def printed(show, **options):
    out = Console(file=io.StringIO(), width=80, highlight=False, **options)
    show(out)
    return out.file.getvalue()


def test_without_colours_what_is_learned_stands_between_brackets():
    plain = printed(lambda out: show_sample(out, "train", [ROW], 1), no_color=True)
    assert '⟦{"risk": 2, "说明": "焦虑"}<|im_end|>⟧' in plain
    assert 2 == plain.count("⟦")  # the other one is the legend's
    assert "train row a: 10 of 40 tokens learned (25.0%)" in plain
    assert "\x1b" not in plain


def test_with_colours_what_is_learned_is_green_and_nothing_is_in_brackets():
    coloured = printed(lambda out: show_sample(out, "train", [ROW], 1), force_terminal=True, color_system="standard")
    assert '\x1b[1;32m{"risk": 2, "说明": "焦虑"}\x1b[0m\x1b[1;7;32m<|im_end|>\x1b[0m' in coloured
    assert "\x1b[36m<|im_start|>\x1b[0m\x1b[2muser⏎" in coloured
    assert "⟦" not in coloured


@pytest.mark.parametrize("options", [{"no_color": True}, {"force_terminal": True, "color_system": None}])
def test_no_line_is_wider_than_the_terminal_chinese_included(options):
    plain = printed(lambda out: show_sample(out, "train", [ROW], 1), **options)
    lines = plain.splitlines()
    assert max(cell_len(line) for line in lines) <= 80
    assert "今天我很焦虑，睡不着。user⏎" in plain.replace("\n", "").replace("  ", "")


def test_markup_in_a_text_is_text_and_signs_that_move_the_cursor_are_named():
    assert "[bold]x[/]" in text_of(SEGMENTS, colours=True).plain
    assert r"a\u001b[31m⇥" == text_of([["a\x1b[31m\t", False, False]], colours=False).plain


def test_a_long_prompt_is_shown_by_its_two_ends_and_an_answer_whole():
    text = text_of([["问" * 5000, False, False], ["答" * 5000, True, False]], colours=False).plain
    assert ("… 4,520 signs …" in text, 5000) == (True, text.count("答"))


def test_statistics_of_token_ids_are_a_line_a_part_with_the_share_that_is_learned():
    assert is_tokens(STATISTICS)
    assert not is_tokens({"rows": 3})
    assert not is_tokens(None)
    lines = printed(lambda out: show_statistics(out, STATISTICS), no_color=True).splitlines()
    line = next(line for line in lines if "384,000" in line)
    assert ["train", "1,200", "3", "384,000", "46,080", "12.0%", "1,024"] == line.split()
    assert "train: 3 dropped: longer than `max_length`" in lines
    assert "train: 2 rows split into 5 parts" in lines
    assert "train: weights: 1,000 × 1, 200 × 5" in lines
    assert max(map(cell_len, lines)) <= 80


@pytest.fixture
def token_step(forge_project):
    """Build a step that makes token ids without a model."""
    forge_project.plugin(
        "toy",
        f"""
        import json
        import attrs, forge

        @attrs.frozen
        class Rows:
            \"\"\"Yield a row.\"\"\"

            def read(self, run):
                yield [{{"id": "a"}}]

        @attrs.frozen
        class Tokens:
            \"\"\"Make token ids.\"\"\"

            def make(self, inputs, out, run):
                import polars as pl

                (out / "train").mkdir()
                forge.write_rows(pl.DataFrame({{"id": ["a"], "input_ids": [[1, 2]]}}), out / "train")
                (out / "train" / "sample.json").write_text(json.dumps([{ROW!r}]))
                (out / "stats.json").write_text(json.dumps({STATISTICS!r}))

        @forge.hookimpl
        def forge_register(register):
            register.source("rows", Rows, version="1")
            register.transform("tokens", Tokens, version="1")
        """,
    )
    forge_project.manifest('[sources.rows]\nuse = "toy.rows"\n[transforms.tokens]\nuse = "toy.tokens"\nfrom = "rows"\n')
    assert {"rows": "ran", "tokens": "ran"} == forge_project.build().statuses
    return forge_project


def test_the_command_prints_table_and_sample_and_json_stays_as_it_is(token_step):
    shown = token_step.forge("show", "forge.toml", "tokens").stdout
    assert '⟦{"risk": 2, "说明": "焦虑"}<|im_end|>⟧' in shown
    assert "12.0%" in shown
    assert "input_ids" not in shown
    assert "stats.json\n{" not in shown
    document = json.loads(token_step.forge("show", "forge.toml", "tokens", "--json").stdout)
    assert STATISTICS == document["stats"]
    assert "row a" not in token_step.forge("show", "forge.toml", "tokens", "--rows", "0").stdout
