"""The leak scan: what it reads, what it counts, what it shows."""

import json
import re

import polars as pl
import pytest

import forge
from forge_text.leaks import Leaks, masked
from forge_text.leaves import strings_in, strings_of


@pytest.fixture
def look(tmp_path):
    def looked(name="in", **options):
        run = forge.LocalRun(scratch=tmp_path)
        artifact = forge.Artifact(name, tmp_path / name)
        return list(Leaks(**options).check({name: artifact}, tmp_path / "out", run))

    return looked


def test_every_column_is_read_however_deep(tmp_path, look):
    frame = pl.DataFrame(
        {
            "id": ["a", "b"],
            "number": [13800001111, 1],
            "conversation": [[{"role": "user", "text": "我电话138-0000-1111"}], []],
            "meta": [{"tags": ["QQ123400987", "x"], "by": "lin@example.com"}, {"tags": [], "by": None}],
        }
    )
    forge.write_rows(frame, tmp_path / "in")
    total, *places = look()
    assert ("personal data", 4, 0, False) == (total.name, total.value, total.bound, total.passed)
    assert {
        "PHONE in in.conversation[].text": (1, "row 0: 13*-****-****"),
        "QQ in in.meta.tags[]": (1, "row 0: QQ*********"),
        "PHONE in in.number": (1, "row 0: 13*********"),
        "EMAIL in in.meta.by": (1, "row 0: li*@*******.***"),
    } == {place.name: (place.value, place.detail) for place in places}


def test_parts_and_text_members_are_read_and_other_files_are_not(tmp_path, look):
    forge.write_rows(pl.DataFrame({"text": ["好"]}), tmp_path / "in/train")
    (tmp_path / "in/replies.jsonl").write_text('{"reply": "加v lin_xiaoyu07", "n": [1]}\nno json 13800001111\n')
    (tmp_path / "in/notes.txt").write_text("一\nmail a.b@example.com\n")
    (tmp_path / "in/model.bin").write_bytes(b"\0\0\0\x0113800001111")
    found = {finding.name: finding.detail for finding in look()[1:]}
    assert {
        "EMAIL in in/notes.txt": "line 2: a.*@*******.***",
        "PHONE in in/replies.jsonl": "line 2: 13*********",
        "WECHAT in in/replies.jsonl": "line 1: 加v ************",
        "members not read": "in/model.bin",
    } == found


@pytest.mark.parametrize("name", ["a.csv", "a.md", "a.yaml", "Z.TXT", "no_suffix"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-32"])
def test_every_member_that_is_text_is_read_whatever_its_name_and_its_encoding(tmp_path, look, name, encoding):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes("好\n微信：lin_xiaoyu07\n".encode(encoding))
    assert [(f"WECHAT in in/{name}", "line 2: 微信：************")] == [(e.name, e.detail) for e in look()[1:]]


def test_an_entry_of_a_json_file_is_told_by_its_number(tmp_path, look):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/A.JSON").write_bytes(json.dumps(["好", {"a": "QQ123400987"}]).encode("utf-16"))
    assert "entry 2: QQ*********" == look()[1].detail


def test_members_that_are_not_read_are_named(tmp_path, look):
    (tmp_path / "in").mkdir()
    for number in range(7):
        (tmp_path / f"in/{number}.bin").write_bytes(b"\0")
    (tmp_path / "in/a.txt").write_text("一")
    first, unread = look()
    assert "not read: in/0.bin, in/1.bin, in/2.bin, in/3.bin, in/4.bin and 2 more" in first.detail
    assert ("members not read", 7, True) == (unread.name, unread.value, unread.passed)
    (tmp_path / "in/b.md").write_text("一")
    assert 7 == look(members=("*.TXT", "b.*"))[1].value
    assert 8 == look(members=("*.txt",))[1].value


def test_numbers_are_read_as_they_are_written(tmp_path, look):
    whole = {"phone": [13800001111, None], "card": [110105194912310038, 7], "small": pl.Series([1, 2], dtype=pl.Int8)}
    floats = {"float": [13800001111.0, float("nan")], "score": [13800001111.5, 1e300]}
    forge.write_rows(pl.DataFrame(whole | floats | {"deep": [[{"n": 13800001111}], []]}), tmp_path / "in")
    (tmp_path / "in/b.jsonl").write_text('{"phone": 13800001111.0, "score": 1.5, "huge": 1e400}\n')
    assert {
        "PHONE in in.phone",
        "ID in in.card",
        "PHONE in in.float",
        "PHONE in in.deep[].n",
        "PHONE in in/b.jsonl",
    } == {each.name for each in look()[1:]}


def test_what_a_source_rejected_is_read_too(forge_project):
    forge_project.write("rows.jsonl", '{"text": "好"}\n{"text": "联系13800001111，\n')
    forge_project.manifest(
        """
        [sources.rows]
        use = "files.jsonl"
        path = "rows.jsonl"
        most_rejects = 0.6
        [checks.leaks]
        use = "text.leaks"
        from = "rows"
        """
    )
    result = forge_project.build()
    assert "failed" == result.statuses["leaks"]
    assert "1 PHONE in rows/rejects.excerpt, row 0" in result.stderr


def test_a_number_in_json_may_be_a_telephone(tmp_path, look):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_text(json.dumps({"deep": [{"phone": 13800001111}]}))
    assert 1 == look()[0].value


def test_what_is_allowed_and_what_is_bounded_passes(tmp_path, look):
    forge.write_rows(pl.DataFrame({"text": ["电话13800001111", "QQ123400987", "[PHONE]"]}), tmp_path / "in")
    assert [1, True] == [look(most=1, allow=("13800001111",))[0].value, look(most=1, allow=("13800001111",))[0].passed]
    assert (2, False) == (look(most=1)[0].value, look(most=1)[0].passed)


def test_bank_cards_are_looked_for_on_demand(tmp_path, look):
    forge.write_rows(pl.DataFrame({"text": ["卡号6222 0210 0111 6245 702"]}), tmp_path / "in")
    assert (0, 1) == (look()[0].value, look(also=("bank_card",))[0].value)


def test_an_input_without_text_is_refused_by_name(tmp_path, look):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/model.bin").write_text("\0")
    with pytest.raises(
        forge.StepError, match="input `in` holds no table and no text in members that match `\\*`"
    ) as caught:
        look()
    assert "`model.bin`" in caught.value.hint


def test_what_was_anonymised_leaks_nothing(tmp_path, look):
    from forge_text.filters import Anonymise

    rows = pl.LazyFrame({"text": ["电话13800001111，邮箱a@example.com", "微信：lin_xiaoyu07 身份证11010519491231002X"]})
    forge.write_rows(Anonymise(columns=("text",)).transform(rows).collect(), tmp_path / "in")
    assert [0] == [finding.value for finding in look()]


def test_leaves_of_all_nestings_are_named():
    frame = pl.DataFrame({"a": ["x"], "b": [[["y"]]], "c": [{"d": [{"e": "z"}]}], "n": [1]})
    assert [("a", ["x"]), ("b[][]", ["y"]), ("c.d[].e", ["z"])] == [
        (name, strings["text"].to_list()) for name, strings in strings_of(frame)
    ]


def test_keys_of_json_are_strings_too(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"13800001111": {"b": ["c"]}}\n')
    [strings] = strings_in(tmp_path / "a.jsonl")
    assert [(1, "13800001111"), (1, "b"), (1, "c")] == strings.rows()


def test_a_mask_shows_two_characters():
    assert "13*-****-****" == masked("138-0000-1111")


def test_the_receipt_names_each_type_and_place_in_a_line_of_its_own(forge_project):
    forge_project.write("rows.jsonl", '{"id": "a@b.com", "u": "13800001111", "tags": ["QQ123400987"]}\n')
    forge_project.manifest(
        """
        [sources.rows]
        use = "files.jsonl"
        path = "rows.jsonl"
        [checks.leaks]
        use = "text.leaks"
        from = "rows"
        """
    )
    forge_project.build()
    shown = forge_project.forge("show", "forge.toml", "leaks").stdout
    for figure in ("EMAIL in rows.id", "PHONE in rows.u", "QQ in rows.tags[]"):
        assert re.search(rf"^{re.escape(figure)} +1 ", shown, re.MULTILINE), shown


def test_a_leak_fails_the_build_and_the_receipt_masks_it(forge_project):
    forge_project.plugin(
        "rows",
        "import attrs, forge\n\n"
        "@attrs.frozen\n"
        "class Rows:\n"
        '    """Yield one row."""\n\n'
        "    def read(self, run):\n"
        '        yield [{"text": "电话13800001111"}]\n\n'
        "@forge.hookimpl\n"
        "def forge_register(register):\n"
        '    register.source("rows", Rows, version="1")\n',
    )
    forge_project.manifest(
        """
        [sources.rows]
        use = "rows.rows"
        [transforms.clean]
        use = "text.anonymise"
        from = "rows"
        columns = ["text"]
        [checks.raw]
        use = "text.leaks"
        from = "rows"
        [checks.leaks]
        use = "text.leaks"
        from = "clean"
        """
    )
    result = forge_project.build()
    assert {"rows": "ran", "clean": "ran", "raw": "failed", "leaks": "ran"} == result.statuses
    said = result.stderr + json.dumps(result.document, ensure_ascii=False)
    assert "personal data: 1, required 0 (1 PHONE in rows.text, row 0: 13*********; 1 texts were read)" in said
    assert "13800001111" not in result.stderr + result.stdout
