"""What is waited for until it is on the disk."""

import pytest

from forge.store.disk import is_worth_syncing, size_below

MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("seconds", "size", "worth"),
    [
        (0.9, 1, False),
        (1.0, MEGABYTE, True),
        (3.0, 200 * MEGABYTE, False),
        (4.0, 200 * MEGABYTE, True),
        (3600.0, 20 * MEGABYTE, True),
    ],
)
def test_a_result_is_synced_that_takes_longer_to_make_than_to_sync(seconds, size, worth):
    assert worth == is_worth_syncing(seconds, lambda: size)


def test_nobody_asks_for_the_size_of_what_was_quick():
    assert not is_worth_syncing(0.1, lambda: pytest.fail("the size was asked for"))


def test_the_size_of_a_folder_is_that_of_all_files_below_it(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "one").write_bytes(b"123")
    (tmp_path / "a/b/two").write_bytes(b"4567")
    assert 7 == size_below(tmp_path)
