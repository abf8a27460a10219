"""Shingles, MinHash and near texts, against sets of strings and against comparing all with all."""

import random
import re
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.curation import planted

from chiasm.data.curation import minhash
from chiasm.data.curation.components import join
from chiasm.data.curation.minhash import Nearness, bands, jaccard, near_texts, signatures
from chiasm.data.curation.near_text import NearTextSettings
from chiasm.data.curation.shingles import folded, grams, shingles, tokens
from chiasm.data.curation.step import Tools

TEXTS = st.lists(st.text(st.sampled_from("abAB Éß.,\n🍎あ1-"), max_size=24), max_size=6)


def plain_words(text):
    """The words of a text, the slow way."""
    text = unicodedata.normalize("NFKC", text.replace("\n", " ")).casefold()
    marked = "".join(c if unicodedata.category(c)[0] in "LMNS" else " " for c in text)
    return marked.split()


def plain_shingles(text, unit, n):
    units = plain_words(text) if unit == "words" else list(" ".join(plain_words(text)))
    if 0 < len(units) < n:
        return {tuple(units)}
    return {tuple(units[at : at + n]) for at in range(len(units) - n + 1)}


def plain_jaccard(one, two, unit, n):
    one, two = plain_shingles(one, unit, n), plain_shingles(two, unit, n)
    return len(one & two) / max(1, len(one | two))


@given(TEXTS, st.sampled_from(("words", "letters")), st.integers(1, 4))
def test_similarity_of_hashed_shingles_is_that_of_sets_of_strings(texts, unit, n):
    rows = shingles(texts, unit, n)
    for row, text in enumerate(texts):
        assert len(set(rows[row].tolist())) == len(plain_shingles(text, unit, n))
    pairs = [(i, j) for i in range(len(texts)) for j in range(len(texts))]
    found = jaccard(rows, np.array(pairs, np.int64).reshape(-1, 2))
    expected = [plain_jaccard(texts[i], texts[j], unit, n) for i, j in pairs]
    assert np.allclose(found, expected)


def test_portions_of_the_work_make_no_difference(monkeypatch):
    rows = shingles(captions(60), "letters", 3)
    pairs = np.array([(i, j) for i in range(60) for j in range(i)])
    whole = jaccard(rows, pairs)
    monkeypatch.setattr(minhash, "AT_ONCE", 150)
    monkeypatch.setattr(minhash, "MANY", 7)
    assert (jaccard(rows, pairs) == whole).all()
    texts = captions(200)
    few = near_texts(texts, Nearness())
    monkeypatch.undo()
    assert (few == near_texts(texts, Nearness())).all()


def test_order_of_words_and_of_letters_counts():
    (ab, ba) = (tokens([text], "words")[0][0] for text in ("ab", "ba"))
    assert ab != ba
    two = shingles(["dog bites man", "man bites dog"], "words", 2)
    assert not set(two[0].tolist()) & set(two[1].tolist())
    with pytest.raises(ValueError, match="at least one"):
        grams(two, 0)


def test_case_width_and_spaces_are_folded_but_words_are_not():
    assert folded("  A Ｒed\tAPPLE ") == "a red apple"
    assert folded("a red apple.") != folded("a red apple")
    assert len(tokens(["\ud800 half a pair"], "words")[0]) == 3


def captions(count, seed=0, edits=0.3):
    chance = random.Random(seed)
    out = [planted.sentence(chance) for _ in range(round(count * (1 - edits)))]
    out += [planted.edited(chance.choice(out), chance) for _ in range(count - len(out))]
    chance.shuffle(out)
    return out


def test_the_estimate_is_the_true_similarity_but_for_chance():
    """A first MinHash of ours was fast and wrong; the errors must be those of a binomial draw."""
    texts, permutations = captions(300), 256
    rows = shingles(texts, "letters", 4)
    signed = signatures(rows, permutations)
    pairs = np.array([(i, j) for i in range(300) for j in range(i)])
    true = jaccard(rows, pairs)
    chosen = np.concatenate([np.flatnonzero(true > 0.3), np.flatnonzero(true <= 0.3)[:1000]])
    pairs, true = pairs[chosen], true[chosen]
    error = (signed[pairs[:, 0]] == signed[pairs[:, 1]]).mean(axis=1) - true
    spread = np.sqrt(true * (1 - true) / permutations)
    assert (true > 0.3).sum() > 50
    assert abs(error.mean()) < 0.005
    assert (np.abs(error) <= 4 * spread + 1e-9).mean() > 0.995
    inner = spread > 0
    assert 0.8 < np.sqrt(np.square(error[inner] / spread[inner]).mean()) < 1.2


@pytest.mark.parametrize(("unit", "n", "threshold"), [("letters", 4, 0.6), ("words", 1, 0.7)])
def test_near_texts_are_those_of_comparing_all_with_all(unit, n, threshold):
    texts = captions(200, seed=3)
    texts += texts[:50] + [text.upper() + "!" for text in texts[50:60]] + ["", "...", ""]
    rows = shingles(texts, unit, n)
    pairs = np.array([(i, j) for i in range(len(texts)) for j in range(i)])
    near = pairs[jaccard(rows, pairs) >= threshold]
    expected = join(np.arange(len(texts)), near)
    found = near_texts(texts, Nearness(unit, n, threshold))
    assert (found[near[:, 0]] == found[near[:, 1]]).mean() >= 0.99  # recall of pairs
    assert (expected[found] == expected).all()  # nothing is joined that is not near: precision is 1
    assert (found[-3:] == np.arange(len(texts))[-3:]).all()


def test_bands_are_as_long_as_the_chance_to_miss_allows():
    count, rows = bands(128, 0.6, 0.02)
    assert (1 - 0.6**rows) ** count <= 0.02 < (1 - 0.6 ** (rows + 1)) ** (128 // (rows + 1))
    with pytest.raises(ValueError, match="take more"):
        bands(4, 0.1, 0.001)
    with pytest.raises(ValueError, match="take more"):
        NearTextSettings(permutations=4, threshold=0.1)


def test_near_documents_one_of_each_group_stays():
    chance = random.Random(5)
    said = [planted.sentence(chance) for _ in range(40)]
    said[7], said[30] = said[3] + " indeed", re.sub(r"^\w+", "Behold", said[3])
    rows = [
        planted.Planted(f"{n:03}", text, np.zeros((1, 1, 3), np.uint8), "")
        for n, text in enumerate(said)
    ]
    step = NearTextSettings(of="text").step(Tools())
    assert step.needs == ()
    found = step(planted.table(rows))
    assert sorted(found) == [3, 30]  # the longest caption stays
    assert {verdict.note for verdict in found.values()} == {"like 007"}
    assert {verdict.reason for verdict in found.values()} <= set(step.reasons)
    first = NearTextSettings(of="text", keep="first").step(Tools())
    assert sorted(first(planted.table(rows))) == [7, 30]


@pytest.mark.soak
def test_a_hundred_thousand_texts_take_seconds():
    texts = captions(100_000, edits=0.1)
    began = time.process_time()
    labels = near_texts(texts, Nearness())
    assert time.process_time() - began < 60
    assert 0.05 < (labels != np.arange(len(texts))).mean() < 0.15
