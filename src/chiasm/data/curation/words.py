"""What counts as a word, in scripts with and without spaces."""

from __future__ import annotations

import re

# Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_WORD = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])\w|(?<=\w)[’'\-](?=\w))+")
_FIRST = re.compile(rf"[{_UNSPACED}]")


def words_of(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits, "don't" and "semi-automatic" one each.

    In scripts without spaces two characters stand for a word (Chinese words have 1.5 to 2 on average).
    """
    found: list[str] = []
    for word in _WORD.findall(text):
        if _FIRST.match(word):
            found += [word[i : i + 2] for i in range(0, len(word), 2)]
        else:
            found.append(word)
    return found
