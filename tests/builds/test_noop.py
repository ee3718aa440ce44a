"""A build of hits: free, and told as such."""

import json
import time

import pytest

from forge.plugin.table import TABLE
from forge.testing import HEAVY

from .conftest import TOY, toy_project

ALL = ["raw", "one", "other", "two", "both"]


@pytest.fixture(scope="module")
def built(shared_toy):
    first = shared_toy.build()
    assert (0, dict.fromkeys(ALL, "ran")) == (first.exit_code, dict(sorted(first.statuses.items(), key=_by_order)))
    return shared_toy


def _by_order(item):
    return ALL.index(item[0])


def test_a_second_build_is_all_hits_and_runs_nothing(built):
    built.runs()
    again = built.build()
    assert (0, {"hit"}, []) == (again.exit_code, set(again.statuses.values()), built.runs())


def imported(toy):
    said = toy.build(PYTHONPROFILEIMPORTTIME="1").stderr.splitlines()
    return {line.rpartition("|")[2].strip() for line in said if line.startswith("import time:")}


def test_a_build_of_hits_imports_no_heavy_module(built):
    names = imported(built)
    assert "forge" in names
    assert set() == {name.partition(".")[0] for name in names} & HEAVY


def test_the_short_way_imports_forge_s_first_modules_alone(settled):
    settled.build(PYTHONPROFILEIMPORTTIME="1")
    names = imported(settled)
    assert {"forge", "forge.cli", "forge.cli.start", "forge.cli.snapshot"} == {n for n in names if "forge" in n}
    assert set() == names & {"attrs", "click", "enum", "json", "pluggy", "re", "rich", "signal", "tomllib", "typing"}


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    """Give a project that each change leaves changed."""
    toy = toy_project(tmp_path_factory.mktemp("changing"))
    toy.write("words/a.txt", "a\nbee\n")
    toy.manifest(BASE, "base.toml")
    toy.manifest('[forge]\nextends = "base.toml"\n')
    assert 0 == toy.build().exit_code
    return toy


@pytest.fixture
def settled(changing):
    """Give a project that was built again after a while, so that the next build may take every short cut."""
    time.sleep(0.1)
    last = changing.build()
    assert (0, {"words": "hit", "band": "hit"}) == (last.exit_code, last.statuses)
    return changing


BASE = """
    [sources.words]
    use = "toy.words"
    path = "words"

    [transforms.band]
    use = "toy.band"
    from = "words"
    least = 2
    """


def change_file(toy):
    toy.write("words/a.txt", "a\ncee\n")


def add_file(toy):
    toy.write("words/sub/b.txt", "cee\n")


def remove_file(toy):
    toy.write("words/b.txt", "bee\n")
    toy.build()
    (toy.root / "words" / "b.txt").unlink()
    (toy.root / "words" / "a.txt").write_text("a\ndee\n")


def change_base(toy):
    toy.manifest(BASE.replace("least = 2", "least = 3"), "base.toml")


def change_manifest(toy):
    toy.manifest('[forge]\nextends = "base.toml"\n[transforms.band]\nmost = 9\n')


def change_code(toy):
    toy.plugin("toy", TOY.replace('pl.col("length") > self.most', 'pl.col("length") >= self.most'))


def add_data_beside_code(toy):
    toy.write("plugins/list.txt", "a\n")


def lose_an_object(toy):
    digest = toy.build().steps["band"].outputs[TABLE]
    (toy.store / "objects" / digest[:2] / digest[2:]).unlink()


def lose_a_record(toy):
    key = toy.build().steps["band"].key
    (toy.store / "actions" / key[:2] / f"{key[2:]}.json").unlink()


CHANGES = (
    change_file,
    add_file,
    remove_file,
    change_base,
    change_manifest,
    change_code,
    add_data_beside_code,
    lose_an_object,
    lose_a_record,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_no_short_cut_overlooks_a_change(settled, change):
    change(settled)
    result = settled.build()
    assert (0, "ran") == (result.exit_code, result.statuses["band"])


def test_the_json_document_has_the_promised_shape(built):
    document = built.build().document
    assert {"manifest", "name", "ok", "exit_code", "seconds", "finished", "steps"} == document.keys()
    assert ("forge.toml", "forge", True, 0) == tuple(document[k] for k in ("manifest", "name", "ok", "exit_code"))
    entry = {each["name"]: each for each in document["steps"]}["one"]
    assert {
        "name", "kind", "use", "status", "key", "tree", "outputs", "seconds", "rows_in", "rows_out", "drops", "size"
    } == entry.keys()  # fmt: skip
    assert ("transform", "toy.write", "hit", ["text"]) == (
        entry["kind"],
        entry["use"],
        entry["status"],
        list(entry["outputs"]),
    )


def test_a_build_says_what_became_of_each_step(built):
    said = built.forge("build", "forge.toml").stdout
    assert all(name in said for name in ALL)
    assert "5 hit in" in said


def test_a_plan_of_hits_has_nothing_to_do(built):
    assert "nothing to do: all 5 steps are hits" in built.forge("plan", "forge.toml").stdout


def test_explain_says_that_a_step_is_a_hit(built):
    key = built.build().steps["one"].key
    assert f"`one` is a hit: key {key}\n" == built.forge("explain", "forge.toml", "one").stdout


def test_the_store_is_found_whole_and_measured(built):
    verified = built.forge("store", "verify")
    assert (0, "5 records, no fault\n") == (verified.exit_code, verified.stdout)
    measured = built.forge("store", "size")
    assert (0, True) == (measured.exit_code, "objects" in measured.stdout)


def test_a_named_step_is_built_with_all_it_needs_and_no_more(built):
    assert ["raw", "one", "two"] == list(built.build("two").steps)


def test_a_moved_project_is_all_hits_with_its_store(built, tmp_path):
    for path in ("forge.toml", "raw.txt"):
        (tmp_path / path).write_bytes((built.root / path).read_bytes())
    moved = built.forge("build", str(tmp_path / "forge.toml"), "--store", "store")
    assert (0, True) == (moved.exit_code, "5 hit in" in moved.stdout)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_short_way_says_what_the_full_way_says(settled, form):
    def build():
        done = settled.forge("build", "forge.toml", *form)
        lines = [line for line in done.stdout.splitlines() if " in 0." not in line and '"seconds"' not in line]
        return done.exit_code, [line for line in lines if '"finished"' not in line]

    build()
    snapshot = max((settled.store / "builds").glob("*.snapshot"), key=lambda path: path.stat().st_mtime_ns)
    short = build()
    taken = snapshot.stat().st_mtime_ns
    snapshot.unlink()
    assert build() == short
    assert short[1]
    assert snapshot.stat().st_mtime_ns > taken


def test_a_build_answers_in_json_from_what_another_form_left(settled):
    def snapshots():
        return {p: p.stat().st_ino for p in (settled.store / "builds").glob("*.snapshot")}

    settled.forge("build", "forge.toml")
    taken = snapshots()
    assert '"status": "hit"' in settled.forge("build", "forge.toml", "--json").stdout
    assert taken == snapshots() != {}


def test_no_short_cut_follows_a_new_link_out_of_the_data(toy, tmp_path_factory):
    toy.write("words/a.txt", "a\nbee\n")
    toy.manifest(BASE)
    assert [0, 0] == [toy.build().exit_code for _ in range(2)]
    secret = tmp_path_factory.mktemp("outside") / "secret.txt"
    secret.write_text("secret\n")
    (toy.root / "words/b.txt").symlink_to(secret)
    time.sleep(0.1)
    result = toy.forge("build", "forge.toml", "--jobs", "1")
    assert (2, True) == (result.exit_code, "`b.txt` is a link that leads out of `words`" in result.stderr), (
        result.stderr
    )


def source(use, **values):
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(["[sources.w]", f'use = "{use}"', *lines])


def outside(toy):
    folder = toy.root.with_name(f"{toy.root.name}-outside")
    folder.mkdir(exist_ok=True)
    toy.environment["FORGE_ALLOW"] = str(folder)
    return folder


def link_out(toy):
    (outside(toy) / "a.txt").write_text("a\n")
    toy.write("data/a.txt", "b\n")
    (toy.root / "data/sub").symlink_to(outside(toy))
    return source("files.any", path="data/**/*.txt")


def link_deeper(toy):
    toy.write("data/deep/er/a.txt", "a\n")
    (toy.root / "data/sub").symlink_to("deep/er")
    return source("files.any", path="data/*/*.txt")


def link_to_nothing(toy):
    toy.write("data/a.txt", "a\n")
    toy.write("data/.store/z", "z")
    (toy.root / "data/b.txt").symlink_to(".store/b")
    return source("files.any", path="data/*.txt")


def link_in_a_circle(toy):
    toy.write("data/low/a.txt", "a\n")
    (toy.root / "data/low/round").symlink_to("..")
    return source("files.any", path="data/*/*.txt")


def set_in_a_folder(toy):
    toy.write("d/dataset_info.json", '{"s": {"file_name": "set"}}')
    toy.write("d/set/1.json", '[{"instruction": "a", "output": "b"}]')
    return source("llamafactory.dataset", info="d/dataset_info.json", dataset=["s"])


def set_with_a_link_to_nothing(toy):
    (toy.root / "d/set").mkdir(parents=True)
    (toy.root / "d/set/2.json").symlink_to("../other.json")
    return set_in_a_folder(toy)


def cached_model(toy):
    toy.environment["HF_HOME"] = str(toy.root / "hf")
    for revision in ("a" * 40, "b" * 40):
        folder = f"hf/hub/models--x--y/snapshots/{revision}"
        toy.write(f"{folder}/config.json", json.dumps({"architectures": [revision[:3]]}))
        for name in ("tokenizer.json", "tokenizer_config.json", "model.safetensors"):
            toy.write(f"{folder}/{name}", "{}")
    toy.write("hf/hub/models--x--y/refs/main", "a" * 40)
    return source("model.local", id="x/y")


LOUD = '''
import os
from pathlib import Path

import attrs

import forge


@attrs.frozen
class Loud:
    """Say what is in the folder `lexicon`, and how."""

    asks: bool = True

    def facts(self):
        return {"mode": os.environ["LOUD_MODE"]}

    def fetch(self, out, run):
        words = sorted(p.name for p in (Path(__file__).parent / "lexicon").rglob("*.txt"))
        (out / "words").write_text(" ".join(words))


@attrs.frozen
class Named(Loud):
    """Name a file by a variable."""

    facts = None

    def files(self):
        return [forge.File("name", Path(os.environ["LOUD_FILE"]))]


@attrs.frozen
class Quiet(Loud):
    """Ask for nothing."""

    facts = None


@forge.hookimpl
def forge_register(register):
    register.source("loud", Loud, version="1")
    register.source("named", Named, version="1")
    register.source("quiet", Quiet, version="1")
'''


def loud(kind):
    def make(toy):
        toy.plugin("loud", LOUD)
        toy.environment |= {"LOUD_MODE": "low", "LOUD_FILE": str(toy.root / "one.txt")}
        toy.write("one.txt", "1")
        toy.write("two.txt", "2")
        (toy.root / "plugins/lexicon/zh").mkdir(parents=True)
        return source(f"loud.{kind}")

    return make


UNSEEN = {
    "a file behind a link": (link_out, lambda toy: (outside(toy) / "c.txt").write_text("c\n")),
    "a file where a link leads deeper": (link_deeper, lambda toy: toy.write("data/deep/er/b.txt", "b\n")),
    "a link that leads somewhere at last": (link_to_nothing, lambda toy: toy.write("data/.store/b", "b\n")),
    "a file in a circle": (link_in_a_circle, lambda toy: toy.write("data/low/b.txt", "b\n")),
    "a file of a set": (
        set_in_a_folder,
        lambda toy: toy.write("d/set/2.json", '[{"instruction": "c", "output": "d"}]'),
    ),
    "a fetched file of a set": (
        set_with_a_link_to_nothing,
        lambda toy: toy.write("d/other.json", '[{"instruction": "c", "output": "d"}]'),
    ),
    "another revision": (cached_model, lambda toy: toy.write("hf/hub/models--x--y/refs/main", "b" * 40)),
    "a fact": (loud("loud"), lambda toy: toy.environment.update(LOUD_MODE="high")),
    "a file named by a variable": (
        loud("named"),
        lambda toy: toy.environment.update(LOUD_FILE=str(toy.root / "two.txt")),
    ),
    "data in a plugin's empty folder": (loud("quiet"), lambda toy: toy.write("plugins/lexicon/zh/w.txt", "w")),
}


@pytest.mark.parametrize(("make", "change"), UNSEEN.values(), ids=UNSEEN)
def test_what_a_plan_would_run_a_build_runs(toy, make, change):
    toy.manifest(make(toy))
    for _ in range(3):
        first = toy.build()
        assert 0 == first.exit_code, first.stderr
        time.sleep(0.1)
    change(toy)
    [planned] = json.loads(toy.forge("plan", "forge.toml", "--json").stdout)["steps"]
    assert ("run", {"w": "ran"}) == (planned["will"], toy.build().statuses)


KEPT = [link_out, link_deeper, link_to_nothing, link_in_a_circle, set_in_a_folder, cached_model, loud("quiet")]


@pytest.mark.parametrize("make", KEPT, ids=lambda make: make.__name__)
def test_what_is_looked_at_costs_no_short_cut(toy, make):
    toy.manifest(make(toy))
    for _ in range(3):
        imported(toy)
        time.sleep(0.1)
    assert "attrs" not in imported(toy)


def test_no_value_of_the_environment_is_written(toy):
    toy.write("words/a.txt", "a\nbee\n")
    toy.manifest(BASE)
    secrets = {"HF_ENDPOINT": "https://u:s3cr3t@hub", "FORGE_PASSPHRASE": "s3cr3t", "FORGE_CREDENTIALS": "s3cr3t"}
    for _ in range(3):
        assert 0 == toy.build(**secrets).exit_code
        time.sleep(0.1)
    [snapshot] = (toy.store / "builds").glob("*.snapshot")
    assert not [path for path in toy.store.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
    taken = snapshot.stat().st_ino
    toy.build(**secrets)
    assert taken == snapshot.stat().st_ino
    toy.build(**secrets | {"FORGE_PASSPHRASE": "other"})
    assert taken != snapshot.stat().st_ino
