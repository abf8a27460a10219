"""Row 30: a sample that cannot be read is silently replaced by another one (DALLE-pytorch#194 takes
the next, mindone#189 a random one, video2dataset#179 the first good one, mmdetection#6779).

Here the sources' part: a bad row raises, every other row is itself, and the evaluation counts it.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chiasm.data.rows import BadSample
from chiasm.data.sources import parquet
from chiasm.evaluation.runner import run
from chiasm.evaluation.task import Task
from chiasm.inputs.message import Text

ROWS, BAD = 10, {0, 3, 4, 9}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Rows whose user says their number; a bad row has a place for a picture and no picture."""
    messages = []
    for number in range(ROWS):
        parts = [{"type": "image", "text": None}] if number in BAD else []
        parts.append({"type": "text", "text": str(number)})
        reply = {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}
        messages.append([{"role": "user", "content": parts}, reply])
    pq.write_table(pa.table({"messages": messages}), tmp_path / "a.parquet", row_group_size=4)
    return tmp_path / "a.parquet"


def test_every_row_is_itself_or_nothing(path: Path) -> None:
    source = parquet(path)
    assert len(source) == ROWS
    for number in range(ROWS):
        if number in BAD:
            with pytest.raises(BadSample, match=f"row {number}: ") as caught:
                source[number]
            assert caught.value.reason == "picture_count"
        else:
            assert source[number][0].messages[0].parts == (Text(str(number)),)


def test_what_went_in_is_what_was_scored_plus_what_was_refused(path: Path) -> None:
    def answer(prompts: list) -> list[str]:
        return ["yes" for _ in prompts]

    result = run(Task("numbers", parquet(path)), answer, quiet=True)
    assert [int(row.question) for row in result.rows] == sorted(set(range(ROWS)) - BAD)
    assert [key for key, _ in result.refused] == [f"a/{number}" for number in sorted(BAD)]
