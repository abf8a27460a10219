"""`chiasm check parity`: two models, or two modes of one, layer by layer; the first tensor that differs."""

from __future__ import annotations

import json as json_
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from chiasm.base.errors import UserError
from chiasm.cli.arguments import Flag, Words, read

if TYPE_CHECKING:
    from chiasm.evaluation.parity import Difference

ABOUT = """Compare two models tensor by tensor: weights first, then what every layer gives.

Examples:
  chiasm check parity original/ exported/          two folders
  chiasm check parity llama-3.2/ --compat hf       one folder, Meta's numbers against transformers'

Both read the same prompts, without and with pictures. The exit code is 1 when anything is further
apart than the tolerance, and the first such tensor is named."""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm check parity`."""

    names: Words = ()
    """Two models, or one together with --compat."""
    compat: Literal["meta", "hf"] = "meta"
    """Whose numbers the right model follows."""
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    """What both are computed in."""
    tolerance: float = 1e-4
    """Largest difference over the largest value that still counts as equal."""
    all: Flag = False
    """List every tensor, not only those that differ."""
    json: Flag = False
    """Print the findings as JSON for programs."""


def main(words: list[str]) -> int:
    """Compare the models that the words name."""
    options = read("chiasm check parity", words, Options(), ABOUT)
    if len(options.names) not in (1, 2) or (len(options.names) == 1 and options.compat == "meta"):
        raise UserError("Name two models, or one with --compat hf: chiasm check parity A B")
    from chiasm.base.log import keep_stdout_clean, say

    keep_stdout_clean()
    left, right = options.names[0], options.names[-1]
    found = compare(left, right, options)
    apart = [each for each in found if each.apart > options.tolerance]
    if options.json:
        record = {"left": left, "right": right, "ok": not apart}
        print(json_.dumps(record | {"findings": [each.record() for each in found]}, indent=2))
    else:
        print("\n".join(lines(found if options.all else apart)))
        say(verdict(found, apart, options))
    return 1 if apart else 0


def compare(left: str, right: str, options: Options) -> list[Difference]:
    """Load both models and compare weights, then layers on a few prompts."""
    from chiasm.evaluation.identity import ASKED, with_pictures
    from chiasm.evaluation.parity import outputs_apart, weights_apart
    from chiasm.inputs.message import Message, Text
    from chiasm.recipes.loading import load

    one, processor = load(left, dtype=options.dtype)
    other, unused = load(right, dtype=options.dtype, compat=options.compat)
    unused.close()
    try:
        found = list(weights_apart(one, other))
        talks = [processor.prompt([Message("user", (Text(text),))]) for text in list(ASKED)[:2]]
        batches = [processor.batch(talks)]
        if processor.transform is not None:
            batches.append(processor.batch([talks[1], *with_pictures(processor)]))
        for batch in batches:
            shown = _typed(batch.inputs(), one)
            found += outputs_apart(one, other, shown)
        return found
    finally:
        processor.close()


def _typed(inputs: dict[str, Any], model: Any) -> dict[str, Any]:
    place = next(model.parameters()).device
    return {k: v if v is None else v.to(place) for k, v in inputs.items()}


def lines(found: Sequence[Difference]) -> list[str]:
    """Return findings, one a line: how far apart, what, which tensor."""
    return [f"{each.apart:9.2e}  {each.kind:<7} {each.name}  {each.detail}" for each in found]


def verdict(found: Sequence[Difference], apart: Sequence[Difference], options: Options) -> str:
    """Return the outcome in a sentence."""
    if not apart:
        worst = max(each.apart for each in found)
        return (
            f"All {len(found):,} tensors are equal within {options.tolerance:g}; the largest difference "
            f"is {worst:.1e}."
        )
    first = apart[0]
    return (
        f"{len(apart):,} of {len(found):,} tensors differ by more than {options.tolerance:g}; the first "
        f"is the {first.kind} {first.name} ({first.detail}, {first.apart:.2g} apart)."
    )
