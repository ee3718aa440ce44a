import pytest

from forge.core.artifact import Member, Tree
from forge.core.errors import StepError
from forge.plan.explain import differences, reason_of
from forge.plan.keys import Keys
from forge.store.base import Store
from forge.store.signatures import Signatures

MANIFEST = """
[sources.raw]
use = "toy.read"
path = "data/*.txt"

[transforms.keep]
use = "toy.keep"
from = "raw"
"""
JOIN = MANIFEST + '[transforms.join]\nuse = "toy.join"\nfrom = { a = "raw", b = "keep" }\n'
TREES = {"raw": Tree({"rows": Member("1" * 64, 3)}), "keep": Tree({"rows": Member("2" * 64, 3)})}


@pytest.fixture
def action(plan, tmp_path):
    def of(step, text=MANIFEST, *sets, trees=TREES):
        graph = plan(text, *sets)
        keys = Keys(graph, Signatures(Store.open(tmp_path / "store"), "test"))
        return keys.action(graph.steps[step], trees)

    return of


@pytest.mark.parametrize(
    "rest",
    [
        'least = 1\nshare = 1.0\nword = ""\nwords = []\nflag = false\n',
        "share = 1\n",
        "flag = false\nleast = 1\n",
        "workers = 9\n",
        "resources = { cpus = 2, gpus = 1, time = '6h' }\n",
        "[transforms.keep.table]\n",
    ],
    ids=["defaults", "1 for 1.0", "order", "setting", "resources", "empty table"],
)
def test_what_makes_no_difference_is_not_in_the_key(action, rest):
    assert action("keep").key == action("keep", MANIFEST + rest).key


def test_the_order_of_parameters_and_how_a_number_is_written_make_no_difference(action):
    one = action("keep", MANIFEST + "share = 2\nleast = 3\n[transforms.keep.table]\na = 'x'\nb = 'y'\n")
    two = action("keep", MANIFEST + "least = 3\nshare = 2.0\n[transforms.keep.table]\nb = 'y'\na = 'x'\n")
    assert one.key == two.key


@pytest.mark.parametrize(
    "rest",
    ["least = 2\n", "share = 0.5\n", 'word = "x"\n', 'words = ["x"]\n', "flag = true\n", "table = { a = 'x' }\n"],
)
def test_every_other_parameter_is_in_the_key(action, rest):
    assert action("keep").key != action("keep", MANIFEST + rest).key


def test_the_order_of_a_list_is_in_the_key(action):
    assert (
        action("keep", MANIFEST + 'words = ["a", "b"]\n').key != action("keep", MANIFEST + 'words = ["b", "a"]\n').key
    )


def test_a_renamed_step_keeps_its_key(action):
    assert action("keep").key == action("kept", MANIFEST.replace("transforms.keep", "transforms.kept")).key


def test_a_renamed_input_keeps_the_key_of_rows_to_rows(action):
    renamed = MANIFEST.replace("sources.raw", "sources.rwo").replace('"raw"', '"rwo"')
    assert action("keep").key == action("keep", renamed, trees={"rwo": TREES["raw"]}).key


def test_a_renamed_step_among_several_keeps_the_key_of_rows_to_rows(action):
    two = MANIFEST + '[transforms.two]\nuse = "toy.keep"\nfrom = ["raw", "keep"]\n'
    renamed = two.replace("transforms.keep", "transforms.kept").replace('"keep"', '"kept"')
    trees = TREES | {"kept": TREES["keep"]}
    assert action("two", two).key == action("two", renamed, trees=trees).key
    assert action("two", two).key != action("two", two.replace('["raw", "keep"]', '["keep", "raw"]')).key


def test_the_names_of_inputs_are_in_the_key_of_a_step_that_sees_them(action):
    assert action("join", JOIN).key != action("join", JOIN.replace("a = ", "c = ")).key


def test_a_moved_data_folder_keeps_the_key(action, tmp_path):
    before = action("raw").key
    (tmp_path / "lake" / "deep").mkdir(parents=True)
    (tmp_path / "lake" / "deep" / "a.txt").write_text("a")
    assert before == action("raw", MANIFEST, "raw.path=lake/deep/*.txt").key
    assert before == action("raw", MANIFEST, f"raw.path={tmp_path}/lake/deep").key


def test_a_changed_a_new_and_a_renamed_file_move_the_key(action, tmp_path):
    keys = [action("raw").key]
    (tmp_path / "data" / "a.txt").write_text("b")
    keys.append(action("raw").key)
    (tmp_path / "data" / "b.txt").write_text("b")
    keys.append(action("raw").key)
    (tmp_path / "data" / "b.txt").rename(tmp_path / "data" / "c.txt")
    keys.append(action("raw").key)
    assert 4 == len(set(keys))


def test_another_input_moves_the_key(action):
    assert action("keep").key != action("keep", trees={"raw": TREES["keep"]}).key


def test_a_part_that_was_not_made_is_told_with_those_that_were(action):
    text = MANIFEST + '[transforms.halves]\nuse = "toy.halves"\nfrom = "keep"\n[transforms.x]\nuse = "toy.keep"\nfrom = "halves.late"\n'  # fmt: skip  # noqa: E501
    trees = {"halves": Tree({"early/rows": Member("1" * 64, 3)})}
    with pytest.raises(StepError) as caught:
        action("x", text, trees=trees)
    assert ("step `halves` has no part `late`, which `x` wants", "its parts are `early`") == (
        caught.value.message,
        caught.value.hint,
    )


@pytest.mark.parametrize(
    ("change", "phrases"),
    [
        ("least = 3\n", ["params.least: default → 3"]),
        ("least = 3\nword = 'x'\n", ["params.least: default → 3", "params.word: default → x"]),
    ],
)
def test_what_moved_is_said_in_words(action, change, phrases):
    new, old = action("keep", MANIFEST + change), action("keep")
    assert phrases == differences(new.to_json(), old.to_json())


def test_every_part_that_moved_is_said(action):
    old = action("raw").to_json()
    new = old | {
        "version": "2",
        "params": {"least": 3},
        "files": {"path": "0" * 64},
        "inputs": [],
        "code": {"toy.steps": "0"},
        "facts": {"torch": "2.9"},
    }
    old = old | {"params": {"least": 4}, "inputs": [], "code": {"toy.steps": "1"}, "facts": {"torch": "2.8"}}
    assert [
        "version: 1 → 2",
        "params.least: 4 → 3",
        "file path changed",
        "code toy.steps changed",
        "fact torch: 2.8 → 2.9",
    ] == differences(new, old)


def test_an_action_without_a_record_was_never_built(action):
    assert "never built" == reason_of(action("keep"), None)
