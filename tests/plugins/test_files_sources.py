"""Sources of files: what each shape and fault of a file becomes, in rows and in rejects."""

import bz2
import gzip
import io
import json
import lzma
import zipfile

import polars as pl
import pytest

import forge
from forge_files import gathering
from forge_files.csv_source import FilesCsv
from forge_files.json_source import FilesJson, FilesJsonl
from forge_files.parquet_source import FilesParquet
from forge_files.text_source import FilesText


@pytest.fixture
def run(tmp_path):
    return forge.LocalRun(tmp_path)


@pytest.fixture
def read(tmp_path, run):
    """Write files, read them by a source, and return rows and rejects."""

    def read(source, files, **parameters):
        files = {"a": files} if isinstance(files, str | bytes) else files
        for name, data in files.items():
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        found = source(path=forge.Files.match("data/**", tmp_path), **parameters).read(run)
        rows, rejects = [], []
        for item in found:
            if isinstance(item, forge.Reject):
                rejects.append((item.where, item.index, item.reason))
            else:
                rows += item.to_dicts()
        return rows, rejects

    return read


def zipped(data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", data)
    return out.getvalue()


TEXT = "来访者：我睡不着。\n咨询师：多久了？"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "gbk"])
def test_an_encoding_is_found(read, encoding):
    assert ([{"text": TEXT}], []) == read(FilesText, TEXT.encode(encoding))


def test_big_endian_utf_16_is_found_by_its_mark(read):
    assert [{"text": TEXT}] == read(FilesText, b"\xfe\xff" + TEXT.encode("utf-16-be"))[0]


def test_a_declared_encoding_is_taken_at_its_word(read):
    assert [{"text": "voilà"}] == read(FilesText, "voilà".encode("latin-1"), encoding="latin-1")[0]


def test_an_unknown_encoding_is_a_problem_of_the_manifest(tmp_path):
    with pytest.raises(ValueError, match="`encoding` must be `auto` or an encoding such as `utf-8`, `gb18030`, got"):
        FilesText(path=forge.Files.match("**", tmp_path), encoding="utf-9")


def test_one_damaged_byte_costs_one_record_and_does_not_turn_a_file_into_nonsense(read):
    lines = [json.dumps({"text": TEXT}, ensure_ascii=False).encode() for _ in range(5)]
    lines[2] = lines[2].replace("我".encode(), b"\xe6\x88")
    rows, rejects = read(FilesJsonl, b"\n".join(lines))
    assert ([{"text": TEXT}] * 4, [("a", 3, "broken characters")]) == (rows, rejects)


UNKNOWN = "neither UTF-8 nor Chinese in GB18030: name its `encoding`"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("décor naïve façade crème", "cp1252"),
        ("Übergrößenträger", "latin-1"),
        ("Привет, как дела?", "cp1251"),
        ("你好世界，這是繁體中文的測試", "big5"),
        ("こんにちは。私は学生です。", "shift_jis"),
        ("안녕하세요. 저는 학생입니다. 오늘 날씨가 아주 좋습니다. 우리는 내일 공원에 갈 것입니다." * 2, "euc-kr"),
    ],
)
def test_text_in_an_encoding_that_cant_be_told_is_refused_and_read_where_it_is_named(read, text, encoding):
    assert ([], [("a", None, UNKNOWN)]) == read(FilesText, text.encode(encoding))
    assert ([{"text": text}], []) == read(FilesText, text.encode(encoding), encoding=encoding)


def test_english_in_utf_8_that_is_cut_off_or_damaged_keeps_what_is_whole(read, run):
    lines = [json.dumps({"text": f"plain English {n}"}).encode() for n in range(40)]
    good = [{"text": f"plain English {n}"} for n in range(40)]
    cut = '{"text": "café'.encode()[:-1]
    assert (good, [("a", 41, "broken JSON")]) == read(FilesJsonl, b"\n".join([*lines, cut]))
    assert [] == run.messages
    damaged = b"\n".join([*lines, b'{"text": "caf\xc3"}', b""])
    assert (good, [("a", 41, "broken characters")]) == read(FilesJsonl, damaged)
    assert run.messages[0].endswith("if it is in another encoding, name it by `encoding`")


def test_an_encoding_that_was_found_is_told_in_the_log(read, run):
    read(FilesCsv, {"a": "text\n失眠\n".encode("gbk"), "b": "text\n失眠\n"})
    assert ["`a` is read as GB18030"] == run.messages


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_told(read, encoding):
    data = "id,text\n1,你好\n".encode(encoding)
    assert ([], [("a", None, f'UTF-16 without a mark: name it by `encoding = "{encoding}"`')]) == read(FilesCsv, data)
    assert [{"id": 1, "text": "你好"}] == read(FilesCsv, data, encoding=encoding)[0]


@pytest.mark.parametrize(
    ("pack", "kind"), [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz"), (zipped, "ZIP")]
)
def test_a_compressed_file_is_told_what_unpacks_it(read, pack, kind):
    packed = pack(b'{"a": 1}\n' * 99)
    assert ([], [("a", None, f"compressed by {kind}: `files.unpack` unpacks it")]) == read(FilesJsonl, packed)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_nul_byte_costs_its_record(read, encoding):
    texts = [f"来访者{n}" for n in range(9)]
    texts[4] = "来\0访"
    rest = [text for text in texts if "\0" not in text]
    assert ([], [("a", 1, "broken characters")]) == read(FilesJsonl, '{"a": "x\0y"}')
    lines = "\n".join(f'{{"text": "{text}"}}' for text in texts).encode(encoding)
    rows, rejects = read(FilesJsonl, lines)
    assert (rest, [("a", 5, "broken characters")]) == ([row["text"] for row in rows], rejects)
    rows, rejects = read(FilesCsv, "\n".join(["text,n", *(f"{text},1" for text in texts)]).encode(encoding))
    assert (rest, [("a", 6, "broken characters")]) == ([row["text"] for row in rows], rejects)
    rows, rejects = read(FilesText, "\n".join(texts).encode(encoding), each="line")
    assert (rest, [("a", 5, "broken characters")]) == ([row["text"] for row in rows], rejects)


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty file"), (b"\xef\xbb\xbf\r\n ", "empty file")])
@pytest.mark.parametrize("source", [FilesJson, FilesJsonl, FilesCsv, FilesText])
def test_an_empty_file_is_rejected_by_name(read, source, data, reason):
    assert ([], [("a", None, reason)]) == read(source, data)


@pytest.mark.parametrize("source", [FilesJson, FilesJsonl, FilesCsv, FilesText])
def test_a_file_that_is_no_text_is_rejected_by_name(read, source):
    assert ([], [("a", None, "not text: it holds NUL bytes")]) == read(source, b"GGUF\0\0\0\3")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_kind_end_a_line(read, end):
    assert [{"text": "a"}, {"text": "b\u2028c"}] == read(FilesText, f"a{end}{end}b\u2028c{end}", each="line")[0]
    assert [{"a": 1, "b": "x"}] == read(FilesCsv, f"a,b{end}1,x{end}")[0]
    assert [{"a": 1}, {"a": 2}] == read(FilesJsonl, f'{{"a": 1}}{end}{{"a": 2}}{end}')[0]


# JSON


def test_a_list_one_record_and_objects_one_after_another_are_read(read):
    files = {"1.json": '[{"a": 1}, {"a": 2}]', "2.json": '{"a": 3}', "3.json": '{"a": 4}\n{"a": 5}'}
    rows, rejects = read(FilesJson, files, file_column="file", index_column="n")
    assert [] == rejects
    assert [("1.json", 1, 1), ("1.json", 2, 2), ("2.json", 1, 3), ("3.json", 1, 4), ("3.json", 2, 5)] == [
        (row["file"], row["n"], row["a"]) for row in rows
    ]


def test_records_may_lie_deep_and_columns_too(read):
    data = json.dumps({"data": {"items": [{"q": {"text": "题"}, "answers": [{"content": "答"}]}, {"q": None}]}})
    columns = {"question": "q.text", "answer": "answers.0.content"}
    rows, rejects = read(FilesJson, data, records="data.items", columns=columns)
    assert ([{"question": "题", "answer": "答"}, {"question": None, "answer": None}], []) == (rows, rejects)
    rows, rejects = read(FilesJson, data[:-4], records="data.items", columns=columns)
    cut = "the list has no end: the file is cut off"
    assert ([{"question": "题", "answer": "答"}], [("a", 2, cut)]) == (rows, rejects)


def test_a_file_that_lacks_the_path_is_rejected_by_name(read):
    rows, rejects = read(FilesJson, {"a": '{"items": [{"x": 1}]}', "b": '{"itens": []}'}, records="items")
    assert ([{"x": 1}], [("b", None, "there is no `items`")]) == (rows, rejects)


def test_a_file_may_be_one_record_also_where_it_is_a_list(read):
    rows, _ = read(FilesJson, '[{"role": "client"}, {"role": "counselor"}]', each="file", columns={"turns": "value"})
    assert [{"turns": [{"role": "client"}, {"role": "counselor"}]}] == rows


def test_of_a_truncated_list_what_is_whole_stays_and_the_rest_is_rejected_by_index(read):
    text = json.dumps([{"a": n, "b": [{"c": n}]} for n in range(3)])
    rows, rejects = read(FilesJson, text[:-8])
    assert [0, 1] == [row["a"] for row in rows]
    assert [("a", 3, "the list has no end: the file is cut off")] == rejects


@pytest.mark.parametrize("cut", [1, 2, 8, 20])
def test_a_list_that_is_cut_off_is_one_reject_wherever_it_ends(read, cut):
    rows, rejects = read(FilesJson, json.dumps([{"a": n, "b": "x" * 9} for n in range(9)])[:-cut])
    assert [(9 if cut > 1 else 10, "the list has no end: the file is cut off")] == [r[1:] for r in rejects]
    assert [*range(8 if cut > 1 else 9)] == [row["a"] for row in rows]


def test_a_broken_last_record_of_a_whole_list_is_one_reject(read):
    assert ([{"a": 1}], [("a", 2, "broken JSON")]) == read(FilesJson, '[{"a": 1}, {"a": 2 "x"}]')


def test_reading_goes_on_behind_a_broken_record_and_not_inside_of_it(read):
    text = '[{"a": 1, "b": [{"c": 1}]},\n{"a": 2 "b": [{"c": 2}, {"c": 3}]},\n{"a": 3, "b": []}]'
    rows, rejects = read(FilesJson, text)
    assert ([1, 3], [("a", 2, "broken JSON")]) == ([row["a"] for row in rows], rejects)


DIALOGUES = [{"id": n, "turns": [{"role": "user", "id": n}, {"role": "assistant", "id": n}]} for n in range(9)]


@pytest.mark.parametrize("at", [0, 4, 8])
@pytest.mark.parametrize("damage", [(": {at},", ': {at} "x",'), ('"id": {at},', "id: {at},"), ('"user"', '"user" "x"')])
@pytest.mark.parametrize("path", ["", "data.items"])
def test_one_broken_record_costs_no_other_and_its_own_objects_are_no_records(read, at, damage, path):
    before, after = (text.replace("{at}", str(at)) for text in damage)
    texts = [json.dumps(record) for record in DIALOGUES]
    texts[at] = texts[at].replace(before, after, 1)
    text = f"[{', '.join(texts)}]"
    text = f'{{"data": {{"items": {text}, "more": [{{"id": 1}}]}}, "end": null}}' if path else text
    rows, rejects = read(FilesJson, text, records=path)
    assert [n for n in range(9) if n != at] == [row["id"] for row in rows]
    assert [("a", at + 1, "broken JSON")] == rejects


@pytest.mark.parametrize("more", ['\n[{"a": 2}, {"a": 3}]', ', {"a": 2}, {"a": 3}]', '{"a": 2}\n{"a": 3}'])
def test_what_stands_behind_a_list_is_told_and_its_records_are_read(read, more):
    rows, rejects = read(FilesJson, '[{"a": 1}]' + more)
    assert ([1, 2, 3], ("a", 2, "text after the list")) == ([row["a"] for row in rows], rejects[0])


def test_replies_that_look_like_records_are_not_taken_for_records(read):
    records = [{"id": n, "replies": [{"id": -n, "replies": []}, {"id": -n, "replies": []}]} for n in range(5)]
    rows, rejects = read(FilesJson, json.dumps(records).replace('"id": 2,', '"id": 2 "x",'))
    assert ([0, 1, 3, 4], 1) == ([row["id"] for row in rows], len(rejects))


def test_records_of_other_fields_are_found_behind_a_broken_one(read):
    records = [{"id": n, f"a{n}": 1, f"b{n}": 1, f"c{n}": 1} for n in range(9)]
    text = json.dumps(records).replace('"id": 3,', '"id": 3 "x",')
    rows, rejects = read(FilesJson, text)
    assert ([0, 1, 2, 4, 5, 6, 7, 8], 1) == ([row["id"] for row in rows], len(rejects))


def test_a_key_that_stands_twice_rejects_its_record(read):
    reason = "a key stands twice in an object"
    assert ([{"a": 1}], [("a", 2, reason)]) == read(FilesJson, '[{"a": 1}, {"a": 2, "a": 3}]')
    rows, rejects = read(FilesJsonl, '{"a": {"b": 1, "b": 1}}\n{"a": {"b": 2}}')
    assert ([{"a": {"b": 2}}], [("a", 1, reason)]) == (rows, rejects)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_rejects_its_record_or_is_null_by_a_declared_rule(read, number):
    text = f'[{{"a": 1.5}}, {{"a": {number}}}]'
    assert ([{"a": 1.5}], [("a", 2, "NaN or Infinity is not JSON")]) == read(FilesJson, text)
    assert ([{"a": 1.5}, {"a": None}], []) == read(FilesJson, text, not_finite="null")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("1e999", "number out of range"),
        ("1" * 400, "number out of range"),
        ("1" * 5000, "broken JSON"),
        (r'"\ud83d"', "broken characters"),
        ("[" * 40 + "]" * 40, "nested too deeply"),
        ("[" * 100_000, "broken JSON"),
    ],
)
def test_a_value_that_no_column_can_hold_rejects_its_record(read, value, reason):
    rows, rejects = read(FilesJsonl, f'{{"a": 1}}\n{{"a": {value}}}')
    assert ([{"a": 1}], [("a", 2, reason)]) == (rows, rejects)


def test_values_of_several_kinds_make_a_column_of_texts(read):
    text = '[{"a": 1}, {"a": "x"}, {"a": [2, {"b": null}]}, {"a": true}, {"a": null}]'
    assert ["1", "x", '[2, {"b": null}]', "true", None] == [row["a"] for row in read(FilesJson, text)[0]]


def test_kinds_are_the_same_over_all_files(read):
    files = {"1": '{"a": 1, "b": {"x": 1}}', "2": '{"a": 2.5, "b": {"y": "2"}}', "3": '{"b": {}}'}
    assert [
        {"a": 1.0, "b": {"x": 1, "y": None}},
        {"a": 2.5, "b": {"x": None, "y": "2"}},
        {"a": None, "b": {"x": None, "y": None}},
    ] == read(FilesJson, files)[0]


def test_a_field_without_a_name_is_a_column_without_one(read):
    assert [{"": [{"": 1}], "b": 2}] == read(FilesJson, '[{"": [{"": 1}], "b": 2}]')[0]


def test_batches_of_many_records_have_the_same_columns(read, monkeypatch):
    monkeypatch.setattr(gathering, "_BATCH", 2)
    values = [1, None, 2.5, 3, "x", {"y": 1}]
    rows, _ = read(FilesJsonl, "\n".join(json.dumps({"a": value}) for value in values), index_column="n")
    assert ["1", None, "2.5", "3.0", "x", '{"y": 1}'] == [row["a"] for row in rows]
    assert [1, 2, 3, 4, 5, 6] == [row["n"] for row in rows]


def test_a_record_that_is_not_an_object_is_a_value(read):
    assert [{"value": "求助者：一"}, {"value": "支持者：二"}] == read(FilesJson, '["求助者：一", "支持者：二"]')[0]


def test_a_column_that_no_record_has_is_told_with_what_is_there(read):
    text = '{"answerText": "a", "topic": "b"}'
    with pytest.raises(
        ValueError, match=r"there is no `answerTxt`, which `columns` calls `text`, in the first 1 records of `a`"
    ) as e:
        read(FilesJson, text, columns={"text": "answerTxt"})
    assert e.value.hint.startswith("did you mean `answerText`? there is `answerText`, `topic`")
    with pytest.raises(
        forge.StepError,
        match=r"there is no `answerTxt`, which `columns` calls `text`, in any record, the first of which is `a:1`",
    ):
        read(FilesJson, {"a": text, "b": text}, columns={"text": "answerTxt"})
    assert [{"text": None}] == read(FilesJson, {"a": text, "b": ""}, columns={"text": "answerTxt?"})[0]


@pytest.mark.parametrize("source", [FilesJson, FilesJsonl])
def test_a_column_that_only_some_files_have_is_told_with_their_names(read, run, source):
    files = {"1": '{"q": 1}', "2": '{"question": 2}', "3": '{"q": 3}\n{}', **dict.fromkeys("4567", '{"p": 2}')}
    rows, _ = read(source, files, columns={"said": "q", "asked": "question?"})
    assert [1, None, 3, None, None, None, None, None] == [row["said"] for row in rows]
    told = "no record of `2`, `4`, `5` and 2 more has `q`: column `said` is null there; `q?` may be missing"
    assert [told] == run.messages


def test_a_column_that_only_some_headers_have_is_told_with_their_files(read, run):
    files = {"1": "q,a\n1,2\n", "2": "question,a\n3,4\n", "3": "b\n"}
    assert [1, None] == [row["said"] for row in read(FilesCsv, files, columns={"said": "q", "p": "question?"})[0]]
    assert ["the header of `2` has no `q`: column `said` is null there"] == run.messages
    read(FilesCsv, files)
    assert "the header of `1` has no `question`: column `question` is null there" in run.messages


def test_a_column_of_the_records_is_not_written_over(read):
    with pytest.raises(forge.StepError, match="the records of `a` have a column `n` of their own"):
        read(FilesJson, '{"n": 1}', index_column="n")


# CSV


def test_quoted_fields_hold_line_breaks_quotes_and_separators(read):
    assert [{"a": 'x,\n"y"', "b": 1}, {"a": "z", "b": 2}] == read(FilesCsv, 'a,b\r\n"x,\n""y""",1\r\nz,2\r\n')[0]


def test_a_column_without_a_name_is_called_by_its_place(read):
    assert [{"column_1": 0, "a": "x"}] == read(FilesCsv, ",a\n0,x\n")[0]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_separator_is_found_or_declared(read, separator):
    text = separator.join("abc") + "\n" + separator.join(["1", '"x,;y"', "2.5"]) + "\n"
    expected = [{"a": 1, "b": "x,;y", "c": 2.5}]
    assert expected == read(FilesCsv, text)[0]
    assert expected == read(FilesCsv, text, separator=separator)[0]


def test_numbers_are_numbers_where_a_column_holds_nothing_else(read):
    text = "i,f,id,gap,word\n1,1.5,007,NaN,NA\n-2,2e3,1,,x\n3,4,2,7,y\n"
    assert [
        {"i": 1, "f": 1.5, "id": "007", "gap": None, "word": "NA"},
        {"i": -2, "f": 2000.0, "id": "1", "gap": None, "word": "x"},
        {"i": 3, "f": 4.0, "id": "2", "gap": 7, "word": "y"},
    ] == read(FilesCsv, text)[0]
    assert {"i": "1", "f": "1.5", "id": "007", "gap": "NaN", "word": "NA"} == read(FilesCsv, text, types="text")[0][0]


@pytest.mark.parametrize("other", ["1.5", "12345678901234567890", "2e3"])
def test_long_numbers_lose_no_digit_whatever_stands_beside_them(read, other):
    ids = [f"1234567890123456{n:02d}" for n in range(20)]
    expected = [*ids, other]
    assert expected == [row["id"] for row in read(FilesCsv, "\n".join(["id,n", *(f"{id_},1" for id_ in expected)]))[0]]
    assert [int(id_) for id_ in ids] == [row["id"] for row in read(FilesCsv, "\n".join(["id", *ids]))[0]]
    rows, _ = read(FilesJson, "\n".join(f'{{"id": [{id_}]}}' for id_ in expected))
    assert [[id_] for id_ in ids] == [row["id"] for row in rows][:-1]


def test_short_integers_beside_fractions_are_numbers(read):
    assert [1.0, 123456789012345.0, 0.5] == [r["a"] for r in read(FilesCsv, "a,b\n1,\n123456789012345,\n0.5,\n")[0]]
    assert [2.0**53, 0.5] == [r["a"] for r in read(FilesJson, f'[{{"a": {2**53}}}, {{"a": 0.5}}]')[0]]


def test_records_with_fields_too_few_or_too_many_are_rejected_by_line(read):
    rows, rejects = read(FilesCsv, "a,b\n1,2\n3\n4,5,6\n7,8\n", index_column="line")
    assert [(2, 1, 2), (5, 7, 8)] == [tuple(row.values()) for row in rows]
    assert [("a", 3, "fewer fields than the header has"), ("a", 4, "more fields than the header has")] == rejects


def test_a_quote_that_is_never_closed_costs_its_own_record(read):
    rows, rejects = read(FilesCsv, 'a,b\n1,x\n2,"y\n3,z\n4,w\n')
    assert ([1, 3, 4], [("a", 3, "quotes don't match")]) == ([r["a"] for r in rows], rejects)


@pytest.mark.parametrize("quote", ['"', ""])
def test_a_field_may_be_as_long_as_its_file(read, quote):
    long = "a line, here\n" * 12_000 if quote else "长" * 140_000
    text = f"id,text\n1,{quote}{long}{quote}\n2,ok\n"
    assert ([{"id": 1, "text": long}, {"id": 2, "text": "ok"}], []) == read(FilesCsv, text)


def test_a_long_field_whose_quote_is_never_closed_costs_its_own_line(read):
    rows, rejects = read(FilesCsv, 'id,text\n1,"' + "x,y\n" * 40_000)
    assert (39_999, [("a", 2, "quotes don't match")]) == (len(rows), rejects)


def test_separators_in_the_texts_of_one_column_are_not_taken_for_separators(read):
    texts = [f"你好;世界{n}" for n in range(50)]
    assert ([{"text": text} for text in texts], []) == read(FilesCsv, "\n".join(["text", *texts]))
    rows, rejects = read(FilesCsv, "text\n你好,世界\n")
    assert ([], "more fields than the header has, which is one: is that the `separator`?") == (rows, rejects[0][2])


def test_a_first_line_of_excel_tells_the_separator(read):
    expected = ([{"n": 3, "name": "张三", "text": "你好,世界"}], [])
    assert expected == read(FilesCsv, "sep=;\r\nname;text\r\n张三;你好,世界\r\n", index_column="n")
    assert expected == read(FilesCsv, "sep=;\nname;text\n张三;你好,世界\n", index_column="n", separator=";")


def test_two_columns_of_one_name_reject_the_file(read):
    assert ([], [("a", None, "two columns are called `a`")]) == read(FilesCsv, "a,a\n1,2\n")


def test_names_that_polars_takes_for_patterns_are_names(read, tmp_path):
    expected = [{"*": 1, "^a$": 2, "a": 3}]
    assert expected == read(FilesCsv, "*,^a$,a\n1,2,3\n")[0]
    pl.DataFrame(expected).write_parquet(tmp_path / "good.parquet")
    assert expected == read(FilesParquet, (tmp_path / "good.parquet").read_bytes())[0]
    assert expected == read(FilesJson, json.dumps(expected))[0]


def test_a_file_without_a_header_has_columns_by_place(read):
    assert [{"x": 1, "y": "q"}] == read(FilesCsv, "1,q\n", header=False, columns={"x": "column_1", "y": "column_2"})[0]


def test_a_misspelt_column_of_a_csv_file_is_told_before_it_is_read(read):
    with pytest.raises(
        ValueError, match=r"there is no `answer`, which `columns` calls `text`, in the header of `a`"
    ) as told:
        read(FilesCsv, "answers,topic\n1,2\n", columns={"text": "answer"})
    assert told.value.hint == "did you mean `answers`? there is `answers`, `topic`; `answer?` may be missing"


# text and Parquet


def test_texts_are_files_lines_or_paragraphs(read):
    text = "one\ntwo\n\nthree\n"
    assert [{"text": text}] == read(FilesText, text)[0]
    assert [("one", 1), ("two", 2), ("three", 4)] == [
        (row["text"], row["n"]) for row in read(FilesText, text, each="line", index_column="n")[0]
    ]
    assert [{"words": "one\ntwo"}, {"words": "three"}] == read(FilesText, text, each="paragraph", column="words")[0]


def test_line_breaks_that_are_written_out_are_read_back(read):
    assert [{"text": "a\nb \\n \\c"}] == read(FilesText, r"a\nb \\n \c", each="line", unescape=True)[0]


def test_parquet_files_are_read_with_their_types_and_a_broken_one_is_rejected(read, tmp_path):
    frame = pl.DataFrame({"m": [{"text": "x", "tags": ["p", "q"]}], "n": [1]})
    frame.write_parquet(tmp_path / "good.parquet")
    files = {"a": (tmp_path / "good.parquet").read_bytes(), "b": b"PAR1 nothing", "c": b""}
    rows, rejects = read(FilesParquet, files, columns={"t": "m.text", "tag": "m.tags.1", "k": "k?"}, file_column="f")
    assert [{"f": "a", "t": "x", "tag": "q", "k": None}] == rows
    assert [("b", None, "not a Parquet file"), ("c", None, "empty file")] == rejects


def test_a_column_that_a_parquet_file_lacks_is_told_with_what_is_there(read, tmp_path):
    pl.DataFrame({"m": [{"text": "x"}]}).write_parquet(tmp_path / "good.parquet")
    with pytest.raises(forge.StepError, match=r"there is no `m.txt`, which `columns` calls `t`, in `a`") as told:
        read(FilesParquet, (tmp_path / "good.parquet").read_bytes(), columns={"t": "m.txt"})
    assert "did you mean `m.text`?" in told.value.hint


def test_every_wrong_parameter_is_told_at_once_with_its_line(forge_project):
    forge_project.write("a.csv", "answer,topic\n1,2\n")
    forge_project.write("a.jsonl", '{"answer": 1}\n')
    forge_project.manifest(
        """
        [sources.a]
        use = "files.csv"
        path = "a.csv"
        columns = { text = "answr" }
        encoding = "utf9"
        separator = ";;"
        most_rejects = 2

        [sources.b]
        use = "files.jsonl"
        path = "a.jsonl"
        columns = { text = "answr" }
        encoding = "utf9"

        [sources.c]
        use = "files.jsonl"
        path = "a.jsonl"
        columns = { text = "answr" }
        """
    )
    said = forge_project.forge("check", "forge.toml").stderr
    assert "Traceback" not in said
    for line in (
        "forge.toml:6: step `a`: `encoding` must be `auto` or an encoding such as `utf-8`, `gb18030`, got `utf9`",
        "forge.toml:7: step `a`: `separator` must be `auto` or one character, got `;;`",
        "forge.toml:8: step `a`: `most_rejects` must be <= 1.0, got `2.0`",
        "forge.toml:14: step `b`: `encoding` must be",
        "forge.toml:19: step `c`: there is no `answr`, which `columns` calls `text`, in the first 1 records of",
        "hint: did you mean `answer`? there is `answer`; `answr?` may be missing",
    ):
        assert line in said, said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"a": 1}, {"a": 2}]\n', "one JSON list of objects"),
        ('[{"a": 1},\n {"a": 2}]\n', "one JSON list of objects"),
        ('\n[\n  {\n    "a": 1\n  }\n]\n', "one JSON list of objects"),
        ('{\n  "a": 1\n}\n', "one JSON object over several lines"),
        ('{\n  "a": 1\n}\n{\n  "a": 2\n}\n', "JSON objects over several lines each"),
        ('[{"a": 1}]\n[{"a": 2}]\n', None),
        ("[1, 2]\n", None),
        ('3\n"x"\n', None),
        ('{"a": 1}\n', None),
        ('{"a": 1\n{"a": 2}\n', None),
        ("", None),
    ],
)
def test_json_lines_that_are_plain_json_are_told_what_reads_them(forge_project, text, told):
    forge_project.write("a.jsonl", text)
    forge_project.manifest('[sources.rows]\nuse = "files.jsonl"\npath = "a.jsonl"\n')
    planned = forge_project.forge("plan", "forge.toml")
    assert (2 if told else 0) == planned.exit_code
    if told:
        assert f"`a.jsonl` holds {told}, and no record a line" in planned.stderr
        assert '`use = "files.json"`' in planned.stderr


def test_one_column_can_t_hold_both_a_row_s_file_and_its_number(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    path = forge.Files.match("a.jsonl", tmp_path)
    with pytest.raises(ValueError, match="both name the column `f`"):
        FilesJsonl(path=path, file_column="f", index_column="f")
