"""Repeats: what is compared, in how much memory, and how well planted ones are found."""

import importlib.util
import re
import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_text import near
from forge_text.near import clusters, equal_clusters
from forge_text.normalise import comparable, told_apart

BENCH = Path(__file__).parents[1] / "bench/repeats.py"


def compared(texts):
    return (
        pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)}).select(comparable(pl.col("text")))["text"].to_list()
    )


def plainly(text):
    points = re.sub(r"([0-9])\.([0-9])", "\\1\ua4f8\\2", unicodedata.normalize("NFKC", text))
    return "".join(c for c in points if is_kept(c)).lower()


def is_kept(character):
    category = unicodedata.category(character)
    return category[0] in "LMN" or (
        (category in ("Sm", "Sc", "So") or character in "#\ua4f8") and character not in "~|"
    )


WRITTEN = st.text(
    st.one_of(
        st.sampled_from(
            "我你他，。！？“”…—·、《》【】（）～｛｝　 \n,.!?'\"-_:;0123abcABC０１ａｂＡＢ①㎏℃™ﬁé́ＱΑßİ〇々㈱⼀豈‼〔〕％"
            "+<=>$|#＃＋＜＝＞￥＄～｜^`😊की.5.０．"
        ),
        st.characters(exclude_categories=["Cs", "Cn"]),
    ),
    max_size=20,
)


@given(st.lists(st.one_of(st.none(), WRITTEN), max_size=12))
def test_what_is_compared_is_letters_digits_and_symbols_in_nfkc_and_lower_case(texts):
    def folded(text):
        return None if text is None else text.replace("ς", "σ")  # the sigma at a word's end is lower case's own choice

    expected = [None if text is None else plainly(text) for text in texts]
    assert list(map(folded, expected)) == list(map(folded, compared(texts)))


def test_punctuation_width_case_and_spaces_make_no_difference():
    assert 1 == len(set(compared(["我很难过，OK！", "我 很难过 ok", "我很难过．ＯＫ", "我很难过……Ok～"])))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(1, 50))
def test_slices_cover_all_texts_in_order_and_hold_few_characters(lengths, most):
    texts = pl.Series(["字" * length for length in lengths])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "_SLICE", most)
        slices = list(near._slices(texts))
    assert list(range(len(lengths))) == [place for begin, length in slices for place in range(begin, begin + length)]
    assert all(length == 1 or sum(lengths[begin : begin + length]) <= most for begin, length in slices)


@given(st.lists(st.text("ab中", max_size=9), min_size=1, max_size=8))
def test_shingles_are_the_trigrams_of_each_text(texts):
    hashes, offsets = near._shingles(pl.Series(texts, dtype=pl.String))
    every = {}
    for place, text in enumerate(texts):
        padded = text.ljust(3)
        expected = {padded[at : at + 3] for at in range(len(padded) - 2)}
        found = np.unique(hashes[offsets[place] : offsets[place + 1]])
        assert len(expected) == len(found)
        every |= dict.fromkeys(expected)
    assert len(every) == len(np.unique(hashes))


@pytest.mark.slow
def test_planted_repeats_are_found_with_recall_and_precision(tmp_path):
    spec = importlib.util.spec_from_file_location("repeats", BENCH)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    if not bench.SCRIPT.exists():
        pytest.skip("../shared/data is not here")
    texts, planted = bench.corpus(tmp_path, 3000)
    roots = bench.forge_clusters(texts, 0.8)
    truth = list(range(len(texts)))
    for of, place, _ in sorted(planted, key=lambda pair: pair[1]):
        truth[place] = truth[of]
    found = [(root, place) for place, root in enumerate(roots) if root != place]
    for kind in ("dup", "near", "edit"):
        hits = [roots[of] == roots[place] for of, place, each in planted if each == kind]
        assert len(hits) > 20
        assert sum(hits) / len(hits) >= 0.95
    assert sum(truth[root] == truth[place] for root, place in found) / len(found) >= 0.99


LETTERS = "的一是在不了有人，。! ?\n\u0301\u0300\ufe0f😀①㍻ﷺİΣσaA１é가ᄀ\u1161\u11a8 \u200b"
SAID = st.one_of(
    st.none(),
    st.text(st.sampled_from(LETTERS), max_size=12),
    st.text(st.sampled_from(LETTERS), min_size=90, max_size=200),
)


@settings(max_examples=80)
@given(
    texts=st.lists(SAID, min_size=1, max_size=12), picks=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 199)))
)
def test_equal_texts_are_told_from_their_edges_as_from_the_whole(texts, picks):
    for which, place in picks:  # the same once more, but for a mark that does not count, or for a letter at an end
        text = texts[which % len(texts)] or ""
        texts += [f"{text[:place]}，{text[place:]}", f"尾{text}", f"{text}头"]
    written = pl.Series(texts, dtype=pl.String)
    whole = clusters(written.to_frame("text").select(told_apart(pl.col("text"))).to_series(), near=1)
    assert equal_clusters(written).tolist() == whole.tolist()
