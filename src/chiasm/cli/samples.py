"""`chiasm chat --samples`: what the model answers about pictures that it was not trained on."""

from __future__ import annotations

import json
from typing import Any

from chiasm.base.log import say
from chiasm.evaluation.metrics import exact_match
from chiasm.evaluation.task import Records, question_of, text_of, truth_of
from chiasm.evaluation.tasks.easy_vqa import kind
from chiasm.inputs.message import Picture, Sample

COUNT = 8
"""Pictures that are shown."""
KINDS = ("shape", "colour", "presence", "negated presence")
"""What is asked about one picture after the other."""


def show(name: str, as_json: bool) -> int:
    """Let a model answer about held-out pictures and print question, answer and truth."""
    from chiasm.recipes.answering import answerer
    from chiasm.recipes.loading import load
    from chiasm.recipes.materials import materials

    model, processor = load(name)
    samples = chosen(materials("easy-vqa", say)[1])
    try:
        answers = answerer(model, processor, max_tokens=32)([question_of(s) for s in samples])
    finally:
        processor.close()
    rows = [_row(sample, answer) for sample, answer in zip(samples, answers, strict=True)]
    if as_json:
        print(json.dumps({"model": name, "samples": rows}, ensure_ascii=False, indent=2))
        return 0
    wide = [max(len(row[key]) for row in rows) for key in ("question", "answer")]
    print(f"{name} about pictures that it was not trained on:\n")
    for row in rows:
        verdict = "right" if row["right"] else f"wrong: it is {row['truth']}"
        print(f"  {row['question']:<{wide[0]}}  {row['answer']:<{wide[1]}}  {verdict}")
        print(f"    {row['picture']}")
    print(f"\n{sum(row['right'] for row in rows)} of {len(rows)} are right.")
    return 0


def chosen(held: Records) -> list[Sample]:
    """Pick one question about each of a few pictures spread over the source, of all kinds in turn."""
    found = []
    for i in range(min(COUNT, len(held))):
        record = held[i * len(held) // COUNT if len(held) >= COUNT else i]
        wanted = [sample for sample in record if kind(sample) == KINDS[i % len(KINDS)]]
        found.append((wanted or list(record))[i // len(KINDS) % len(wanted or record)])
    return found


def _row(sample: Sample, answer: str) -> dict[str, Any]:
    prompt = question_of(sample)
    pictures = [part for message in prompt for part in message.parts if isinstance(part, Picture)]
    return {
        "question": text_of(prompt[-1]),
        "answer": answer,
        "truth": truth_of(sample),
        "right": bool(exact_match(answer, truth_of(sample))),
        "picture": pictures[0].path or "",
    }
