"""A person's file is written whole, or stays as it was."""

import os

import pytest

from forge.cli.whole import whole


def half(path):
    path.write_text("ne")
    raise OSError("full")


def test_what_is_there_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "page.html"
    target.write_text("old")
    with pytest.raises(OSError, match="full"), whole(target) as fresh:
        half(fresh)
    assert (["page.html"], "old") == (os.listdir(tmp_path), target.read_text())
    with whole(target) as fresh:
        fresh.write_text("new")
        assert (".html", "old") == (fresh.suffix, target.read_text())
    assert (["page.html"], "new") == (os.listdir(tmp_path), target.read_text())


def test_folders_are_made_and_links_stay_links(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "deep/real")
    with whole(tmp_path / "link") as fresh:
        fresh.write_text("new")
    assert (True, "new") == ((tmp_path / "link").is_symlink(), (tmp_path / "deep/real").read_text())


def test_a_pipe_is_written_to_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with whole(tmp_path / "pipe") as fresh:
        assert tmp_path / "pipe" == fresh
