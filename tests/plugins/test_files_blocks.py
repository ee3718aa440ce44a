"""Large files of JSON Lines are read in blocks: whatever stands in them, the rows and rejects are the careful way's."""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import forge
from forge.run.intake import collect_batches
from forge.run.ledger import Ledger
from forge_files import json_blocks
from forge_files.json_source import FilesJsonl

TEXTS = st.text(max_size=6) | st.sampled_from(["2020-01-01", "{", "}\n{", "1", "😀", "\x00", "null", "睡不着"])
VALUES = {
    "text": TEXTS | st.none(),
    "count": st.integers(-(2**63), 2**63 - 1) | st.none(),
    "yes": st.booleans(),
    "nothing": st.none(),
    "list": st.lists(TEXTS, max_size=2) | st.none(),
    "turn": st.fixed_dictionaries({"role": TEXTS}, optional={"text": TEXTS | st.none(), "n": st.integers(0, 9)}),
    "turns": st.lists(st.fixed_dictionaries({}, optional={"a": TEXTS, "b": st.booleans()}), max_size=2),
}
USUAL = st.fixed_dictionaries({}, optional=VALUES)
ODD = [
    "", "   ", "\r", "{}", "[]", "7", '"x"', "null", '{"text": "a"} ', ' {"text": "a"}', '{"text": "a"}{"text": "b"}',
    '{"text": "a", "text": "b"}', '{"turn": {"role": "a", "role": "b"}}', '{"text": 1}', '{"count": 1.0}',
    '{"count": 1e3}', '{"count": -0}', '{"count": 9223372036854775808}', '{"count": NaN}', '{"yes": 1}',
    '{"nothing": []}', '{"nothing": 2.5}', '{"more": 1}', '{"text": "a",}', '{"text": "a"', '{"text":\r"a"}',
    '{"text":\n"a"}', '{"turn": {\n"role": "a"}}', '{"list": [{},\n{}]}', '{"text": "\\ud83d\\ude00"}',
    '{"text": "\\ud800"}', '{"text": "\\udc00"}', '{"text": "\\u0000"}', '{"text": "\t"}', '{"turn": {}}',
    '{"turn": null}', '{"turns": [null]}', '{"list": [null]}', "{'text': 1}", '{"text": "a"} //',
    '{"deep": {"er": "x"}}', '{"deep.er": "y"}',
]  # fmt: skip
LINES = st.one_of(
    st.builds(json.dumps, USUAL),
    st.builds(lambda row: json.dumps(row, ensure_ascii=False), USUAL),
    st.sampled_from(ODD),
)
BYTES = st.sampled_from([b"", b"\xff", b"\0", b"\xef\xbb\xbf", b"\xed\xa0\x80", "学".encode("gb18030"), b"\r\n", b"\n"])
COLUMNS = [
    {},
    {"said": "text", "n": "count"},
    {"said": "text?", "er": "deep.er?", "no": "none?"},
    {"who": "turn.role?"},
]


def read(paths, parameters, threads=2):
    """Return the rows, their schema and the rejects of some files, or the error in words."""
    files = forge.Files("data", tuple(forge.File(path.name, path) for path in paths))
    folder = paths[0].parent
    try:
        found = FilesJsonl(path=files, **parameters).read(forge.LocalRun(folder, threads=threads))
        frame, rejects = collect_batches(found, Ledger(folder, 1, print, lambda: None))
    except (forge.StepError, ValueError) as error:
        return str(error)
    return frame.rows(), frame.schema, rejects


def in_blocks(monkeypatch, size):
    monkeypatch.setattr(json_blocks, "WORTH", 0)
    monkeypatch.setattr(json_blocks, "_FIRST", size)
    monkeypatch.setattr(json_blocks, "_BLOCK", size)


@example(tables=[["{}"], ['{"yes": false}', "{}"]], splice=(0, b""), columns={}, where=False, size=1, long=0, threads=1)
@example(tables=[["   "]], splice=(1, b"\xef\xbb\xbf"), columns={}, where=False, size=1, long=0, threads=1)
@example(tables=[["{'x': 1}", "7"]], splice=(0, b""), columns={}, where=True, size=9, long=0, threads=2)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tables=st.lists(st.lists(LINES, min_size=1, max_size=12), min_size=1, max_size=2),
    splice=st.tuples(st.integers(0, 400), BYTES),
    columns=st.sampled_from(COLUMNS),
    where=st.booleans(),
    size=st.integers(1, 120),
    long=st.sampled_from([0, 1 << 20]),
    threads=st.integers(1, 3),
)
def test_blocks_give_what_the_careful_way_gives(tables, splice, columns, where, size, long, threads, tmp_path):
    paths = []
    for number, lines in enumerate(tables):
        data = "\n".join(lines).encode()
        if number == 0:
            data = data[: splice[0]] + splice[1] + data[splice[0] :]
        paths.append(tmp_path / f"{number}.jsonl")
        paths[-1].write_bytes(data)
    parameters = {"columns": columns} | ({"file_column": "file", "index_column": "at"} if where else {})
    careful = read(paths, parameters)
    with pytest.MonkeyPatch.context() as patch:
        in_blocks(patch, size)
        patch.setattr(json_blocks, "_LONG", long)
        assert read(paths, parameters, threads) == careful


def test_lines_of_known_columns_are_read_by_arrow_and_others_are_not(tmp_path, monkeypatch):
    rows = [{"id": number, "text": f"第{number}行"} for number in range(300)]
    rows[200]["text"] = 200  # from here on the column holds texts and numbers
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    in_blocks(monkeypatch, 1000)
    quick, careful = [], []
    rows_of = json_blocks.rows_of

    def watched(block, known):
        found = rows_of(block, known)
        (careful if found is None else quick).append(block)
        return found

    monkeypatch.setattr(json_blocks, "rows_of", watched)
    found, schema, rejects = read([path], {})
    assert (list(schema), rejects) == (["id", "text"], [])
    assert found == [(row["id"], str(row["text"])) for row in rows]
    assert any(b'"id": 120' in block for block in quick)
    assert any(b'"id": 200' in block for block in careful)


def lines(count, more=""):
    return "".join(f'{{"id": {number}, "text": "第{number}行"}}\n' for number in range(count)) + more


def items(path):
    return FilesJsonl(path=forge.Files("data", (forge.File(path.name, path),))).read(forge.LocalRun(path.parent))


def test_rows_are_given_while_the_file_is_read(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text(lines(3000))
    in_blocks(monkeypatch, 1000)
    read = []
    between = forge.read_between
    monkeypatch.setattr(json_blocks.forge, "read_between", lambda *span: read.append(span) or between(*span))
    found = items(path)
    assert 0 < sum(next(found).height for _ in range(3)) < 300
    assert len(read) < 10
    assert path.stat().st_size / 1000 > 50


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('{"id": 7, "text": 8}\n', "column `text` holds more than its first values tell"),
        ('{"id": 7, "more": "x"}\n', "column `more` holds more than its first values tell"),
        ('{"id": 7, "text": "\0"}\n', "there is a NUL"),
    ],
)
def test_a_source_begins_again_where_later_lines_tell_more(more, reason, tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text(lines(300, more) + lines(100))
    careful = read([path], {})
    in_blocks(monkeypatch, 1000)
    found = list(items(path))
    (place,) = (at for at, item in enumerate(found) if isinstance(item, forge.Restart))
    assert found[place].reason == reason
    assert sum(item.height for item in found[:place]) > 200
    assert read([path], {}) == careful


@pytest.mark.parametrize("value", ["%s", '{"a": %s}', "[%s]"])
def test_long_numbers_that_arrow_has_read_lose_no_digit_beside_fractions(tmp_path, monkeypatch, value):
    numbers = ["1"] * 100 + [str(2**60 + 1)] * 100 + ["0.5", "1"]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(f'{{"n": {value % number}}}' for number in numbers))
    careful = read([path], {})
    in_blocks(monkeypatch, 1000)
    assert read([path], {}) == careful
    assert str(2**60 + 1) in str(careful[0])


def test_what_a_file_of_another_encoding_gave_before_its_first_odd_byte_is_not_kept(tmp_path, monkeypatch):
    lines = [json.dumps({"text": "plain"}) for _ in range(50)] + ['{"text": "失眠"}']
    path = tmp_path / "rows.jsonl"
    path.write_bytes("\n".join(lines).encode("gb18030"))
    in_blocks(monkeypatch, 100)
    assert read([path], {})[::2] == ([("plain",)] * 50 + [("失眠",)], [])
