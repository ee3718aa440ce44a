"""`check.gguf` on a tiny model: what is right passes, and each thing that is broken in a copy is named."""

import json
import struct

import pytest

import forge
from forge_llm.check.decoding import decode, greedy
from forge_llm.check.gguf_check import GgufCheck
from forge_llm.check.labels import read_labels
from forge_llm.check.local_model import LocalModel
from forge_llm.export.model_folder import chat_template

pytestmark = pytest.mark.slow
SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"type": "integer", "minimum": 0, "maximum": 3},
        "flag": {"type": "string", "enum": ["none", "high"]},
    },
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    import polars as pl

    answers = {
        "我最近总是睡不着，快考试了。": {"mood": 0, "flag": "none"},
        "I failed exam 12345 and cry all day 😢": {"mood": 3, "flag": "high"},
        "同学不理我": {"mood": 1, "flag": "none"},
        "压力很大……怎么办？": {"mood": 2, "flag": "high"},
    }
    folder = tmp_path_factory.mktemp("rows")
    table = [
        {"instruction": "只输出一个JSON。", "input": text, "output": json.dumps(answer)}
        for text, answer in answers.items()
    ]
    forge.write_rows(pl.DataFrame(table), folder)
    return folder


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "labels.json"
    path.write_text(json.dumps(SCHEMA))
    return forge.File("labels.json", path)


@pytest.fixture
def check(exported, rows, schema, tmp_path):
    """Run the check with one file in place of the exported ones."""

    def run(gguf=None, data=rows, **options):
        settings = {"rows": 4, "reference_rows": 2, "max_tokens": 32, "context": 512, "threads": 1, **options}
        settings.setdefault("schema", schema)
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        inputs = {"gguf": gguf or exported / "gguf", "reference": exported / "merged", "data": data}
        run.last = forge.LocalRun(scratch=tmp_path)
        artifacts = {name: forge.Artifact(name, path) for name, path in inputs.items()}
        findings = GgufCheck(**settings).check(artifacts, out, run.last)
        run.out = out
        return {finding.name: finding for finding in findings}

    return run


@pytest.fixture
def model(exported):
    with LocalModel(exported / "gguf/tiny-Q4_K_M.gguf") as loaded:
        yield loaded


@pytest.fixture
def reader(model):
    return model.reader(context=512, threads=1)


def corrupted(exported, tmp_path, change):
    folder = tmp_path / "corrupted"
    folder.mkdir()
    content = bytearray((exported / "gguf/tiny-f16.gguf").read_bytes())
    change(content)
    (folder / "broken.gguf").write_bytes(content)
    return folder


def replace(content, old, new):
    """Put *new* in the place of *old*, which is there once."""
    assert (content.count(old), len(old)) == (1, len(new))
    place = content.index(old)
    content[place : place + len(old)] = new


def test_a_right_file_passes_and_its_replies_are_kept(check, schema, capfd):
    found = check(require={"token_ids_equal": True, "template_equal": True, "json_valid": 1.0, "label_in_range": 1.0})
    assert [f for f in found.values() if not f.passed] == []
    assert found["token_ids_equal"].value is True
    assert found["end_token_equal"].value is True
    assert found["rows"].value == 4
    assert found["json_valid_free"].value < 1.0
    kept = [json.loads(line) for line in (check.out / "replies.jsonl").read_text().splitlines()]
    assert [1, 2, 3, 4] == [reply["row"] for reply in kept]
    assert [False, False, True, True] == [reply["reference"] is None for reply in kept]
    assert all(read_labels(schema).in_range(json.loads(reply["text"])) for reply in kept)
    assert kept[0]["prompt"].endswith(
        "只输出一个JSON。\n我最近总是睡不着，快考试了。<|im_end|>\n<|im_start|>assistant\n"
    )
    assert "llama" not in capfd.readouterr().err


def test_the_unrounded_file_agrees_with_the_model(check):
    found = check(type="f16", rows=4, reference_rows=4, require={"agreement": 0.99})
    assert found["agreement"] == forge.Finding("agreement", 1.0, 0.99, passed=True)


def test_two_runs_leave_the_same_bytes_and_figures(check):
    first, text = check(), (check.out / "replies.jsonl").read_bytes()
    assert (first, text) == (check(), (check.out / "replies.jsonl").read_bytes())


def test_how_many_are_asked_at_a_time_changes_no_answer(check):
    alone, text = check(threads=1), (check.out / "replies.jsonl").read_bytes()
    assert (alone, text) == (check(threads=3), (check.out / "replies.jsonl").read_bytes())


def test_a_figure_below_its_bound_does_not_pass(check):
    found = check(require={"json_valid_free": 0.9, "json_valid": 0.9}, reference_rows=0)
    assert found["json_valid"].passed
    assert (found["json_valid_free"].bound, found["json_valid_free"].passed) == (0.9, False)
    assert found["json_valid_free"].value < 0.9
    assert found["agreement"].value is None


def test_a_type_that_is_not_there_is_named(check):
    with pytest.raises(forge.StepError) as caught:
        check(type="Q4_K_S")
    assert caught.value.message == "input `gguf` has no file of the type `Q4_K_S`"
    assert caught.value.hint == "did you mean `Q4_K_M`?"


def test_rows_that_can_not_be_asked_are_dropped_by_reason(check, tmp_path):
    import polars as pl

    texts = ["short", "", "long " * 600]
    forge.write_rows(pl.DataFrame([{"instruction": text, "output": "{}"} for text in texts]), tmp_path / "table")
    found = check(data=tmp_path / "table", reference_rows=0)
    assert found["rows"].value == 1
    assert check.last.drops == {"empty turn": 1, "longer than the context": 1}


def test_a_changed_template_is_named_with_the_first_token_that_differs(check, exported, tmp_path):
    template = chat_template(exported / "base").encode()
    other = template.replace(b"<|im_end|>", b"<|im_fin|>")
    broken = corrupted(exported, tmp_path, lambda content: replace(content, template, other))
    found = check(broken, reference_rows=0, rows=1)
    assert found["token_ids_equal"].passed is False
    assert found["token_ids_equal"].detail.startswith("row 1, token ")
    assert "transformers has 2 `<|im_end|>`, the file " in found["token_ids_equal"].detail
    assert found["template_equal"].value is False


def test_a_template_that_can_not_be_rendered_is_named(check, exported, tmp_path):
    template = chat_template(exported / "base").encode()
    broken = corrupted(exported, tmp_path, lambda c: replace(c, template, template.replace(b"endif", b"endof")))
    with pytest.raises(forge.StepError, match=r"the chat template in `broken\.gguf` can't be rendered"):
        check(broken)


def test_a_file_without_a_template_is_named(check, exported, tmp_path):
    broken = corrupted(exported, tmp_path, lambda c: replace(c, b"tokenizer.chat_template", b"tokenizer.chat_tomplate"))
    with pytest.raises(forge.StepError) as caught:
        check(broken)
    assert caught.value.message == "`broken.gguf` holds no chat template"


def test_a_changed_end_token_is_named(check, exported, tmp_path):
    key = b"tokenizer.ggml.eos_token_id" + struct.pack("<I", 4)
    change = (key + struct.pack("<I", 2), key + struct.pack("<I", 0))
    broken = corrupted(exported, tmp_path, lambda content: replace(content, *change))
    found = check(broken, require={"end_token_equal": True}, reference_rows=0, rows=1)
    assert found["end_token_equal"] == forge.Finding(
        "end_token_equal",
        value=False,
        bound=True,
        passed=False,
        detail="the file ends at 0, the model at 2 `<|im_end|>`",
    )


def test_a_changed_way_of_cutting_words_is_named(check, exported, tmp_path):
    key = b"tokenizer.ggml.pre" + struct.pack("<IQ", 8, 6)
    broken = corrupted(exported, tmp_path, lambda content: replace(content, key + b"smollm", key + b"falcon"))
    found = check(broken, reference_rows=0, rows=1)
    assert found["template_equal"].value is True
    assert found["token_ids_equal"].passed is False
    assert found["token_ids_equal"].detail.startswith("row 1, token ")


def test_broken_weights_are_named(check, exported, tmp_path):
    def change(content):
        content[-4_000_000:] = b"\xff" * 4_000_000

    broken = corrupted(exported, tmp_path, change)
    with pytest.raises(forge.StepError) as caught:
        check(broken, reference_rows=0)
    assert caught.value.message == "`broken.gguf` gives logits that are no numbers: its weights are damaged"


def test_weights_that_moved_do_not_agree_with_the_model(check, exported, tmp_path):
    def change(content):
        half = len(content) // 2
        content[half:-4_000_000] = content[half + 4096 : -4_000_000] + content[half : half + 4096]

    broken = corrupted(exported, tmp_path, change)
    found = check(broken, type="f16", rows=4, reference_rows=4, require={"agreement": 0.99})
    assert found["agreement"].passed is False


def test_a_file_that_is_cut_short_is_refused_by_name(check, exported, tmp_path):
    def change(content):
        del content[len(content) // 2 :]

    with pytest.raises(forge.StepError, match=r"llama.cpp can't load `broken\.gguf`: "):
        check(corrupted(exported, tmp_path, change))


def test_hot_sampling_never_leaves_the_range(model, reader):
    labels = read_labels(None)
    grammar = model.grammar(labels.grammar())
    prompt = model.encode(model.render([{"role": "user", "content": "12 12 12"}], generate=True))
    texts = set()
    for seed in range(16):
        drawn = list(decode(reader, prompt, 200, grammar=grammar, temperature=20.0, seed=seed))
        assert model.ends(drawn[-1])
        text = model.decode(drawn[:-1])
        assert labels.in_range(json.loads(text)), text
        texts.add(text)
    assert len(texts) > 8


def test_a_grammar_that_llama_cpp_can_not_read_is_an_error(model):
    with pytest.raises(ValueError, match="can't read the grammar"):
        model.grammar('root ::= "unfinished')


def test_short_cuts_change_the_speed_and_not_the_reply(model, reader, schema):
    """Walking the free reply, and guessing, give what decoding token by token under the grammar gives."""
    grammar = model.grammar(read_labels(schema).grammar())
    prompts = [model.encode(model.render([{"role": "user", "content": text}], generate=True)) for text in "一二三四"]
    slow = [greedy(reader, prompt, 48, grammar=grammar) for prompt in prompts]
    guess = slow[0].tokens
    for prompt, expected in zip(prompts, slow, strict=True):
        free = greedy(reader, prompt, 48)
        assert expected == greedy(reader, prompt, 48, grammar=grammar, free=free)
        assert expected == greedy(reader, prompt, 48, grammar=grammar, guess=guess)
        assert expected == greedy(reader, prompt, 48, grammar=grammar, free=free, guess=guess[3:])
        assert expected == greedy(reader, prompt, 48, grammar=grammar, free=expected)


def test_what_prompts_share_is_read_once(model, reader, monkeypatch):
    read = []
    run = reader._run
    monkeypatch.setattr(
        reader, "_run", lambda ids, places, wanted: (read.append(len(places)), run(ids, places, wanted))
    )
    shared = model.encode("一个很长的共同的开头。" * 10)
    reader.logits_after([*shared, 5, 6])
    reader.logits_after([*shared, 7, 8, 9])
    assert read == [len(shared) + 2, 3]
