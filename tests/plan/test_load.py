import pytest

from forge.core.errors import ManifestError, UsageError
from forge.plan.load import load

ONE = """
[sources.raw]
use = "toy.read"
path = "data/*.txt"
"""


def problems(path, *sets):
    with pytest.raises(ManifestError) as caught:
        load(path, sets)
    return [(p.line, p.message, p.hint) for p in caught.value.problems]


def values(manifest):
    return {step.name: dict(step.values) for step in manifest.steps}


def test_a_manifest_is_its_steps_with_their_places(write):
    manifest = load(write(ONE))
    (step,) = manifest.steps
    assert ("raw", "source", "toy.read", {"path": "data/*.txt"}) == (step.name, step.kind, step.use, step.values)
    assert (2, 4) == (step.place.line, step.place_of("path").line)
    assert ("forge", 0) == (manifest.name, manifest.seed)


def test_paths_are_relative_to_the_manifest_s_folder_or_the_one_above_manifests(write, tmp_path):
    assert tmp_path == load(write(ONE)).root
    assert tmp_path == load(write(ONE, "manifests/x.toml")).root
    assert tmp_path / "lake" == load(write('[forge]\nroot = "../lake"\n' + ONE, "manifests/y.toml")).root


def test_a_byte_order_mark_is_no_part_of_the_text(write):
    assert 2 == load(write(ONE, encoding="utf-8-sig")).steps[0].place.line


def test_text_that_is_not_toml_is_told_with_its_line(write):
    ((line, message, _),) = problems(write(ONE + "least = = 3\n"))
    assert (5, True) == (line, message.startswith("not TOML: Invalid value"))


def test_text_that_is_not_utf_8_is_told_with_the_byte(write):
    ((_, message, _),) = problems(write(ONE + "# 面\n", encoding="gbk"))
    assert message.endswith(f"is not UTF-8 text: byte {len(ONE) + 2}")


def test_an_extended_manifest_is_laid_under_table_by_table(write):
    write('[forge]\nname = "base"\nseed = 7\n[params]\na = 1\nb = 2\n' + ONE + '[transforms.keep]\nuse = "toy.keep"\nfrom = "raw"\nleast = 3\nshare = 0.5\n', "base.toml")  # fmt: skip  # noqa: E501
    manifest = load(write('[forge]\nextends = "base.toml"\n[params]\nb = 3\n[transforms.keep]\nleast = 5\n'))
    assert ("base", 7, {"a": 1, "b": 3}) == (manifest.name, manifest.seed, manifest.params)
    assert {"from": "raw", "least": 5, "share": 0.5} == values(manifest)["keep"]
    assert ["forge.toml", "base.toml"] == [path.name for path in manifest.files]


def test_places_are_in_the_file_that_a_value_stands_in(write):
    write(ONE + '[transforms.keep]\nuse = "toy.keep"\nfrom = "raw"\nleast = 3\n', "base.toml")
    keep = load(write('[forge]\nextends = "base.toml"\n[transforms.keep]\nshare = 5\n')).steps[1]
    places = {key: (keep.place_of(key).file.rpartition("/")[2], keep.place_of(key).line) for key in ("least", "share")}
    assert {"least": ("base.toml", 8), "share": ("forge.toml", 4)} == places


def test_a_chain_of_three_is_merged_from_the_far_end(write):
    write("[params]\na = 1\nb = 1\nc = 1\n" + ONE, "far.toml")
    write('[forge]\nextends = "far.toml"\n[params]\nb = 2\nc = 2\n', "middle.toml")
    assert {"a": 1, "b": 2, "c": 3} == load(write('[forge]\nextends = "middle.toml"\n[params]\nc = 3\n')).params


def test_a_step_that_changes_its_use_starts_afresh(write):
    write(ONE, "base.toml")
    manifest = load(write('[forge]\nextends = "base.toml"\n[sources.raw]\nuse = "files.any"\n'))
    assert {"raw": {}} == values(manifest)


def test_a_manifest_that_extends_itself_is_told(write):
    path = write('[forge]\nextends = "other.toml"\n' + ONE)
    write('[forge]\nextends = "forge.toml"\n', "other.toml")
    ((_, message, _),) = problems(path)
    assert message.endswith("forge.toml` extends itself")


def test_an_extended_manifest_that_is_not_there_is_told(write):
    ((_, message, _),) = problems(write('[forge]\nextends = "base.toml"\n'))
    assert message.endswith("base.toml` that is extended does not exist")


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("[source.raw]\nuse = 'a.b'\n", 1, "there is no table `[source]`", "did you mean `sources`?"),
        ("[forge]\nsede = 1\n" + ONE, 2, "`[forge]` has no key `sede`", "did you mean `seed`?"),
        ("[forge]\nseed = '1'\n" + ONE, 2, "`seed` must be an integer, got `'1'`", None),
        ("[forge]\nseed = true\n" + ONE, 2, "`seed` must be an integer, got `True`", None),
        ("params = 3\n" + ONE, 1, "`params` must be a table, got `3`", None),
        ("forge = 3\n" + ONE, 1, "`forge` must be a table", None),
        ("[sources]\nraw = 3\n", 2, "step `raw` must be a table", None),
        ("[sources.raw]\npath = 'x'\n", 1, '`use = "plugin.step-type"` is missing', None),
        ("[sources.raw]\nuse = 'read'\n", 2, "`use = \"plugin.step-type\"` must be of that form, got `'read'`", None),
        ("[sources.'a b']\nuse = 'a.b'\n", 1, "`a b` is not a name for a step: letters, digits, `_` and `-`", None),
        (ONE + "[transforms.raw]\nuse = 'a.b'\n", 5, "step `raw` stands in `[sources]` and in `[transforms]`", None),
        ("", None, "the manifest has no steps", None),
    ],
)
def test_a_problem_is_told_with_its_line_and_what_to_write(write, text, line, message, hint):
    assert [(line, message, hint)] == problems(write(text))


def test_all_problems_of_the_text_come_at_once(write):
    text = "[forge]\nnaem = 'x'\n[source.x]\n[sources.raw]\nuse = 3\n[transforms.a]\nuse = 'b.c'\nx = '${nix}'\n"
    assert [2, 3, 5, 8] == [line for line, _, _ in problems(write(text))]


def test_no_manifest_is_told_with_the_one_that_was_meant(write, tmp_path):
    write(ONE)
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "froge.toml")
    assert f"did you mean `{tmp_path / 'forge.toml'}`?" == caught.value.hint


# ---------------------------------------------------------------- parameters

FILLED = """
[params]
data = "lake"
files = "${data}/*.txt"
least = 3
share = 0.5
names = ["a", "${data}"]
[sources.raw]
use = "toy.read"
path = "${files}"
least = "${least}"
share = "${share}"
names = "${names}"
text = "${least} of ${share}"
plain = "$${least} $${nothing} $least"
table = { inner = "${least}", list = ["${data}"] }
"""


def test_a_reference_alone_keeps_its_type_and_one_in_a_text_becomes_text(write):
    assert {
        "path": "lake/*.txt",
        "least": 3,
        "share": 0.5,
        "names": ["a", "lake"],
        "text": "3 of 0.5",
        "plain": "${least} ${nothing} $least",
        "table": {"inner": 3, "list": ["lake"]},
    } == values(load(write(FILLED)))["raw"]


def test_a_parameter_that_is_not_there_is_told_at_its_line(write):
    assert [(12, "there is no parameter `leest`", "did you mean `least`?")] == problems(
        write(FILLED.replace('share = "${share}"', 'share = "${leest}"'))
    )
    assert [(5, "there is no parameter `x`", "declare it under `[params]`")] == problems(write(ONE + "a = '${x}'\n"))


def test_a_parameter_that_refers_to_itself_is_told(write):
    found = problems(write("[params]\na = '${b}'\nb = 'x ${a}'\n" + ONE))
    assert [(2, "parameter `a` refers to itself", None)] == found


def test_set_changes_parameters_before_they_are_filled_in(write):
    raw = values(load(write(FILLED), ["data=elsewhere", "least=5"]))["raw"]
    assert ("elsewhere/*.txt", 5, "5 of 0.5") == (raw["path"], raw["least"], raw["text"])


@pytest.mark.parametrize(
    ("item", "key", "expected"),
    [
        ("raw.least=7", "least", 7),
        ("raw.share=1e-4", "share", 1e-4),
        ("raw.flag=true", "flag", True),
        ("raw.names=['x', 'y']", "names", ["x", "y"]),
        ("raw.word=plain text", "word", "plain text"),
        ("raw.word=a=b", "word", "a=b"),
        ("raw.text=5", "text", "5"),
        ('raw.text="5"', "text", "5"),
        ("raw.table.inner=9", "table", {"inner": 9, "list": ["lake"]}),
        ("sources.raw.least=8", "least", 8),
        ("raw.word=", "word", ""),
        ("raw.word=${data}", "word", "lake"),
    ],
)
def test_set_changes_a_step_s_parameter(write, item, key, expected):
    assert expected == values(load(write(FILLED), [item]))["raw"][key]


@pytest.mark.parametrize(
    ("item", "message", "hint"),
    [
        ("data", "`--set data` is not of the form key=value", None),
        ("=3", "`--set =3` is not of the form key=value", None),
        ("dat=x", "`--set dat=x`: there is no parameter `dat` in `[params]`", "did you mean `data`?"),
        ("rwa.least=3", "`--set rwa.least=3`: there is no step `rwa`", "did you mean `raw`?"),
        ("raw.least.deep=3", "`--set raw.least.deep=3`: `least` is not a table", None),
    ],
)
def test_a_set_that_fits_nothing_is_told(write, item, message, hint):
    with pytest.raises(UsageError) as caught:
        load(write(FILLED), [item])
    assert (message, hint) == (caught.value.message, caught.value.hint)


def test_the_place_of_a_value_that_was_set_is_the_command_line(write):
    step = load(write(FILLED), ["raw.least=7"]).steps[0]
    assert ("--set raw.least", None) == (step.place_of("least").file, step.place_of("least").line)
