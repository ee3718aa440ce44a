"""Where files of a step may be put in the user's tree, and what they never write over."""

import json
import shutil
from types import SimpleNamespace

import pytest

from forge.run.deliver import Delivery
from forge.store.base import Store
from forge.store.signatures import Signatures

MANIFEST = """
    [sources.one]
    use = "files.any"
    path = "one.txt"

    [exporters.out]
    use = "files.copy"
    from = "one"
    to = "{to}"
    """


@pytest.fixture
def project(forge_project):
    forge_project.write("one.txt", "one")
    forge_project.manifest(MANIFEST.replace("{to}", "made.txt"))
    assert 0 == forge_project.build().exit_code
    return forge_project


def test_another_destination_owns_nothing_that_lies_there(project):
    project.write("notes.txt", "precious")
    project.manifest(MANIFEST.replace("{to}", "notes.txt"))
    result = project.build()
    assert (1, "precious") == (result.exit_code, (project.root / "notes.txt").read_text())
    assert "is there already, and step `out` did not write it" in result.stderr


@pytest.mark.parametrize("place", ["forge.toml", "one.txt"])
def test_what_the_build_reads_is_never_written_over(project, place):
    project.manifest(MANIFEST.replace("{to}", place))
    before = (project.root / place).read_text()
    result = project.build()
    assert (1, before) == (result.exit_code, (project.root / place).read_text())
    assert "no step may write it" in result.stderr


def test_a_name_as_long_as_a_name_can_be_is_written(project):
    name = "n" * 251 + ".txt"
    project.manifest(MANIFEST.replace("{to}", name))
    assert (0, "one") == (project.build().exit_code, (project.root / name).read_text())


def test_a_delivery_that_is_interrupted_leaves_nothing_half_done(tmp_path, monkeypatch):
    made = tmp_path / "made"
    made.mkdir()
    (made / "file").write_text("whole")
    store = Store.open(tmp_path / "store")
    step = SimpleNamespace(name="out", destination="out/file")
    delivery = Delivery(step, tmp_path, store, Signatures.load(store, "any"))

    def interrupted(_, target):
        target.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        delivery.make(store.add_tree(made), None, print)
    assert [] == list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("path", [".", "store", "store/builds/*"])
def test_a_source_that_takes_in_the_store_is_refused(project, path):
    project.manifest(MANIFEST.replace("{to}", ".made.txt").replace('"one.txt"', f'"{path}"'))
    result = project.build()
    assert (2, True) == (result.exit_code, "takes in files of forge's own store" in result.stderr)


def test_a_lock_that_can_t_be_made_leaves_the_old_one(project):
    assert 0 == project.forge("lock", "forge.toml").exit_code
    before = (project.root / "forge.toml.lock").read_text()
    project.write("more/\udcff", "x")
    project.manifest(MANIFEST.replace("{to}", "made").replace('"one.txt"', '"more"'))
    assert 0 == project.build().exit_code
    assert 0 == project.forge("lock", "forge.toml").exit_code
    assert before != (project.root / "forge.toml.lock").read_text()
    assert 0 == project.build("--locked").exit_code


def test_a_store_that_can_t_be_made_is_named(project):
    result = project.build("--store", "/proc/nothing/here")
    assert (4, True) == (result.exit_code, "no store can be made at `/proc/nothing/here`" in result.stderr)


def test_a_plan_names_what_was_changed_or_taken_away_in_the_tree(project):
    assert "nothing to do" in project.forge("plan", "forge.toml").stdout
    for touch in (lambda path: path.unlink(), lambda path: path.write_text("two")):
        touch(project.root / "made.txt")
        said = project.forge("plan", "forge.toml").stdout
        assert "`out` would be put again where it was changed or is missing: made.txt" in said
        assert "nothing to do" not in said
        [raw, out] = json.loads(project.forge("plan", "forge.toml", "--json").stdout)["steps"]
        assert ([], ["made.txt"]) == (raw["writes_again"], out["writes_again"])
        assert 0 == project.build().exit_code
        assert "one" == (project.root / "made.txt").read_text()


def test_a_manifest_of_another_name_writes_over_what_the_same_step_made_and_over_nothing_else(project):
    project.manifest(MANIFEST.replace("{to}", "made"))
    assert 0 == project.build().exit_code
    (project.root / "forge.toml").rename(project.root / "renamed.toml")
    project.write("one.txt", "two")
    assert 0 == project.forge("build", "renamed.toml").exit_code
    assert "two" == (project.root / "made").read_text()
    (project.root / "renamed.toml").rename(project.root / "again.toml")
    project.write("one.txt", "three")
    project.write("made", "mine")
    refused = project.forge("build", "again.toml")
    assert (1, "mine") == (refused.exit_code, (project.root / "made").read_text()), refused.stderr
