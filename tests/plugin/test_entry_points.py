import sys
from importlib import metadata

import pytest

from forge.plugin.entry_points import entry_points


def offer(folder, info, text):
    (folder / info).mkdir(parents=True)
    (folder / info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {info.partition('-')[0]}\nVersion: 1\n")
    (folder / info / "entry_points.txt").write_text(text)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Give the only folder, besides the interpreter's, that distributions are installed in."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def from_the_library(group):
    return {(entry.name, entry.value) for entry in metadata.entry_points(group=group)}


@pytest.mark.parametrize("group", ["forge", "console_scripts", "pytest11", "none"])
def test_what_is_installed_here_is_what_the_library_finds(group):
    assert from_the_library(group) == set(entry_points(group))
    assert group == "none" or entry_points(group)


def test_comments_other_groups_and_spacing_are_read_as_the_library_reads_them(path):
    text = "; who\n[other]\nx = wrong\n\n[ forge ]\n# why\n a=mod.one \nb = mod.two:thing\n[forge.more]\nc = wrong\n"
    offer(path, "some_plugin-1.dist-info", text.replace("[ forge ]", "[forge]"))
    assert {("a", "mod.one"), ("b", "mod.two:thing")} <= set(entry_points("forge"))
    assert from_the_library("forge") == set(entry_points("forge"))


def test_the_first_of_two_installations_of_one_distribution_counts(path, monkeypatch):
    offer(path / "later", "Some.Plugin-1.dist-info", "[forge]\nold = mod\n")
    offer(path / "first", "some_plugin-2.dist-info", "[forge]\nnew = mod\n")
    monkeypatch.setattr(sys, "path", [str(path / "first"), str(path / "later")])
    assert [("new", "mod")] == entry_points("forge")
    assert from_the_library("forge") == {("new", "mod")}


def test_a_distribution_in_development_and_a_folder_that_is_not_there_are_no_trouble(path, monkeypatch):
    offer(path, "plain.egg-info", "[forge]\ndeveloped = mod\n")
    monkeypatch.setattr(sys, "path", [str(path / "gone"), str(path)])
    assert [("developed", "mod")] == entry_points("forge")


def test_in_an_archive_the_library_looks(path, monkeypatch):
    import zipfile

    with zipfile.ZipFile(path / "bundle.zip", "w") as bundle:
        bundle.writestr("zipped-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 1\n")
        bundle.writestr("zipped-1.dist-info/entry_points.txt", "[forge]\nzipped = mod\n")
    monkeypatch.setattr(sys, "path", [str(path / "bundle.zip")])
    assert [("zipped", "mod")] == entry_points("forge")
