"""Near-equal texts: clusters, splits without leakage, repeats."""

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import forge
from forge_text.filters import LengthBand
from forge_text.near import band_rows, clusters
from forge_text.normalise import comparable, even_spaces
from forge_text.split import Deduplicate, Split

LETTERS = "我你他的是在学校考试压力大睡不着老师同学父母朋友感觉心里难过想办法看能好起来今天明"
SHARES = {"train": 0.8, "eval": 0.1, "test": 0.1}


def sentence(seed, length=80):
    chosen = random.Random(seed)
    return "".join(chosen.choice(LETTERS) for _ in range(length))


def edited(text, place):
    """Change one character: the Jaccard index of 80 letters' trigrams stays over 0.9."""
    return text[:place] + "变" + text[place + 1 :]


def trigrams(text):
    text = text.ljust(3)
    return {text[i : i + 3] for i in range(len(text) - 2)}


def jaccard(one, other):
    return len(trigrams(one) & trigrams(other)) / len(trigrams(one) | trigrams(other))


def compared(texts):
    return pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)}).select(comparable(pl.col("text")))["text"]


def split(texts, **options):
    rows = pl.LazyFrame({"text": texts, "place": range(len(texts))})
    step = Split(column="text", **{"shares": SHARES, "seed": 7, **options})
    return {part: forge.kept(frame).collect() for part, frame in step.split(rows).items()}


texts_with_repeats = st.lists(
    st.one_of(
        st.integers(0, 9).map(sentence),
        st.tuples(st.integers(0, 9), st.integers(0, 79)).map(lambda pair: edited(sentence(pair[0]), pair[1])),
        st.integers(0, 9).map(lambda seed: "，".join(sentence(seed)) + "。"),
        st.text(LETTERS[:4], max_size=6),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40)
@given(texts_with_repeats, st.integers(0, 5), st.sampled_from([0.5, 0.8, 1.0]))
def test_no_two_parts_share_equal_or_near_equal_texts(texts, seed, near):
    try:
        parts = split(texts, seed=seed, near=near)
    except forge.StepError:
        assert len(set(clusters(compared(texts), near=near).tolist())) < len(SHARES)
        return
    assert sorted(place for part in parts.values() for place in part["place"]) == list(range(len(texts)))
    assert all(part.height for part in parts.values())
    names = list(parts)
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            for one in set(compared(parts[name]["text"].to_list())):
                for two in set(compared(parts[other]["text"].to_list())):
                    assert one != two
                    assert near == 1 or jaccard(one, two) < near


@settings(max_examples=40)
@given(texts_with_repeats)
def test_clusters_are_the_chains_of_near_pairs(texts):
    plain = compared(texts).to_list()
    roots = list(range(len(plain)))
    for second in range(len(plain)):
        for first in range(second):
            if jaccard(plain[first], plain[second]) >= 0.8:
                old, new = max(roots[first], roots[second]), min(roots[first], roots[second])
                roots = [new if root == old else root for root in roots]
    assert roots == clusters(compared(texts), near=0.8).tolist()


def test_a_bucket_larger_than_pairs_are_made_for_is_one_cluster():
    texts = [edited(sentence(1, 200), place) for place in range(150)]
    assert set(clusters(compared(texts), near=0.8).tolist()) == {0}


def test_bands_miss_one_pair_in_a_thousand_at_most():
    for near in (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0):
        rows = band_rows(near)
        assert rows == 1 or (1 - near**rows) ** (128 // rows) <= 1e-3


def test_real_edits_are_found_with_recall_and_precision():
    texts, planted = [], []
    for seed in range(300):
        text = sentence(seed, 300)
        texts.append(text)
        if seed % 3 == 0:
            chosen = random.Random(seed)
            for place in chosen.sample(range(300), 3):
                text = edited(text, place)
            planted.append((len(texts) - 1, len(texts)))
            texts.append("新来的一句话。" + text[: -chosen.randrange(1, 12)])
    found = clusters(compared(texts), near=0.8).tolist()
    pairs = [(root, place) for place, root in enumerate(found) if root != place]
    assert planted == pairs


def test_shares_of_a_hundred_rows_are_met():
    parts = split([sentence(seed) for seed in range(100)])
    assert {part: frame.height for part, frame in parts.items()} == {"train": 80, "eval": 10, "test": 10}


def test_a_large_cluster_goes_where_most_is_lacking():
    parts = split([sentence(1)] * 30 + [sentence(seed) for seed in range(2, 72)])
    assert {part: frame.height for part, frame in parts.items()} == {"train": 80, "eval": 10, "test": 10}
    assert parts["train"].filter(pl.col("text") == sentence(1)).height == 30


def test_a_part_with_the_smallest_share_gets_a_row():
    parts = split([sentence(seed) for seed in range(12)], shares={"train": 0.98, "eval": 0.01, "test": 0.01})
    assert {part: frame.height for part, frame in parts.items()} == {"train": 10, "eval": 1, "test": 1}


def test_too_few_clusters_are_an_error_that_says_so():
    with pytest.raises(forge.StepError, match="4 rows in 2 clusters") as caught:
        split([sentence(1), sentence(1), sentence(2), sentence(2)])
    assert caught.value.hint is not None


def test_a_limit_takes_a_sample_and_counts_the_rest():
    texts = [sentence(seed) for seed in range(100)]
    step = Split(column="text", shares=SHARES, seed=7, limits={"train": 48})
    parts = {part: frame.collect() for part, frame in step.split(pl.LazyFrame({"text": texts})).items()}
    assert parts["train"]["__dropped__"].value_counts().sort("count").rows() == [("over the limit", 32), (None, 48)]
    assert "__dropped__" not in parts["eval"].columns
    kept = parts["train"].filter(pl.col("__dropped__").is_null())["text"].to_list()
    assert kept == [text for text in texts if text in set(kept)]


def test_a_seed_decides_the_split_alone():
    texts = [sentence(seed) for seed in range(60)]
    assert split(texts, seed=1)["test"].equals(split(texts, seed=1)["test"])
    assert not split(texts, seed=1)["test"].equals(split(texts, seed=2)["test"])


def test_a_new_row_moves_few_old_ones():
    texts = [sentence(seed) for seed in range(200)]
    before, after = split(texts), split([*texts, sentence(999)])
    moved = set(before["train"]["text"]) - set(after["train"]["text"])
    assert len(moved) <= 1


def test_conversations_are_compared_by_their_turns():
    turns = [[{"role": "user", "text": sentence(seed)}, {"role": "assistant", "text": "好"}] for seed in (1, 1, 2)]
    marked = Deduplicate(column="conversation").transform(pl.LazyFrame({"conversation": turns})).collect()
    assert marked["__dropped__"].to_list() == [None, "equal to an earlier row", None]


def test_the_first_of_equal_and_near_texts_is_kept():
    texts = [sentence(1), sentence(2), "，".join(sentence(1)), edited(sentence(2), 40), sentence(3), None, ""]
    rows = pl.LazyFrame({"text": texts})
    near, equal = "near-equal to an earlier row", "equal to an earlier row"
    marks = Deduplicate(column="text").transform(rows).collect()["__dropped__"].to_list()
    assert marks == [None, None, equal, near, None, None, equal]
    exact = Deduplicate(column="text", near=1.0).transform(rows).collect()["__dropped__"].to_list()
    assert exact == [None, None, equal, None, None, None, equal]


@pytest.mark.parametrize(
    "shares", [{}, {"train": 0.5}, {"train": 1.2, "test": -0.2}], ids=["none", "not one", "negative"]
)
def test_shares_that_can_not_be_met_are_refused(shares):
    with pytest.raises(ValueError, match="`shares` must"):
        Split(column="text", shares=shares)


def test_a_limit_for_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="`limits` names the part `tran`"):
        Split(column="text", shares=SHARES, limits={"tran": 3})


def test_a_length_band_that_nothing_fits_in_is_refused():
    with pytest.raises(ValueError, match="`least` is 10, over `most`, which is 5"):
        LengthBand(column="text", least=10, most=5)


def test_a_length_band_marks_both_sides():
    rows = pl.LazyFrame({"text": ["", "一二", "一二三四", None]})
    marks = LengthBand(column="text", least=1, most=3).transform(rows).collect()["__dropped__"].to_list()
    assert marks == ["under 1 characters", None, "over 3 characters", "under 1 characters"]


@given(st.text(st.sampled_from(" \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u2003\u3000\u200bab中"), max_size=12))
def test_even_spaces_are_what_python_splits_at(text):
    frame = pl.DataFrame({"text": [text]}).select(even_spaces(pl.col("text")))
    assert " ".join(text.split()) == frame["text"].item()


@pytest.mark.parametrize("near", [0.8, 1.0])
def test_texts_that_differ_in_what_is_no_letter_are_told_apart(near):
    texts = ["C++", "C#", "C", "1.5元", "15元", "1+1=2", "11=2", "😭", "😀", "……", "？！", "की", "का"]
    rows = pl.LazyFrame({"text": [*texts, "１.５元。", "C ++", "😀 "]})
    left = forge.kept(Deduplicate(column="text", near=near).transform(rows)).collect()["text"].to_list()
    assert texts == left
