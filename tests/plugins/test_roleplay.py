"""A character's lines and settings become samples: kinds by input, windows over scenes, weights by kind."""

import re
from pathlib import Path

import polars as pl
import pytest

import forge
from forge_roleplay.cleaning import cleaned
from forge_roleplay.dialogues import Dialogues
from forge_roleplay.instructions import Instructions, Kind
from forge_roleplay.lines import Lines, Speakers
from forge_roleplay.weights import Weights
from forge_roleplay.windows import Windows

KINDS = {
    "background": Kind(instruction="介绍{character}：{input}", inputs=("更多描述",), prefixes=("角色故事",)),
    "settings": Kind(instruction="谈一谈{input}", others=True),
    "dialogue": Kind(instruction="以{character}的身份说一句话。", empty=True),
}


def made(step, rows):
    """Return the rows that a step keeps, and the reasons of those that leave."""
    table = step.transform(pl.DataFrame(rows, infer_schema_length=None).lazy()).collect()
    if "__dropped__" not in table.columns:
        return table.to_dicts(), []
    dropped = table["__dropped__"].drop_nulls().to_list()
    return table.filter(pl.col("__dropped__").is_null()).drop("__dropped__").to_dicts(), dropped


def instructions(**parameters):
    return Instructions(**({"character": "阿渡", "source": "s", "id": ("id",), "kinds": KINDS} | parameters))


def windows(**parameters):
    return Windows(**({"character": "A", "source": "s", "passage": ("file",)} | parameters))


def scene(*said, file="one.json"):
    return [{"file": file, "speaker": line[0], "text": line[1:]} for line in said]


def turns(row):
    return [f"{turn['role'][0]}:{turn['text']}" for turn in row["conversation"]]


def tallies(table):
    """Return what a step counted inside of rows."""
    return {name.partition(":")[2]: table[name].sum() for name in table.columns if name.startswith("__tally__:")}


def file_of(path: Path, text: str) -> forge.File:
    path.write_text(text, encoding="utf-8")
    return forge.File(path.name, path)


@pytest.mark.parametrize(
    ("value", "kind", "question"),
    [
        ("更多描述", "background", "介绍阿渡：更多描述"),
        ("角色故事5", "background", "介绍阿渡：角色故事5"),
        ("初次见面…", "settings", "谈一谈初次见面…"),
        ("", "dialogue", "以阿渡的身份说一句话。"),
        (" \t", "dialogue", "以阿渡的身份说一句话。"),
        (None, "dialogue", "以阿渡的身份说一句话。"),
    ],
)
def test_the_input_chooses_the_kind_and_the_instruction(value, kind, question):
    rows, _ = made(
        instructions(), [{"id": "a", "input": value, "text": "好。"}, {"id": "b", "input": "x", "text": "y"}]
    )
    assert (kind, [f"u:{question}", "a:好。"]) == (rows[0]["kind"], turns(rows[0]))


def test_lines_without_the_column_of_inputs_are_of_the_empty_kind():
    rows, _ = made(instructions(), [{"id": "a", "text": "好。"}])
    assert "dialogue" == rows[0]["kind"]


def test_the_order_of_kinds_means_nothing():
    kinds = {
        "patterns": Kind(instruction="p", pattern="故事"),
        "short": Kind(instruction="s", prefixes=("角色",)),
        "long": Kind(instruction="l", prefixes=("角色故事",)),
        "listed": Kind(instruction="i", inputs=("角色故事1",)),
        "rest": Kind(instruction="r", others=True),
    }
    asked = ["角色故事1", "角色故事2", "角色详细", "一个故事", "别的"]
    for each in (kinds, dict(reversed(kinds.items()))):
        step = instructions(kinds=each)
        assert ["listed", "long", "short", "patterns", "rest"] == [step.kind_of(value) for value in asked]
        assert step.kind_of("") is None


def test_rows_that_give_no_sample_leave_with_the_reason():
    kinds = {"one": Kind(instruction="1", pattern="a"), "two": Kind(instruction="2", pattern="b")}
    rows = [
        {"id": "1", "speaker": "爷爷", "input": "a", "text": "x"},
        {"id": "2", "speaker": "阿渡", "input": "a", "text": " "},
        {"id": "3", "speaker": "阿渡", "input": "ab", "text": "x"},
        {"id": "4", "speaker": "阿渡", "input": "c", "text": "x"},
        {"id": "5", "speaker": " 阿渡\t", "input": "a", "text": "x"},
        {"id": "6", "speaker": "小渡", "input": "b", "text": "x"},
        {"id": "7", "speaker": None, "input": "b", "text": "x"},
        {"id": "8", "speaker": None, "input": None, "text": "谁？"},
        {"id": "9", "speaker": " ", "input": "b", "text": "x"},
    ]
    kept, dropped = made(instructions(kinds=kinds, aliases=("小渡",)), rows)
    assert ["s_5", "s_6", "s_7"] == [row["id"] for row in kept]
    assert [
        "another speaker",
        "no words",
        "several kinds take its input",
        "no kind takes its input",
        "no speaker",
        "no speaker",
    ] == dropped


def test_two_samples_never_have_one_id():
    rows = [{"id": "1", "file": f"{n}.json", "speaker": who, "text": "x"} for n in (1, 2) for who in ("阿渡", "爷爷")]
    with pytest.raises(forge.StepError, match="2 rows have the id `s_1`") as caught:
        made(instructions(), rows)
    assert caught.value.hint.startswith("`id` names `id`; add what tells the rows apart")
    assert ["s_1_1", "s_2_1"] == [row["id"] for row in made(instructions(id=("file", "id")), rows)[0]]


def test_the_persona_is_the_system_prompt(tmp_path):
    persona = file_of(tmp_path / "persona.md", "\ufeff你是{character}。\n")
    rows, _ = made(instructions(persona=persona), [{"id": "a", "text": "好。"}])
    assert "你是阿渡。" == rows[0]["system"]
    rows, _ = made(instructions(system="I am {character}"), [{"id": "a", "text": "好。"}])
    assert "I am 阿渡" == rows[0]["system"]
    rows, _ = made(instructions(), [{"id": "a", "text": "好。"}])
    assert rows[0]["system"] is None


def test_a_persona_that_can_not_be_used_is_named(tmp_path):
    empty = file_of(tmp_path / "empty.md", " \n")
    with pytest.raises(forge.StepError, match=r"the persona `empty\.md` is empty"):
        instructions(persona=empty).prompt()
    with pytest.raises(forge.StepError, match=r"`odd\.md` holds `\{name\}`, which nothing fills in"):
        instructions(persona=file_of(tmp_path / "odd.md", "I am {name}")).prompt()
    (tmp_path / "gbk.md").write_bytes("你是阿渡".encode("gbk"))
    with pytest.raises(forge.StepError, match=r"`gbk\.md` is not UTF-8"):
        instructions(persona=forge.File("gbk.md", tmp_path / "gbk.md")).prompt()
    with pytest.raises(ValueError, match="`system` and `persona` both say"):
        instructions(system="x", persona=empty)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({}, "`kinds` must name at least one kind"),
        ({"a": {"inputs": ("x",)}, "b": {"inputs": ("x",)}}, "`a` and `b` both take the input `x`"),
        ({"a": {"prefixes": ("x",)}, "b": {"prefixes": ("x",)}}, "`a` and `b` both take the prefix `x`"),
        ({"a": {"empty": True}, "b": {"empty": True}}, "`a` and `b` both take empty inputs"),
        ({"a": {"others": True}, "b": {"others": True}}, "`a` and `b` both take all other inputs"),
        ({"a": {}}, "it takes no input"),
        ({"a": {"pattern": "("}}, "`pattern` is no regular expression"),
        ({"a": {"empty": True, "instruction": "{input}"}}, "with `empty = true` there is none"),
        (
            {"a": {"others": True, "instruction": "{imput}"}},
            "`{imput}`, which nothing fills in; there is `{character}`",
        ),
    ],
)
def test_kinds_that_can_not_be_told_apart_are_refused(kinds, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        instructions(kinds={name: Kind(**({"instruction": "x"} | kind)) for name, kind in kinds.items()})


def test_a_window_holds_what_others_say_and_what_the_character_answers():
    lines = scene("b1", "A2", "b3", "c4", "A5", "A6", "b7", "A8", "b9")
    rows, dropped = made(windows(length=2), lines)
    assert [["u:1", "a:2", "u:3\n4", "a:5\n6"], ["u:3\n4", "a:5\n6", "u:7", "a:8"]] == [turns(row) for row in rows]
    assert ["s_one_1", "s_one_3"] == [row["id"] for row in rows]
    assert {"told in a window": 6, "the character doesn't answer": 1} == {r: dropped.count(r) for r in set(dropped)}
    assert len(lines) == len(rows) + len(dropped)


def test_names_stand_before_what_others_say():
    rows, _ = made(windows(names=True), scene("b1", "c2", "A3"))
    assert ["u:b：1\nc：2", "a:3"] == turns(rows[0])


@pytest.mark.parametrize(
    ("length", "stride", "starts"),
    [(2, None, [0, 2, 3]), (2, 1, [0, 1, 2, 3]), (5, None, [0]), (9, 1, [0]), (2, 3, [0, 3])],
)
def test_windows_begin_every_stride_and_the_last_ends_with_the_scene(length, stride, starts):
    rows, dropped = made(windows(length=length, stride=stride), scene(*(f"{who}{n}" for n in range(5) for who in "bA")))
    assert [f"u:{start}" for start in starts] == [turns(row)[0] for row in rows]
    assert 10 == len(rows) + len(dropped)
    assert (2 if stride == 3 else 0) == dropped.count("between two windows")


def test_no_window_crosses_the_end_of_a_chapter():
    rows, _ = made(windows(), [*scene("b1", "A2"), *scene("b3", "A4", file="two.json")])
    assert {"one": ["u:1", "a:2"], "two": ["u:3", "a:4"]} == {row["passage"]: turns(row) for row in rows}


def test_lines_are_read_in_the_order_that_is_declared():
    lines = [line | {"number": number} for line, number in zip(scene("A2", "b1"), (10, 9), strict=True)]
    rows, _ = made(windows(order=("number",)), lines)
    assert ["u:1", "a:2"] == turns(rows[0])


def test_a_cue_stands_where_nobody_speaks_to_the_character():
    lines = scene("A1", "A2", "b3", "A4", "A5")
    rows, dropped = made(windows(), lines)
    assert (["u:3", "a:4\n5"], 2) == (turns(rows[0]), dropped.count("nobody speaks before the character"))
    rows, _ = made(windows(cue="…", length=9), lines)
    assert ["u:…", "a:1", "u:…", "a:2", "u:3", "a:4", "u:…", "a:5"] == turns(rows[0])


def test_a_scene_that_is_too_short_leaves_whole():
    rows, dropped = made(windows(least=2), scene("b1", "A2"))
    assert ([], ["a scene of under 2 exchanges"] * 2) == (rows, dropped)


def test_tabs_stage_directions_and_emoji_are_cleaned_as_declared():
    texts = pl.Series("t", ["（叹气）好\t \t吧😄。 ", "*sighs* well [aside] 👩‍🚀🇨🇳 3 # ©", "a\r\n \n b", None, "2*3*4"])

    def clean(directions, emoji):
        return pl.select(cleaned(pl.lit(texts), directions=directions, emoji=emoji)).to_series().to_list()

    assert ["（叹气）好 吧😄。", "*sighs* well [aside] 👩‍🚀🇨🇳 3 # ©", "a\nb", "", "2*3*4"] == clean("keep", "keep")
    assert ["好 吧。", "well 3 # ©", "a\nb", "", "2*3*4"] == clean("drop", "drop")


def test_lines_and_turns_that_lose_something_are_counted():
    texts = ["我知道[1]了*笑*", "好😄（点头）", "好", None]
    done = Lines(directions="drop", emoji="drop").transform(pl.LazyFrame({"text": texts})).collect()
    assert {"line without its stage directions": 2, "line without its emoji": 1} == tallies(done)
    assert {} == tallies(Lines().transform(pl.LazyFrame({"text": texts})).collect())
    said = [{"role": "user", "text": "嗨😄"}, {"role": "assistant", "text": "（笑）在😄"}]
    rows = pl.LazyFrame([{"id": "a", "source": "p", "conversation": said}])
    done = Dialogues(character="阿渡", directions="drop", emoji="drop").transform(rows).collect()
    assert {"line without its stage directions": 1, "line without its emoji": 2} == tallies(done)


def test_lines_of_somebody_else_and_lines_without_words_leave():
    rows = [
        {"speaker": " 阿渡", "text": "上船吧。"},
        {"speaker": "阿渡", "text": "阿渡，开船！"},
        {"speaker": "爷爷", "text": "阿渡，开船！"},
        {"speaker": "阿渡", "text": "（点头）"},
    ]
    kept, dropped = made(Lines(directions="drop", character="阿渡", foreign=("^阿渡[，,]",)), rows)
    assert [("阿渡", "上船吧。"), ("爷爷", "阿渡，开船！")] == [(row["speaker"], row["text"]) for row in kept]
    assert ["somebody else's words", "no words"] == dropped
    with pytest.raises(ValueError, match="`foreign` speaks of the lines of `character`"):
        Lines(foreign=("x",))
    with pytest.raises(ValueError, match="no regular expression"):
        Lines(character="x", foreign=("(",))


def test_speeches_are_parted_into_names_and_words():
    texts = ["First Citizen:\nSpeak, speak.\nAgain: go.", "阿渡：上船。", "Dawn breaks.", "NURSE: Ay."]
    texts += ["12:30 the clock strikes", "At 12:30 it rains", "John 3:16"]
    kept, dropped = made(Speakers(), [{"text": text} for text in texts])
    assert [("First Citizen", "Speak, speak.\nAgain: go."), ("阿渡", "上船。"), ("NURSE", "Ay.")] == [
        (row["speaker"], row["text"]) for row in kept
    ]
    assert ["no name before the speech"] * 4 == dropped
    table = Speakers().transform(pl.LazyFrame({"text": ["12:30 the clock strikes"]})).collect()
    assert ["12:30 the clock strikes"] == table["text"].to_list()
    kept, _ = made(Speakers(), [{"text": text} for text in ("1: yes", "Guard 2: 30 men at 12:30")])
    assert [("1", "yes"), ("Guard 2", "30 men at 12:30")] == [(row["speaker"], row["text"]) for row in kept]


def test_dialogues_keep_their_own_prompt_and_take_the_personas_without_one():
    said = [{"role": "user", "text": "嗨\t"}, {"role": "assistant", "text": "（笑）在😄"}]
    mute = [{"role": "user", "text": "嗨"}, {"role": "assistant", "text": "（笑）"}]
    rows = [
        {"id": "a", "source": "p", "system": "own", "conversation": said},
        {"id": "b", "source": "p", "system": " ", "conversation": said},
        {"id": "c", "source": "p", "system": None, "conversation": mute},
    ]
    kept, dropped = made(Dialogues(character="阿渡", system="我是{character}", directions="drop", emoji="drop"), rows)
    assert [("own", ["u:嗨", "a:在"]), ("我是阿渡", ["u:嗨", "a:在"])] == [(row["system"], turns(row)) for row in kept]
    assert ["a turn without words"] == dropped


ROWS = [{"id": "a", "kind": "settings"}, {"id": "b", "kind": "dialogue"}, {"id": "c", "kind": None}]


def test_weights_are_a_column_or_repeated_rows_as_declared():
    kept, _ = made(Weights(weights={"settings": 2.5}), ROWS)
    assert [("a", 2.5), ("b", 1.0), ("c", 1.0)] == [(row["id"], row["weight"]) for row in kept]
    step = Weights(weights={"settings": 3}, weighting="repeat")
    kept, _ = made(step, ROWS)
    assert ["a", "a#2", "a#3", "b", "c"] == [row["id"] for row in kept]
    assert {"id", "kind"} == kept[0].keys()
    assert {"rows": 3, "weight": 3.0, "share": 0.6} == step.statistics(pl.DataFrame(kept).lazy())["by"]["settings"]


def test_weights_that_can_not_hold_are_refused():
    with pytest.raises(ValueError, match="must be above 0, `a` is `0`"):
        Weights(weights={"a": 0})
    with pytest.raises(ValueError, match=r"weights are whole numbers, `a` is `2\.5`"):
        Weights(weights={"a": 2.5}, weighting="repeat")
    with pytest.raises(forge.StepError, match="`weights` names `setings`, which no row has in `kind`") as caught:
        made(Weights(weights={"setings": 5}), ROWS)
    assert "there is `dialogue`, `settings`" == caught.value.hint
    with pytest.raises(forge.StepError, match="have a column `weight` already"):
        made(Weights(weights={"settings": 5}), [row | {"weight": 1.0} for row in ROWS])


def test_a_missing_column_is_named_with_those_that_are_there():
    with pytest.raises(forge.StepError, match="there is no column `file`") as caught:
        made(windows(), [{"speaker": "A", "text": "x"}])
    assert "the table has `speaker`, `text`" == caught.value.hint


MANIFEST = """
    [sources.lines]
    use = "files.json"
    path = "lines.json"

    [transforms.samples]
    use = "roleplay.instructions"
    from = "lines"
    source = "line"
    id = ["id"]
    character = "阿渡"
    persona = "persona.md"

    [transforms.samples.kinds.dialogue]
    empty = true
    instruction = "说一句话。"
    """


def test_an_edited_persona_makes_the_samples_anew_and_a_kind_that_takes_nothing_is_told_by_its_line(forge_project):
    forge_project.manifest(MANIFEST)
    forge_project.write("lines.json", '[{"id": "a", "text": "好。"}]')
    forge_project.write("persona.md", "你是{character}。")
    assert {"ran"} == set(forge_project.build().statuses.values())
    assert {"hit"} == set(forge_project.build().statuses.values())
    forge_project.write("persona.md", "你是摆渡的{character}。")
    assert {"lines": "hit", "samples": "ran"} == forge_project.build().statuses
    forge_project.manifest(MANIFEST.replace("empty = true", "empty = false"))
    refused = forge_project.build()
    assert 2 == refused.exit_code
    assert "step `samples`" in refused.stderr
    assert "it takes no input" in refused.stderr
