import json

import pytest

from forge.core import digest
from forge.core.digest import canonical, digest_bytes, digest_file, digest_value


def test_the_digest_of_nothing_is_blake3_s():
    assert "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262" == digest_bytes(b"")


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 7])
def test_a_file_has_the_digest_of_its_bytes_read_or_mapped(tmp_path, size):
    data = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    path = tmp_path / "file"
    path.write_bytes(data)
    assert digest_bytes(data) == digest_file(path, size)


def test_canonical_json_sorts_keys_leaves_out_blanks_and_keeps_text():
    assert '{"a":[1,2.5,null,true],"b":"面 \\""}'.encode() == canonical({"b": '面 "', "a": [1, 2.5, None, True]})


def test_half_a_surrogate_pair_has_a_digest_too():
    assert digest_value("x", "\ud83d") != digest_value("x", "\ud83e")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_have_is_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)


def test_equal_values_of_different_meaning_have_different_digests():
    assert digest_value("tree", {}) != digest_value("action", {})


def test_one_and_one_point_zero_are_different_values_to_json():
    assert json.loads(canonical(1)) == json.loads(canonical(1.0))
    assert canonical(1) != canonical(1.0)


@pytest.mark.parametrize("more", [-1, 0, 1, 4096 * 3 + 5])
def test_a_file_that_is_mapped_in_windows_has_the_same_digest(tmp_path, monkeypatch, more):
    monkeypatch.setattr(digest, "_WINDOW", 1 << 20)
    data = bytes(range(251)) * 9000
    data = (data * 2)[: (2 << 20) + more]
    path = tmp_path / "large"
    path.write_bytes(data)
    assert digest_file(path, len(data)) == digest_bytes(data)
