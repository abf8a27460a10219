"""Row 32: the tail of a damaged shard is lost without a word (webdataset#142 and #206, ray#65044,
clip-retrieval#393, hats-import#569): fewer rows come out, and nothing says that there were more.

Here the records before the damage are used, and what is missing is one record that is refused.
"""

from pathlib import Path

import pytest

from chiasm.data.pairing import pairs
from chiasm.data.rows import BadSample
from tests.data.pairing.layouts import arrow, records, tar

ROWS = 10


@pytest.mark.parametrize("layout", [tar, arrow])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_what_a_cut_took_is_a_refused_record(layout, part: float, tmp_path: Path) -> None:
    held = records(ROWS)
    path = layout(tmp_path, held)
    assert len(pairs(str(path))) == ROWS
    file = next(each for each in tmp_path.iterdir() if each.suffix in (".tar", ".arrow"))
    data = file.read_bytes().rstrip(b"\0")
    file.write_bytes(data[: int(part * len(data))])
    source = pairs(str(path))
    whole = len(source) - 1
    assert whole < ROWS
    assert [source[n].caption for n in range(whole)] == [caption for caption, _ in held[:whole]]
    with pytest.raises(BadSample, match=f"{whole} records before it are whole") as caught:
        source[whole]
    assert caught.value.reason == "shard_truncated"


def test_a_shard_that_is_short_of_its_index_says_so(tmp_path: Path) -> None:
    tar(tmp_path, records(ROWS))
    (tmp_path / "index.json").write_text('{"shardlist": [{"url": "00000.tar", "nsamples": 12}]}')
    source = pairs(str(tmp_path))
    assert len(source) == ROWS + 1
    with pytest.raises(BadSample, match="the index says that there are 12"):
        source[ROWS]
