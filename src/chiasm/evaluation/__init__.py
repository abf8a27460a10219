"""How well a model does: tasks, what they measure, how they are run, what a report says.

    task.py ── Task = samples + prompt + score ─┐
    tasks/ ─── easy_vqa(train, test) ───────────┼─► runner.run(task, answer) ──► Result
    metrics.py: exact match, Wilson, prior ─────┘        ▲                         │
                                                 prompts ⇄ texts                report.py
                                         answers.py: an engine answers    text, HTML, JSON

    verify/: is this answer, in free words, right by its question's check?
    identity.py: is a fused model without pictures its plain language model, bit for bit?

May enter: what scores answers and tells about scores. Must stay outside: models and weights (who
answers is passed in) and data formats (a task is given its source). Nothing imports torch before
the engine answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chiasm.base.doors import lazily

if TYPE_CHECKING:
    from chiasm.evaluation.answers import answers
    from chiasm.evaluation.identity import text_identity
    from chiasm.evaluation.metrics import Share, exact_match, majority, wilson
    from chiasm.evaluation.report import page, plain, records, table
    from chiasm.evaluation.runner import Result, run
    from chiasm.evaluation.task import Prompt, Task
    from chiasm.evaluation.verify import right

_HOME = {
    # what is asked, and how it is scored
    **dict.fromkeys(("Prompt", "Task"), "task"),
    **dict.fromkeys(("Share", "exact_match", "majority", "wilson"), "metrics"),
    # asking
    **dict.fromkeys(("Result", "run"), "runner"),
    "answers": "answers",
    # judging one answer
    "right": "verify",
    # what must hold exactly
    "text_identity": "identity",
    # telling
    **dict.fromkeys(("page", "plain", "records", "table"), "report"),
}

__all__ = [
    "Prompt",
    "Result",
    "Share",
    "Task",
    "answers",
    "exact_match",
    "majority",
    "page",
    "plain",
    "records",
    "right",
    "run",
    "table",
    "text_identity",
    "wilson",
]


__getattr__ = lazily(__name__, _HOME)
