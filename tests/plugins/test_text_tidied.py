"""One pass that tidies texts does what the two rules do one after the other."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_text import personal_patterns, personal_rules
from forge_text.normalise import UNEVEN, even_spaces
from forge_text.personal import anonymised, tidied

_PIECES = st.sampled_from(
    [
        "我",
        "，",
        " ",
        "  ",
        "\t",
        "\n",
        "\u3000",
        "\x1c",
        "13812345678",
        "a@b.cn",
        "微信",
        ":",
        "abcdef12",
        "一三八",
        "零",
    ]
)


@given(st.lists(st.none() | st.lists(_PIECES, max_size=12).map("".join), max_size=6))
def test_tidied_texts_are_evened_and_anonymised_ones(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    expected = frame.select(anonymised(even_spaces(pl.col("text"))))
    assert expected.equals(frame.select(tidied(pl.col("text"))))


@given(st.text(alphabet=" \t\n\x1c\u3000\u00a0a我", max_size=8))
def test_the_look_for_uneven_spaces_finds_each_text_that_is_changed(text: str) -> None:
    frame = pl.DataFrame({"text": [text]})
    changed, found = frame.select(even_spaces(pl.col("text")) != text, found=pl.col("text").str.contains(UNEVEN)).row(0)
    assert found or not changed


@pytest.mark.parametrize(
    "number", ["110101900307571", "11010119900307571X", "1-1-0-1-0-1-9-0-0-3-0-7-5-7-1", "110101 19900307 571X"]
)
def test_each_spelling_of_an_identity_number_has_digits_enough_in_one_run(number: str) -> None:
    text = f"身份证{number}。"
    found = personal_patterns.IDENTITY.search(text) or personal_patterns.OLD_IDENTITY.search(text)
    assert found is not None
    assert [number] == [text[start:stop] for start, stop, _ in personal_rules._identities(text)]
