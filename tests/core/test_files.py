import pytest

from forge.core.files import Files


@pytest.fixture
def root(tmp_path):
    for name in ("data/b.txt", "data/a.txt", "data/sub/c.txt", "data/sub/d.json", "data/面.txt", "data/Z.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(pattern, root):
    return [file.name for file in Files.match(pattern, root)]


def test_files_are_sorted_by_name_whatever_the_file_system_s_order(root):
    assert ["Z.txt", "a.txt", "b.txt", "面.txt"] == names("data/*.txt", root)


def test_a_folder_stands_for_every_file_below_it(root):
    assert ["Z.txt", "a.txt", "b.txt", "sub/c.txt", "sub/d.json", "面.txt"] == names("data", root)
    assert names("data", root) == names("data/", root)


def test_names_are_relative_to_the_pattern_s_fixed_part(root):
    assert ["sub/c.txt"] == names("data/*/*.txt", root)
    assert ["c.txt"] == names("data/sub/*.txt", root)
    assert ["Z.txt", "a.txt", "b.txt", "sub/c.txt", "面.txt"] == names("data/**/*.txt", root)


def test_one_file_is_itself(root):
    (file,) = Files.match("data/sub/c.txt", root)
    assert ("c.txt", root / "data/sub/c.txt", "data/sub/c.txt") == (file.name, file.path, file.read_text())


def test_an_absolute_pattern_does_not_look_below_the_root(root, tmp_path_factory):
    assert ["c.txt"] == names(f"{root}/data/sub/*.txt", tmp_path_factory.mktemp("elsewhere"))


def test_what_is_not_there_matches_nothing(root):
    assert [] == names("data/*.csv", root)
    assert [] == names("nowhere", root)
    assert [] == names("nowhere/*", root)


def test_a_folder_that_a_glob_matches_is_no_file(root):
    assert "sub" not in names("data/*", root)


def test_files_are_equal_by_name_wherever_they_lie(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "b.txt").write_text("")
    assert Files.match(f"{root}/data/b.txt", root) == Files.match("b.txt", other)


def test_text_is_read_with_its_line_ends(root):
    (root / "crlf.txt").write_bytes("一\r\n二\n".encode())
    assert "一\r\n二\n" == Files.match("crlf.txt", root)[0].read_text()
