"""`forge verify`: a file proves itself anywhere, from itself and its receipt."""

import json
import shutil

import pytest

import forge
from forge.cli.app import run
from forge.run.verbs import evidence_of, receipt_of
from forge_llm.check.tolerance import alike

pytestmark = pytest.mark.slow
ANSWERS = {"我睡不着": '{"mood": 1, "flag": "none"}', "I cry all day": '{"mood": 3, "flag": "high"}'}
SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"type": "integer", "minimum": 0, "maximum": 3},
        "flag": {"type": "string", "enum": ["none", "high"]},
    },
}


@pytest.fixture(scope="module")
def shipped(exported, tmp_path_factory):
    """Give a folder as it is sent to somebody: the files, and the receipt in a folder beside them."""
    import polars as pl

    from forge.core.digest import digest_file
    from forge_llm.check.gguf_check import GgufCheck

    root = tmp_path_factory.mktemp("shipped")
    rows, receipt = root / "rows", root / "sent" / "receipt"
    receipt.mkdir(parents=True)
    table = [{"instruction": "只输出一个JSON。", "input": text, "output": answer} for text, answer in ANSWERS.items()]
    forge.write_rows(pl.DataFrame(table), rows)
    (root / "labels.json").write_text(json.dumps(SCHEMA))
    check = GgufCheck(
        schema=forge.File("labels.json", root / "labels.json"),
        rows=2, reference_rows=2, max_tokens=24, context=512, threads=1, measure=False, require={"json_valid": 1.0},
    )  # fmt: skip
    inputs = {
        name: forge.Artifact(name, path)
        for name, path in (("gguf", exported / "gguf"), ("reference", exported / "merged"), ("data", rows))
    }
    findings = list(check.check(inputs, receipt, forge.LocalRun(scratch=root)))
    assert all(finding.passed for finding in findings)
    made = receipt_of("check.gguf", check, findings, inputs, {})
    made["subjects"] = {p.name: digest_file(p, p.stat().st_size) for p in check.subjects(inputs)}
    made["evidence"] = evidence_of(receipt)
    (receipt / "receipt.json").write_text(json.dumps(made))
    for path in (exported / "gguf").glob("*.gguf"):
        shutil.copyfile(path, root / "sent" / path.name)
    return root / "sent"


@pytest.fixture
def sent(shipped, tmp_path, monkeypatch):
    """Give a copy of it on a machine that has neither the project nor its store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORGE_STORE", raising=False)
    return shutil.copytree(shipped, tmp_path / "elsewhere")


def said(capsys, *arguments):
    code = run(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_file_proves_itself_with_its_receipt_alone(sent, capsys):
    code, out, err = said(capsys, "verify", str(sent / "tiny-Q4_K_M.gguf"), "--json")
    assert 0 == code, err
    found = json.loads(out)
    assert [] == found["differences"]
    assert ([], True) == (found["beyond"], found["passed"])
    assert ["Q4_K_M.weights_equal"] == [name for name in found["unrepeated"] if not name.startswith("reference.")]
    assert "reference.accuracy" in found["unrepeated"]
    values = {finding["name"]: finding["value"] for finding in found["receipt"]["findings"]}
    assert {"Q4_K_M.kl", "Q4_K_M.top1_answers", "Q4_K_M.agreement", "Q4_K_M.accuracy"} <= values.keys()
    assert found["measured"]["Q4_K_M.peak_memory_mb"] > 25


def test_figures_that_were_changed_in_the_receipt_are_named_with_both_values(sent, capsys):
    path = sent / "receipt/receipt.json"
    receipt = json.loads(path.read_text())
    changed = {"f16.accuracy": 9.5, "f16.perplexity": 1.01, "f16.answer_loss": None}
    for finding in receipt["findings"]:
        if finding["name"] in changed:
            changed[finding["name"]] = (finding["value"], changed[finding["name"]])
            finding["value"] = changed[finding["name"]][1]
    path.write_text(json.dumps(receipt))
    code, out, _ = said(capsys, "verify", str(sent / "tiny-f16.gguf"))
    assert 1 == code
    assert "farther from the receipt than another machine explains" in out
    for name, (was, is_now) in changed.items():
        assert f"`{name}`: the receipt has {is_now}, here it is {was}" in out


def change(path, find, replace):
    data = path.read_bytes()
    assert (True, len(find)) == (find in data, len(replace))
    path.write_bytes(data.replace(find, replace))


@pytest.mark.parametrize(
    ("find", "replace", "told"),
    [
        (b"assistant", b"assistent", "what differs: the chat template"),
        (None, None, "chat template, end token and tokenizer are as they were; its tensors or other metadata are not"),
    ],
)
@pytest.mark.parametrize("name", ["tiny-Q4_K_M.gguf", "other.gguf"])
def test_a_changed_file_is_told_whose_receipt_there_is_and_what_differs(sent, capsys, name, find, replace, told):
    path = (sent / "tiny-Q4_K_M.gguf").rename(sent / name)
    if find:
        change(path, find, replace)
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    code, _, err = said(capsys, "verify", str(path))
    assert ((2 if name == "other.gguf" else 1), True) == (code, told in err), err
    if name == "other.gguf":
        assert "receipt.json` is of `tiny-f16.gguf`, `tiny-Q4_K_M.gguf`" in err
        code, _, err = said(capsys, "verify", str(path), "--receipt", str(sent / "receipt"))
        assert (1, True) == (code, "does not speak of `other.gguf`" in err and told in err)


def test_an_end_token_and_a_file_cut_short_are_told_apart(sent, capsys):
    import struct

    path = sent / "tiny-f16.gguf"
    key = b"tokenizer.ggml.eos_token_id" + struct.pack("<I", 4)
    change(path, key + struct.pack("<I", 2), key + struct.pack("<I", 5))
    code, _, err = said(capsys, "verify", str(path))
    assert (1, True) == (code, "what differs: the end token (5, it was 2)" in err), err
    path.write_bytes(path.read_bytes()[:-1000])
    code, _, err = said(capsys, "verify", str(path))
    assert (1, True) == (code, "it is cut short: it has " in err), err


@pytest.mark.parametrize(
    ("name", "then", "now", "rows", "same"),
    [
        ("rows", 24, 23, 24, False),
        ("accuracy_of_commonest", 0.5, 0.500002, 24, False),
        ("template_equal", True, False, 24, False),
        ("template_equal", False, True, 24, True),
        ("accuracy", 0.5, 0.58, 24, True),
        ("accuracy", 0.5, 0.59, 24, False),
        ("accuracy", 0.333, 0.95, 3, False),
        ("mood_accuracy", 0.5, 0.52, 1000, True),
        ("mood_accuracy", 0.5, 0.53, 1000, False),
        ("macro_f1", 0.5, 0.7, 24, True),
        ("macro_f1", 0.5, 0.8, 24, False),
        ("answer_loss", 2.0, 2.1, 24, True),
        ("answer_loss", 2.0, 2.2, 24, False),
        ("perplexity", 20.0, 22.0, 24, True),
        ("perplexity", 20.0, 30.0, 24, False),
        ("perplexity", -1.0, 30.0, 24, False),
        ("kl", 0.0001, 0.004, 24, True),
        ("kl", 0.1, 0.2, 24, False),
        ("mae", 1.0, 1.3, 24, True),
        ("mae", 1.0, 1.4, 24, False),
        ("top1", 0.9, 0.93, 24, True),
        ("top1", 0.9, 0.95, 24, False),
        ("distinct_replies", 5, 7, 24, True),
        ("distinct_replies", 5, 8, 24, False),
        ("accuracy", "0.5", 0.5, 24, False),
        ("accuracy", None, 0.5, 24, False),
    ],
)
def test_a_figure_may_differ_by_what_another_machine_explains(name, then, now, rows, same):
    assert same == alike(name, then, now, rows)


def test_what_a_person_reads_names_the_file_and_the_figures(sent, capsys):
    (sent / "tiny-f16.gguf").rename(sent / "renamed.gguf")
    code, out, err = said(capsys, "verify", str(sent / "renamed.gguf"), "--receipt", str(sent / "receipt"))
    assert 0 == code, err
    assert "renamed.gguf passed" in out
    assert "as in the receipt" in out
    assert "tokens_per_second" in out


def test_a_file_that_was_changed_by_a_byte_is_refused_by_name_and_digest(sent, capsys):
    path = sent / "tiny-Q4_K_M.gguf"
    known = json.loads((sent / "receipt/receipt.json").read_text())["subjects"][path.name]
    with path.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    code, _, err = said(capsys, "verify", str(path))
    assert 1 == code
    assert "`tiny-Q4_K_M.gguf` is not the file that was checked: its blake3 is " in err
    assert known in err


def test_evidence_that_was_changed_is_refused_by_name(sent, capsys):
    with (sent / "receipt/rows.jsonl").open("a") as file:
        file.write("\n")
    code, _, err = said(capsys, "verify", str(sent / "tiny-f16.gguf"))
    assert (1, True) == (code, "`rows.jsonl` beside the receipt" in err)


def test_rows_that_are_kept_back_leave_what_the_file_says_of_itself(sent, capsys):
    for name in ("rows.jsonl", "replies.jsonl", "likely-f16.npz", "likely-reference.npz"):
        (sent / "receipt" / name).unlink()
    code, out, err = said(capsys, "verify", str(sent / "tiny-Q4_K_M.gguf"), "--json")
    assert 0 == code, err
    found = json.loads(out)
    assert {"Q4_K_M.template_equal", "Q4_K_M.tokenizer_equal", "Q4_K_M.end_token_equal"} <= {
        finding["name"] for finding in found["receipt"]["findings"] if finding["value"] is True
    }
    assert "Q4_K_M.accuracy" in found["unrepeated"]


def test_no_word_of_a_row_is_in_what_may_be_shown(shipped):
    public = (shipped / "receipt/receipt.json").read_text() + (shipped / "receipt/check.json").read_text()
    assert not [text for text in ANSWERS if text in public]
    assert all(text in (shipped / "receipt/rows.jsonl").read_text() for text in ANSWERS)


def test_a_file_without_a_receipt_is_told_where_one_is_looked_for(sent, capsys):
    shutil.rmtree(sent / "receipt")
    code, _, err = said(capsys, "verify", str(sent / "tiny-f16.gguf"))
    assert (2, True) == (code, "no receipt of `tiny-f16.gguf`" in err)
    assert "--receipt" in err


def test_what_is_no_receipt_is_refused(sent, capsys):
    (sent / "receipt/receipt.json").write_text("[]")
    code, _, err = said(capsys, "verify", str(sent / "tiny-f16.gguf"), "--receipt", str(sent / "receipt"))
    assert (2, True) == (code, "is no receipt" in err)
