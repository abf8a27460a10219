"""Diversity: both ways flatten the histogram of n-grams, and neither depends on order or company."""

import math
import random
import xml.etree.ElementTree as ElementTree
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from tests.data.curation.planted import WORDS

from chiasm.base.errors import UserError
from chiasm.data.curation.diversity import (
    RaritySettings,
    ResampleSettings,
    caption_grams,
    draws,
    keeping,
    rarity,
)
from chiasm.data.curation.flattening import Histogram, flattening_svg, histogram
from chiasm.data.curation.step import Tools

TOOLS = Tools()
RESAMPLE = ResampleSettings(threshold=20.0, words=1)


def zipfian(count=3000, seed=0):
    """Captions whose words are as unevenly frequent as those of natural text, many of them templates."""
    chance = random.Random(seed)
    rare = [f"{one}{other}" for one in WORDS for other in WORDS[:8]]
    weights = [1 / (rank + 1) for rank in range(len(rare))]
    out = []
    for _ in range(count):
        if chance.random() < 0.6:
            out.append(f"a photo of a {chance.choice(WORDS[:6])} {chance.choice(WORDS[6:12])}")
        else:
            out.append(" ".join(chance.choices(rare, weights, k=chance.randint(4, 8))))
    return out


def table(captions):
    return pa.table({"key": [f"k{n:05}" for n in range(len(captions))], "caption": captions})


def kept(captions, settings):
    lost = settings.step(TOOLS)(table(captions))
    return [caption for row, caption in enumerate(captions) if row not in lost]


@pytest.mark.parametrize(
    "settings", [RESAMPLE, RaritySettings(keep=0.6), RaritySettings(by="draw")]
)
def test_the_histogram_is_flatter_than_that_of_as_many_at_random(settings):
    captions = zipfian()
    after = kept(captions, settings)
    assert 0.2 * len(captions) < len(after) < 0.95 * len(captions)
    before, flat = histogram(captions), histogram(after)
    for seed in range(3):
        control = histogram(random.Random(seed).sample(captions, len(after)))
        assert flat.entropy > control.entropy + 0.02
        assert flat.gini < control.gini - 0.002
        assert len(flat.counts) >= len(control.counts)  # no fewer n-grams are left
    assert flat.entropy > before.entropy


@pytest.mark.parametrize(
    "settings", [RESAMPLE, RaritySettings(keep=0.6), RaritySettings(by="draw")]
)
def test_order_makes_no_difference_and_the_seed_does(settings):
    captions = zipfian(600)
    whole = table(captions)
    turned = np.random.default_rng(0).permutation(len(captions))
    step = settings.step(TOOLS)
    lost = {whole["key"][row].as_py() for row in step(whole)}
    mixed = whole.take(turned)
    assert lost == {mixed["key"][row].as_py() for row in step(mixed)}
    other = settings.model_copy(update={"seed": 1}).step(TOOLS)(whole)
    assert step(whole) == step(whole)
    assert lost != {whole["key"][row].as_py() for row in other}


def test_chances_are_those_of_the_paper():
    """Any n-gram below T: kept. Otherwise each n-gram is drawn with p = √(T / f), any one will do."""
    captions = ["common words"] * 400 + ["common thing"] * 100 + ["common gem"] * 6 + ["once"] * 2
    chances = keeping(caption_grams(captions, 1), 16.0, 5)
    one, two = math.sqrt(16 / 506), math.sqrt(16 / 400)
    assert chances[0] == pytest.approx(1 - (1 - one) * (1 - two))
    assert chances[400] == pytest.approx(1 - (1 - one) * (1 - math.sqrt(16 / 100)))
    assert chances[500] == 1  # "gem" is in 6 < T captions
    assert chances[-1] == 1  # nothing that counts
    assert keeping(caption_grams(captions, 1), 16.0, 7)[500] == pytest.approx(
        one
    )  # "gem" does not count
    lost = ResampleSettings(threshold=16.0, words=1).step(TOOLS)(table(captions))
    share = sum(row < 400 for row in lost) / 400
    assert share == pytest.approx((1 - one) * (1 - two), abs=0.07)
    assert all(row < 500 for row in lost)


def test_a_vocabulary_says_which_n_grams_count(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("common\nrare thing\n\nof no use here\n")
    captions = ["common rare thing"] * 30 + ["common other"] * 70
    settings = ResampleSettings(threshold=5.0, vocabulary=path)
    lost = settings.step(TOOLS)(table(captions))
    common, rare = math.sqrt(5 / 100), math.sqrt(5 / 30)
    assert lost[max(lost)].note == f"kept with chance {common:.2f}"
    assert f"{1 - (1 - common) * (1 - rare):.2f}" in lost[min(lost)].note
    with pytest.raises(UserError, match="cannot be read"):
        settings.model_copy(update={"vocabulary": tmp_path}).step(TOOLS)(table(captions))


def test_rarity_is_the_mean_inverse_frequency():
    captions = ["a b", "a c", "a b", ""]
    scores = rarity(caption_grams(captions, 1))
    common, half, once = (math.log(5 / (1 + f)) + 1 for f in (3, 2, 1))
    assert scores == pytest.approx(
        [(common + half) / 2, (common + once) / 2, (common + half) / 2, 0]
    )
    assert set(RaritySettings(words=1, keep=0.25).step(TOOLS)(table(captions))) == {0, 2, 3}


def test_draws_are_even_and_of_the_key_alone():
    keys = [f"k{n}" for n in range(5000)]
    found = draws(keys, "0/test")
    assert found.min() > 0 and found.max() < 1
    assert np.histogram(found, 10, (0, 1))[0].min() > 400
    assert draws(keys[7:8], "0/test")[0] == found[7]
    assert draws(keys[7:8], "1/test")[0] != found[7]


def test_histogram_counts_captions_with_each_n_gram():
    captions = ["red red apple", "red pear", "a red apple"]
    expected = Counter()
    for caption in captions:
        words = caption.split()
        expected.update(set(words) | set(pairwise(words)))
    assert histogram(captions).counts.tolist() == sorted(expected.values(), reverse=True)
    assert histogram([]).counts.tolist() == [] and histogram([]).entropy == 0


def test_entropy_and_gini_are_those_of_known_distributions():
    even, steep = Histogram(8, np.full(8, 5)), Histogram(8, np.array([97, 1, 1, 1]))
    assert even.entropy == pytest.approx(3) and even.gini == pytest.approx(0)
    assert steep.gini == pytest.approx(0.72)  # mean absolute difference / (2 * mean)
    assert steep.entropy < 0.3


def test_the_drawing_is_sound_and_shows_both():
    captions = zipfian(500)
    svg = flattening_svg(histogram(captions), histogram(kept(captions, RESAMPLE)))
    root = ElementTree.fromstring(svg)
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    for line in lines:
        places = [tuple(map(float, place.split(","))) for place in line.get("points").split()]
        assert all(0 <= x <= 480 and 0 <= y <= 300 for x, y in places)
        assert all(one[0] <= two[0] and one[1] <= two[1] for one, two in pairwise(places))
    assert "before: 500 captions" in svg
    assert "<svg" in flattening_svg(histogram([]), histogram(["one"]))
