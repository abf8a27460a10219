"""Row 28: an evaluation that fills its last batch with samples it has already asked, and counts them
again (DistributedSampler, pytorch#25162; rf-detr#1507 reported 22 of 21 samples)."""

from collections import Counter

from tests.evaluation.toys import look, task

from chiasm.evaluation.runner import run


def test_no_sample_is_counted_twice() -> None:
    for sizes in ([1], [3], [2, 2, 3], [21], [5, 5, 5, 5, 1]):
        for batch in (1, 2, 3, 4, 8, 64):
            asked: Counter[str] = Counter()

            def answer(prompts: list, asked: Counter[str] = asked) -> list[str]:
                texts = look(prompts)
                asked.update(texts)
                return texts

            result = run(task(sizes), answer, batch=batch, quiet=True)
            keys = Counter(row.key for row in result.rows)
            assert result.total.count == sum(sizes) == len(keys)
            assert set(keys.values()) == set(asked.values()) == {1}
