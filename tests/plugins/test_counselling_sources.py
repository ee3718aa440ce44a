"""The three raw sets: every quirk of their files, and what is rejected."""

import json
from functools import partial
from tempfile import TemporaryFile
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import forge
from forge_counselling import psyqa
from forge_counselling.dialogues import CPsyCounD, CPsyCounE
from forge_counselling.json_lists import cut
from forge_counselling.psyqa import PsyQA, likes

RAW_QUESTION = ["id", "source", "title", "content", "tags", "answers"]
RAW_DIALOGUE = ["id", "source", "topic", "lines"]


def read(step, folder, pattern, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    found = list(step(path=forge.Files.match(pattern, folder)).read(forge.LocalRun(scratch=folder)))
    tables = [item for item in found if isinstance(item, pl.DataFrame)]
    return pl.concat(tables), [item for item in found if isinstance(item, forge.Reject)]


def questions(folder, data, name="PsyQA_a.json"):
    text = data if isinstance(data, (str, bytes)) else json.dumps(data, ensure_ascii=False)
    table, rejects = read(PsyQA, folder, "*.json", {name: text})
    assert table.columns == RAW_QUESTION
    return table.to_dicts(), [(reject.index, reject.reason) for reject in rejects]


PUBLISHED = {
    "question": "题",
    "description": "述",
    "keywords": "校园,人际",
    "answers": [
        {"answer_text": "答", "has_label": True, "labels_sequence": [{"start": 0, "end": 1, "type": "Others"}]}
    ],
    "questionID": 7,
}
DESIGNED = {
    "id": 8,
    "title": "题",
    "content": "述",
    "tags": ["校园", "人际"],
    "answers": [{"content": "答", "likes": 2}],
}


def test_both_layouts_have_one_shape_even_in_one_file(tmp_path):
    rows, rejects = questions(tmp_path, [PUBLISHED, DESIGNED])
    same = {"source": "PsyQA", "title": "题", "content": "述", "tags": ["校园", "人际"]}
    assert rejects == []
    assert rows == [
        {"id": "PsyQA_7", **same, "answers": [{"text": "答", "likes": 0}]},
        {"id": "PsyQA_8", **same, "answers": [{"text": "答", "likes": 2}]},
    ]


def test_crlf_and_a_byte_order_mark_change_nothing(tmp_path):
    text = json.dumps([PUBLISHED], ensure_ascii=False, indent=0).replace("\n", "\r\n")
    assert questions(tmp_path, b"\xef\xbb\xbf" + text.encode()) == questions(tmp_path, [PUBLISHED])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (12, 12),
        ("12", 12),
        ("12赞", 12),
        ("1.2k", 1200),
        ("2K", 2000),
        ("3万", 30000),
        ("1.5w", 15000),
        ("1,234", 1234),
        ("１２赞", 12),
        (" 7 赞", 7),
        (3.9, 3),
        (1e3, 1000),
        (None, 0),
        ("", 0),
        ("很多", 0),
        (-4, 0),
        (True, 0),
    ],
)
def test_likes_are_read_in_every_spelling(tmp_path, written, expected):
    record = {**DESIGNED, "answers": [{"content": "答", "likes": written}, {"content": "无"}]}
    rows, _ = questions(tmp_path, [record])
    assert [answer["likes"] for answer in rows[0]["answers"]] == [expected, 0]
    slow, _ = questions(tmp_path, json.dumps([record]) + "]")  # a list that Polars refuses
    assert slow == rows


def test_a_count_beyond_any_meaning_is_bounded():
    assert pl.select(likes(pl.lit("9" * 400))).item() == 10**12


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"tags": None}, []),
        ({"tags": []}, []),
        ({"tags": ["校园, 人际", "", None, " 情绪 "]}, ["校园", "人际", "情绪"]),
        ({"tags": "校园，人际"}, ["校园", "人际"]),
        ({"keywords": "校园、人际"}, ["校园", "人际"]),
        ({"keywords": ""}, []),
        ({}, []),
    ],
)
def test_tags_are_a_list_however_they_are_written(tmp_path, field, expected):
    record = {"id": 1, "title": "题", "answers": [], **field}
    assert questions(tmp_path, [record])[0][0]["tags"] == expected
    assert questions(tmp_path, json.dumps([record]) + "]")[0][0]["tags"] == expected


def test_a_question_without_a_number_is_named_after_its_file_and_place(tmp_path):
    rows, _ = questions(tmp_path, [DESIGNED, {"title": "题"}])
    assert [row["id"] for row in rows] == ["PsyQA_8", "PsyQA_PsyQA_a_2"]


def test_a_truncated_file_gives_the_records_before_the_break(tmp_path):
    text = json.dumps([DESIGNED, DESIGNED, DESIGNED], ensure_ascii=False)
    rows, rejects = questions(tmp_path, text[:-30])
    assert len(rows) == 2
    assert rejects == [(3, "broken JSON"), (4, "the list has no end")]


def test_only_the_broken_record_of_a_list_is_rejected(tmp_path):
    good = json.dumps(DESIGNED, ensure_ascii=False)
    for broken in ('{"id": 1, "title": "没有引号}', '{"id": 1 "title": "a"}', '{"title": }'):
        rows, rejects = questions(tmp_path, f"[{good},\n{broken},\n{good}]")
        assert [row["id"] for row in rows] == ["PsyQA_8", "PsyQA_8"]
        assert rejects == [(2, "broken JSON")]


def test_odd_types_reject_their_record_alone(tmp_path):
    odd = [
        {**DESIGNED, "title": {"a": 1}},
        {**DESIGNED, "content": ["述"]},
        {**DESIGNED, "answers": "无"},
        {**DESIGNED, "answers": {"content": "答"}},
        {**DESIGNED, "answers": ["答"]},
        5,
        None,
        {"foo": 1},
    ]
    rows, rejects = questions(tmp_path, [DESIGNED, *odd])
    assert [row["id"] for row in rows] == ["PsyQA_8"]
    assert rejects == [
        (2, "`title` is not a text"),
        (3, "`content` is not a text"),
        (4, "`answers` is not a list"),
        (5, "`answers` is not a list"),
        (6, "an answer is not an object"),
        (7, "record is not an object"),
        (8, "record is not an object"),
        (9, "not a question"),
    ]


def test_a_number_where_a_text_belongs_is_its_text(tmp_path):
    rows, rejects = questions(tmp_path, [{"id": "x", "title": 12, "content": 1.5, "answers": [None]}])
    assert rejects == []
    assert (rows[0]["id"], rows[0]["title"], rows[0]["content"]) == ("PsyQA_x", "12", "1.5")
    assert rows[0]["answers"] == [{"text": "", "likes": 0}]


def test_not_a_number_is_read_without_polars(tmp_path):
    record = json.dumps({**DESIGNED, "answers": [{"content": "答", "likes": float("nan")}]})
    rows, rejects = questions(tmp_path, f"[{record}]")
    assert rejects == []
    assert rows[0]["answers"] == [{"text": "答", "likes": 0}]


def test_of_a_repeated_key_the_first_counts_on_both_ways(tmp_path):
    text = '[{"id": 1, "title": "一", "title": "二"}]'
    assert questions(tmp_path, text)[0][0]["title"] == "一"
    assert questions(tmp_path, text + "x")[0][0]["title"] == "一"


def test_half_a_surrogate_pair_is_rejected_and_a_whole_one_read(tmp_path):
    half, whole = json.dumps({"title": "\ud83d"}), json.dumps({"title": "😀"})
    rows, rejects = questions(tmp_path, f"[{whole},{half},{whole}]")
    assert [row["title"] for row in rows] == ["😀", "😀"]
    assert rejects == [(2, "broken characters")]
    assert questions(tmp_path, f"[{whole}]")[0][0]["title"] == "😀"


def test_bytes_that_are_no_utf8_reject_their_record(tmp_path):
    good = json.dumps(DESIGNED, ensure_ascii=False).encode()
    rows, rejects = questions(tmp_path, b"[" + good + b',{"title": "\xff\xfe"},' + good + b"]")
    assert len(rows) == 2
    assert rejects == [(2, "broken characters")]


@pytest.mark.parametrize("data", [b"", b" \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_rejected_by_name(tmp_path, data):
    (tmp_path / "empty.json").write_bytes(data)
    step = PsyQA(path=forge.Files.match("*.json", tmp_path))
    found = list(step.read(forge.LocalRun(scratch=tmp_path)))
    assert [item for item in found if isinstance(item, forge.Reject)] == [forge.Reject("empty.json", "empty file", 1)]


def test_objects_a_line_each_are_read_too(tmp_path):
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in (PUBLISHED, DESIGNED))
    assert questions(tmp_path, lines)[0] == questions(tmp_path, [PUBLISHED, DESIGNED])[0]


def test_files_are_read_in_the_order_of_their_names(tmp_path):
    files = {f"{name}.json": json.dumps([{"id": name, "title": "题"}]) for name in "cabed"}
    table, _ = read(PsyQA, tmp_path, "*.json", files)
    assert table["id"].to_list() == [f"PsyQA_{name}" for name in "abcde"]


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "title", "content", "tags", "answers", "likes"]), inner, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(values.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)), st.integers(0, 40))
def test_no_file_stops_a_run(tmp_path, data, cut):
    for text in (data, data[:cut]):
        rows, _ = questions(tmp_path, text)
        assert all(isinstance(row["id"], str) for row in rows)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "id": st.one_of(st.integers(-(2**63), 2**63), st.text(max_size=3)),
                "title": st.one_of(st.none(), st.text(max_size=5)),
                "question": st.text(max_size=5),
                "description": st.text(max_size=5),
                "keywords": st.text(",，ab ", max_size=5),
                "tags": st.one_of(st.none(), st.lists(st.text("a,", max_size=3), max_size=3)),
                "answers": st.lists(
                    st.fixed_dictionaries(
                        {}, optional={"content": st.text(max_size=5), "likes": st.one_of(st.none(), st.integers(0, 99))}
                    ),
                    max_size=3,
                ),
            },
        ),
        max_size=4,
    )
)
def test_the_careful_way_reads_what_the_fast_way_reads(tmp_path, records):
    text = json.dumps(records)
    fast, fast_rejects = questions(tmp_path, text)
    slow, slow_rejects = questions(tmp_path, text + "x")
    assert fast == slow
    assert [*fast_rejects, (len(records) + 1, "text after the list")] == slow_rejects


# texts that look like the end of one record and the beginning of the next
TRICKS = st.sampled_from(['},{"id":', '"}, {"id": 1', '}\n,\n{ "id" :', "[{", "}]", '\\"},{\\"id\\":', "题"])
PIECES = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 9) | TRICKS, "title": TRICKS},
        optional={
            "answers": st.lists(st.fixed_dictionaries({"content": TRICKS}, optional={"id": TRICKS}), max_size=2),
            "tags": st.none() | st.lists(TRICKS, max_size=2),
        },
    ),
    min_size=1,
    max_size=6,
)


def pieces_of(data, size):
    with TemporaryFile() as file:
        file.write(data)
        file.flush()
        return [json.loads(piece.read()) for piece in cut(file.fileno(), size)]


@settings(max_examples=200)
@given(PIECES, st.integers(1, 120), st.sampled_from([None, 0, 1]), st.sampled_from([b"", b"\xef\xbb\xbf", b" \n"]))
def test_lists_that_a_large_one_is_cut_into_hold_its_records_where_all_of_them_are_json(records, size, indent, before):
    data = before + json.dumps(records, ensure_ascii=False, indent=indent).encode()
    try:
        pieces = pieces_of(data, size)
    except ValueError:
        return  # a cut inside a record: whoever reads notices
    assert records == [record for piece in pieces for record in piece]


def test_a_large_list_is_cut_between_records_and_nowhere_else():
    data = json.dumps([{"id": n, "answers": [{"content": "答"}]} for n in range(50)]).encode()
    pieces = pieces_of(data, 100)
    assert 15 < len(pieces)
    assert list(range(50)) == [record["id"] for piece in pieces for record in piece]


def in_pieces(folder, text, size):
    with patch.object(psyqa, "cut", partial(cut, size=size)):
        return questions(folder, text)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PIECES, st.integers(1, 200), st.integers(0, 400), st.sampled_from(["", '"', "]", "}", ",", "\\ud800", "NaN"]))
def test_a_file_that_is_read_in_pieces_is_read_as_one_that_is_not(tmp_path, records, size, place, fault):
    text = json.dumps(records, ensure_ascii=False, indent=0)
    text = text[:place] + fault + text[place:]
    assert in_pieces(tmp_path, text, 1 << 20) == in_pieces(tmp_path, text, size)


def test_from_the_first_broken_piece_on_records_are_read_one_by_one_and_keep_their_numbers(tmp_path):
    records = [{"title": f"题{n}", "answers": []} for n in range(9)]
    text = json.dumps(records, ensure_ascii=False).replace("题6", "题\\ud800").replace('"题3", ', '"题3" ')
    rows, rejects = in_pieces(tmp_path, text, 30)
    assert [(4, "broken JSON"), (7, "broken characters")] == rejects
    assert ["PsyQA_PsyQA_a_" + str(n) for n in (1, 2, 3, 5, 6, 8, 9)] == [row["id"] for row in rows]


def test_a_damaged_letter_behind_whole_pieces_is_rejected_and_no_other_encoding(tmp_path):
    records = [{"title": "题目" * 9, "answers": []} for _ in range(9)] + [{"title": "café", "answers": []}] * 2
    data = json.dumps(records, ensure_ascii=False).encode().replace("é".encode(), b"\xe5\x86 ", 1)
    rows, rejects = in_pieces(tmp_path, data, 80)
    assert ([(10, "broken characters")], 10, "café") == (rejects, len(rows), rows[-1]["title"])


def test_dialogue_lines_are_kept_whatever_the_line_end(tmp_path):
    files = {
        "case_1.txt": "来访者：一\r\n\r\n心理咨询师：二",
        "case_2.txt": "来访者：一\n\n心理咨询师：二\n",
        "case_3.txt": "来访者：一\r\r心理咨询师：二",
        "case_4.txt": b"\xef\xbb\xbf" + "来访者：一\n心理咨询师：二".encode(),
    }
    table, rejects = read(CPsyCounD, tmp_path, "*.txt", files)
    assert rejects == []
    assert table.rows() == [
        (f"CPsyCounD_case_{n}", "CPsyCounD", "", ["来访者：一", "心理咨询师：二"]) for n in range(1, 5)
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_encodings_are_found(tmp_path, encoding):
    talk = "来访者：你好\n心理咨询师：你好，请坐。"
    files = {"a.txt": talk.encode(encoding)}
    table, rejects = read(CPsyCounD, tmp_path / "d", "*.txt", files)
    assert ([talk.split("\n")], []) == (table["lines"].to_list(), rejects)
    files = {"T/1.json": json.dumps(talk.split("\n"), ensure_ascii=False).encode(encoding)}
    table, rejects = read(CPsyCounE, tmp_path / "e", "*/*.json", files)
    assert ([talk.split("\n")], []) == (table["lines"].to_list(), rejects)
    text = json.dumps([PUBLISHED, DESIGNED], ensure_ascii=False)
    assert questions(tmp_path, text) == questions(tmp_path, text.encode(encoding))


def test_an_answer_under_another_name_rejects_its_question_with_the_names_that_are_there(tmp_path):
    wrong = {**DESIGNED, "answers": [{"text": "答", "score": 3}]}
    blank = {**DESIGNED, "answers": [{"content": None, "score": 3}, None, {}]}
    rows, rejects = questions(tmp_path, [DESIGNED, wrong, blank])
    assert ["PsyQA_8", "PsyQA_8"] == [row["id"] for row in rows]
    assert [(2, "answers without `content` or `answer_text`, they have `score`, `text`")] == rejects


def test_questions_of_files_of_one_name_in_two_folders_have_ids_of_their_own(tmp_path):
    files = {f"{name}.json": json.dumps([{"title": "题"}]) for name in ("data", "a/data", "b/data")}
    table, _ = read(PsyQA, tmp_path, "**/*.json", files)
    assert {"PsyQA_data_1", "PsyQA_a/data_1", "PsyQA_b/data_1"} == set(table["id"])


def test_a_dialogue_that_is_damaged_or_empty_is_rejected_by_name(tmp_path):
    files = {"a.txt": "来访者：你好".encode() + b"\xff", "b.txt": b" \r\n", "c.txt": "来访者：一"}
    table, rejects = read(CPsyCounD, tmp_path, "*.txt", files)
    assert table["id"].to_list() == ["CPsyCounD_c"]
    assert [(reject.where, reject.reason) for reject in rejects] == [
        ("a.txt", "broken characters"),
        ("b.txt", "empty file"),
    ]


def test_the_topic_is_the_folder_with_its_blanks_and_signs(tmp_path):
    files = {
        "CPsyCounE/Emotion&Stress/1.json": '["求助者：一", "支持者：二"]',
        "CPsyCounE/Family Relationship/3.json": '["求助者：一"]',
    }
    table, rejects = read(CPsyCounE, tmp_path, "CPsyCounE/*/*.json", files)
    assert rejects == []
    assert table.columns == RAW_DIALOGUE
    assert table.rows() == [
        ("CPsyCounE_Emotion&Stress_1", "CPsyCounE", "Emotion&Stress", ["求助者：一", "支持者：二"]),
        ("CPsyCounE_Family Relationship_3", "CPsyCounE", "Family Relationship", ["求助者：一"]),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["求助者：一"', "broken JSON"),
        ('{"a": 1}', "not a list of texts"),
        ('["求助者：一", 3]', "not a list of texts"),
        ('["\\ud800"]', "broken characters"),
        ("", "empty file"),
    ],
)
def test_a_broken_dialogue_is_rejected_and_the_next_read(tmp_path, text, reason):
    files = {"T/1.json": text, "T/2.json": '["求助者：一"]'}
    table, rejects = read(CPsyCounE, tmp_path, "*/*.json", files)
    assert table["id"].to_list() == ["CPsyCounE_T_2"]
    assert [(reject.where, reject.reason) for reject in rejects] == [("T/1.json", reason)]


def test_files_of_one_name_in_two_folders_have_ids_of_their_own(tmp_path):
    talk = "来访者：一\n心理咨询师：二"
    files = {"Data/case_1.txt": talk, "More/case_1.txt": talk, "case_1.txt": talk}
    table, rejects = read(CPsyCounD, tmp_path / "d", "**/*.txt", files)
    assert ([], ["CPsyCounD_Data/case_1", "CPsyCounD_More/case_1", "CPsyCounD_case_1"]) == (
        rejects,
        table["id"].to_list(),
    )
    lines = json.dumps(talk.splitlines())
    files = {"old/Sex/1.json": lines, "new/Sex/1.json": lines, "Sex/1.json": lines, "1.json": lines}
    table, _ = read(CPsyCounE, tmp_path / "e", "**/*.json", files)
    assert [("CPsyCounE__1", ""), ("CPsyCounE_Sex_1", "Sex"), ("CPsyCounE_new/Sex_1", "Sex")] == list(
        table.select("id", "topic").head(3).iter_rows()
    )
    assert 4 == table["id"].n_unique()
