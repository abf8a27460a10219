"""Row 28: an evaluation that drops its last, unfull batch (AReaL#1096; CLIP_benchmark#88 read one
shard of several). The score then is one of other samples than it says."""

from tests.evaluation.toys import look, task

from chiasm.evaluation.runner import run


def test_the_score_of_all_is_the_same_for_every_batch_size() -> None:
    """7 + 5 + 1 + 11 = 24 questions; the last of each record are the ones answered wrongly."""
    sizes = [7, 5, 1, 11]

    def wrong_at_last(prompts: list) -> list[str]:
        return [text if not text.endswith(("10", " 4")) else "?" for text in look(prompts)]

    for batch in (1, 2, 3, 5, 7, 10, 16, 23, 24, 25, 1000):
        result = run(task(sizes), wrong_at_last, batch=batch, quiet=True)
        assert (result.total.right, result.total.count) == (20, 24), batch
        assert [row.key for row in result.rows] == [
            f"{i}/{n}" for i in range(4) for n in range(sizes[i])
        ]
