import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from forge.core.digest import canonical, digest_bytes, digest_value
from forge.core.errors import StepError, StoreError
from forge.store.base import Store
from forge.store.disk import remove
from forge.store.folders import folder_of


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store")


@pytest.fixture
def folder(store):
    """Give a folder with files, staged as a step leaves them."""
    with store.staging() as staging:
        (staging / "sub").mkdir()
        (staging / "a.txt").write_text("a")
        (staging / "sub" / "b.sh").write_text("b")
        (staging / "sub" / "b.sh").chmod(0o755)
        yield staging


def test_a_published_tree_is_found_whole(store, folder):
    tree = store.add_tree(folder)
    assert ["a.txt", "sub/b.sh"] == sorted(tree.members)
    assert [False, True] == [tree.members[n].executable for n in ("a.txt", "sub/b.sh")]
    assert (tree, tree) == (store.tree(tree.digest), store.complete(tree.digest))


def test_objects_are_read_only_and_named_by_their_bytes(store, folder):
    member = store.add_tree(folder).members["a.txt"]
    path = store.object_path(digest_bytes(b"a"))
    assert ("a", 0o444, 1) == (path.read_text(), path.stat().st_mode & 0o777, member.size)


def test_equal_files_are_kept_once(store, folder):
    (folder / "again.txt").write_text("a")
    store.add_tree(folder)
    assert 2 == len([p for p in (store.root / "objects").rglob("*") if p.is_file()])


def test_a_checkout_holds_the_files_and_leaves_the_store_alone(store, folder, tmp_path):
    tree = store.add_tree(folder)
    store.checkout(tree, tmp_path / "out")
    assert ["a", "b"] == [(tmp_path / "out" / name).read_text() for name in sorted(tree.members)]
    remove(tmp_path / "out")
    assert tree == store.complete(tree.digest)


def test_an_export_is_the_user_s_own_to_write(store, folder, tmp_path):
    store.export(store.add_tree(folder), tmp_path / "out")
    modes = [(tmp_path / "out" / name).stat().st_mode & 0o777 for name in ("a.txt", "sub/b.sh")]
    assert [0o644, 0o755] == modes


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_is_no_member(store, folder, link):
    (folder / "link").symlink_to("a.txt" if link == "file" else "sub")
    with pytest.raises(StepError, match="`link` is"):
        store.add_tree(folder)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as each:
        each.bind(str(path))


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to("a.txt"),
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("/etc"),
        os.mkfifo,
        _socket,
        lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3)),
    ],
    ids=["broken link", "link inside", "link outside", "link to a folder", "pipe", "socket", "device"],
)
def test_what_is_no_plain_file_is_refused_by_name(store, folder, make, monkeypatch):
    monkeypatch.chdir(folder)  # a socket's path is short
    try:
        make(Path("odd"))
    except PermissionError:
        pytest.skip("only root makes devices")
    with pytest.raises(StepError, match="`odd` is"):
        store.add_tree(folder)
    assert [] == list((store.root / "trees").rglob("*.json"))


def test_a_link_in_the_place_of_the_folder_is_refused(store, folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(StepError, match="a link in the place of its folder"):
        store.add_tree(tmp_path / "link")


def test_a_file_whose_name_leads_elsewhere_on_another_machine_is_refused(store, folder):
    (folder / "C:\\x").write_text("x")
    with pytest.raises(StepError, match="a backslash"):
        store.add_tree(folder)


def test_a_tree_with_a_planted_name_is_neither_read_nor_complete(store):
    member = ["1" * 64, 3]
    digest = digest_value("tree", {"../../planted": member})
    store.write(store.tree_path(digest), canonical({"../../planted": member}))
    with pytest.raises(StoreError, match="is refused"):
        store.tree(digest)
    assert None is store.complete(digest)


def test_a_damaged_object_is_set_aside_and_reported(store, folder, tmp_path):
    tree = store.add_tree(folder)
    path = store.object_path(tree.members["a.txt"].digest)
    path.chmod(0o644)
    path.write_text("x")
    with pytest.raises(StoreError, match="is damaged or missing in the store"):
        store.checkout(tree, tmp_path / "out")
    assert not path.exists()
    assert ["x"] == [p.read_text() for p in (store.root / "staging").glob("damaged-*")]
    assert store.complete(tree.digest) is None


def test_an_object_of_another_size_is_not_complete(store, folder):
    tree = store.add_tree(folder)
    path = store.object_path(tree.members["a.txt"].digest)
    path.chmod(0o644)
    path.write_text("")
    assert store.complete(tree.digest) is None


def test_adding_heals_an_object_that_was_cut_off(store, folder):
    tree = store.add_tree(folder)
    path = store.object_path(tree.members["a.txt"].digest)
    path.chmod(0o644)
    path.write_text("")
    with store.staging() as fresh:
        (fresh / "a.txt").write_text("a")
        store.add_file(fresh / "a.txt")
    assert "a" == path.read_text()


def test_an_artifact_lies_there_as_a_folder_of_the_very_objects(store, folder):
    tree = store.add_tree(folder)
    place = folder_of(store, tree)
    for name, member in tree.members.items():
        assert (place / name).samefile(store.object_path(member.digest))


def test_a_part_of_an_artifact_is_the_folder_of_its_name(store):
    with store.staging() as staging:
        (staging / "out" / "train").mkdir(parents=True)
        (staging / "out" / "train" / "a.txt").write_text("a")
        tree = store.add_tree(staging / "out")
    assert ["a.txt"] == [path.name for path in folder_of(store, tree, "train").iterdir()]


@pytest.mark.parametrize("harm", ["gone", "more", "other", "cut"])
def test_an_artifact_s_folder_that_was_tampered_with_is_made_anew(store, folder, harm):
    tree = store.add_tree(folder)
    place = folder_of(store, tree)
    place.chmod(0o755)
    if harm == "gone":
        (place / "a.txt").unlink()
    elif harm == "more":
        (place / "b.txt").write_text("b")
    else:
        (place / "a.txt").unlink()
        (place / "a.txt").write_text("b" if harm == "other" else "")
    again = folder_of(store, tree)
    assert tree.members.keys() == {p.relative_to(again).as_posix() for p in again.rglob("*") if p.is_file()}
    assert "a" == (again / "a.txt").read_text()


def test_a_damaged_object_is_not_served_through_its_artifact(store, folder):
    tree = store.add_tree(folder)
    path = store.object_path(tree.members["a.txt"].digest)
    path.chmod(0o644)
    path.write_text("b")
    with pytest.raises(StoreError, match="is damaged or missing"):
        folder_of(store, tree)
    assert not path.exists()


def test_a_file_system_without_hard_links_gets_links_that_survive_a_move(store, folder, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    tree = store.add_tree(folder)
    assert "a" == (folder_of(store, tree) / "a.txt").read_text()
    store.root.rename(tmp_path / "moved")
    assert "a" == (folder_of(Store(tmp_path / "moved"), tree) / "a.txt").read_text()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a.txt": ["0", 1]}'])
def test_a_damaged_tree_counts_as_none(store, folder, text):
    digest = store.add_tree(folder).digest
    store.tree_path(digest).write_text(text)
    assert store.complete(digest) is None
    with pytest.raises(StoreError, match="damaged"):
        store.tree(digest)


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(store, monkeypatch):
    path = store.root / "builds" / "x.json"
    store.write(path, b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="the disk of the store") as caught:
        store.write(path, b"new")
    assert "free some space, or name another store with `--store`" == caught.value.hint
    assert (b"old", ["x.json"]) == (path.read_bytes(), [p.name for p in path.parent.iterdir()])


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EROFS, "is on a read-only file system"),
        (errno.EACCES, "no permission to write to the store"),
        (errno.EDQUOT, "the quota of the store"),
        (errno.ENOTDIR, "is not a folder"),
    ],
)
def test_what_the_system_refuses_is_told_with_what_to_do(store, monkeypatch, number, message):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(StoreError, match=message) as caught, store.staging():
        pass
    assert "--store" in caught.value.hint


def test_staging_is_removed_whatever_happens_in_it(store):
    def fail():
        with store.staging() as folder:
            (folder / "locked").mkdir()
            (folder / "locked" / "file").write_text("")
            (folder / "locked").chmod(0o500)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [] == list((store.root / "staging").iterdir())


def test_a_store_of_another_format_is_refused(store):
    (store.root / "format").write_text("2")
    with pytest.raises(StoreError, match="has format `2`, this forge reads `1`"):
        Store.open(store.root)


def test_a_store_opened_twice_is_one(store, folder):
    tree = store.add_tree(folder)
    assert tree == Store.open(store.root).complete(tree.digest)
