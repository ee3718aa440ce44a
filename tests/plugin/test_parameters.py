from collections.abc import Mapping
from typing import Any, Literal

import attrs
import pytest
from attrs.validators import ge, in_, min_len

import forge
from forge.plugin.parameters import Complaint, describe, files_of, keyed, spec, structure


@attrs.frozen
class Inner:
    size: int = attrs.field(default=1, validator=ge(1))
    name: str = "inner"


@attrs.frozen
class Everything:
    """Have a parameter of each type."""

    flag: bool = False
    count: int = 0
    share: float = 0.5
    text: str = ""
    choice: Literal["a", "b", 3] = "a"
    maybe: int | None = None
    either: int | str = 0
    many: tuple[str, ...] = ()
    numbers: list[float] = attrs.Factory(list)
    table: dict[str, int] = attrs.Factory(dict)
    mapping: Mapping[str, float] = attrs.Factory(dict)
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = ()
    file: forge.File | None = None
    files: forge.Files | None = None
    workers: int = forge.setting(4)


@pytest.fixture
def make(tmp_path):
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "two.txt").write_text("two")

    def made(**values):
        instance, complaints = structure(Everything, values, tmp_path)
        assert [] == complaints
        return instance

    return made


@pytest.fixture
def refuse(tmp_path):
    def refused(cls=Everything, **values):
        instance, complaints = structure(cls, values, tmp_path)
        assert instance is None
        return [(c.message, c.hint) if c.hint else c.message for c in complaints]

    return refused


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("flag", True, True),
        ("count", 3, 3),
        ("share", 0.25, 0.25),
        ("share", 1, 1.0),
        ("text", "true", "true"),
        ("choice", 3, 3),
        ("maybe", 3, 3),
        ("either", "x", "x"),
        ("either", 3, 3),
        ("many", ["x", "y"], ("x", "y")),
        ("numbers", [1, 2.5], [1.0, 2.5]),
        ("table", {"a": 1}, {"a": 1}),
        ("mapping", {"a": 1}, {"a": 1.0}),
        ("inner", {"size": 3}, Inner(3)),
        ("inners", [{"size": 3}, {}], (Inner(3), Inner())),
    ],
)
def test_a_value_of_the_type_is_taken(make, name, value, expected):
    taken = getattr(make(**{name: value}), name)
    assert (expected, type(expected)) == (taken, type(taken))


def test_an_integer_for_a_number_becomes_a_number(make):
    assert "1.0" == repr(make(share=1).share)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("flag", "false", '`flag` must be true or false, got `"false"`'),
        ("flag", 0, "`flag` must be true or false, got `0`"),
        ("count", 1.9, "`count` must be an integer, got `1.9`"),
        ("count", 1.0, "`count` must be an integer, got `1.0`"),
        ("count", True, "`count` must be an integer, got `true`"),
        ("count", "3", '`count` must be an integer, got `"3"`'),
        ("share", "0.5", '`share` must be a number, got `"0.5"`'),
        ("share", True, "`share` must be a number, got `true`"),
        ("text", 3, "`text` must be a string, got `3`"),
        ("text", ["x"], '`text` must be a string, got `["x"]`'),
        ("choice", "c", '`choice` must be one of `"a"`, `"b"`, `3`, got `"c"`'),
        ("choice", "3", '`choice` must be one of `"a"`, `"b"`, `3`, got `"3"`'),
        ("maybe", "x", '`maybe` must be an integer, got `"x"`'),
        ("either", 1.5, "`either` must be integer | string, got `1.5`"),
        ("many", "x", '`many` must be a list, got `"x"`'),
        ("many", ["x", 3], "`many.1` must be a string, got `3`"),
        ("table", ["x"], '`table` must be a table, got `["x"]`'),
        ("table", {"a": "x"}, '`table.a` must be an integer, got `"x"`'),
        ("inner", 3, "`inner` must be a table, got `3`"),
        ("inner", {"size": "3"}, '`inner.size` must be an integer, got `"3"`'),
        ("inners", [{}, {"size": "3"}], '`inners.1.size` must be an integer, got `"3"`'),
        ("file", 3, "`file` must be the path of a file, got `3`"),
        ("files", ["one.txt"], '`files` must be a path or a glob, got `["one.txt"]`'),
    ],
)
def test_a_value_of_another_type_is_named_with_what_is_wanted(refuse, name, value, message):
    assert [message] == refuse(**{name: value})


def test_a_file_that_is_not_there_is_named_with_the_folder(refuse, tmp_path):
    assert [f"`file`: there is no file `no.txt` below `{tmp_path}`"] == refuse(file="no.txt")
    assert [f"`files`: no file matches `*.csv` below `{tmp_path}`"] == refuse(files="*.csv")


def test_a_misspelt_parameter_is_named_with_the_one_that_was_meant(refuse):
    assert [("there is no parameter `cuont`", "did you mean `count`?")] == refuse(cuont=3)
    assert [("there is no parameter `sise`", "did you mean `size`?")] == refuse(inner={"sise": 3})


def test_all_complaints_come_at_once(refuse):
    complaints = refuse(flag=1, count="x", inner={"size": "y"}, nothing=0)
    assert 4 == len(complaints)


@attrs.frozen
class Bounded:
    least: int = attrs.field(validator=ge(0))
    word: str = attrs.field(default="a", validator=[min_len(1), in_(["a", "b"])])

    def __attrs_post_init__(self):
        if self.least == 7:
            raise ValueError("`least` is unlucky")


def test_a_required_parameter_that_is_missing_is_named(refuse):
    assert ["the parameter `least` is missing"] == refuse(Bounded)


def test_validators_speak_forge_s_language_and_all_at_once(refuse, tmp_path):
    assert ["`least` must be >= 0, got `-1`", "Length of `word` must be >= 1, got `0`"] == refuse(
        Bounded, least=-1, word=""
    )
    _, complaints = structure(Bounded, {"least": -1}, tmp_path)
    assert [Complaint(("least",), "`least` must be >= 0, got `-1`")] == complaints


def test_what_a_class_refuses_as_a_whole_is_told(refuse):
    assert ["`least` is unlucky"] == refuse(Bounded, least=7)


def test_a_type_that_only_a_type_checker_knows_breaks_the_plugin_s_contract(tmp_path):
    @attrs.frozen
    class Hidden:
        path: "Nowhere"  # noqa: F821

    with pytest.raises(forge.ForgeError, match="name 'Nowhere' is not defined") as caught:
        structure(Hidden, {}, tmp_path)
    assert 3 == caught.value.exit_code


def test_a_cached_property_s_type_is_nobody_s_business(tmp_path):
    from functools import cached_property

    @attrs.frozen
    class Lazy:
        count: int

        @cached_property
        def frame(self) -> "polars.DataFrame":  # noqa: F821
            return None

    assert (Lazy(3), []) == structure(Lazy, {"count": 3}, tmp_path)


def test_defaults_spelled_out_are_keyed_as_nothing(make):
    spelled = make(flag=False, count=0, share=0.5, text="", choice="a", many=[], table={}, inner={"size": 1})
    assert {} == keyed(spelled) == keyed(make())


def test_a_setting_is_never_keyed_but_reaches_the_worker(make):
    assert {} == keyed(make(workers=9))
    assert {"workers": 9} == spec(make(workers=9))


def test_files_are_keyed_by_their_bytes_not_as_parameters(make):
    instance = make(file="one.txt", files="*.txt", count=3)
    assert {"count": 3} == keyed(instance)
    found = {name: [file.name for file in files] for name, files in files_of(instance).items()}
    assert {"file": ["file"], "files": ["one.txt", "two.txt"]} == found


def test_an_integer_and_the_same_number_are_keyed_alike(make):
    assert "{'share': 2.0}" == repr(keyed(make(share=2))) == repr(keyed(make(share=2.0)))


def test_all_parameters_survive_the_way_to_a_worker(make, tmp_path_factory):
    instance = make(
        flag=True,
        share=2,
        choice="b",
        maybe=3,
        either="x",
        many=["x"],
        numbers=[1],
        table={"a": 1},
        inner={"size": 3},
        inners=[{"name": "x"}],
        file="one.txt",
        files="*.txt",
        workers=1,
    )
    again, complaints = structure(Everything, spec(instance), tmp_path_factory.mktemp("elsewhere"))
    assert ([], instance) == (complaints, again)
    assert instance.file.path == again.file.path


def test_a_class_may_name_more_files(tmp_path):
    @attrs.frozen
    class Folder:
        folder: str

        def files(self):
            return forge.Files.match(self.folder, tmp_path)

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1")
    assert ["weights"] == [file.name for file in files_of(Folder("model"))["files()"]]


def test_parameters_are_described_in_the_words_of_toml():
    described = {name: (kind, default, is_keyed) for name, kind, default, is_keyed in describe(Everything)}
    assert ("boolean", "false", True) == described["flag"]
    assert ('"a" | "b" | 3', '"a"', True) == described["choice"]
    assert ("integer | none", "none", True) == described["maybe"]
    assert ("list of string", "[]", True) == described["many"]
    assert ("table of integer", "{}", True) == described["table"]
    assert ("file | none", "none", True) == described["file"]
    assert ("integer", "4", False) == described["workers"]
    assert ("least", "integer", "", True) == describe(Bounded)[0]


def test_anything_may_stand_where_the_class_says_any(tmp_path):
    @attrs.frozen
    class Free:
        require: dict[str, Any]

    assert {"a": [1, "x"]} == structure(Free, {"require": {"a": [1, "x"]}}, tmp_path)[0].require


def test_an_error_with_a_hint_keeps_it(tmp_path):
    @attrs.frozen
    class Picky:
        least: int

        def __attrs_post_init__(self):
            raise forge.StepError("`least` is no good", hint="try another")

    assert structure(Picky, {"least": 1}, tmp_path) == (None, [Complaint((), "`least` is no good", "try another")])
