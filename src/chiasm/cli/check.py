"""`chiasm check`: is text without pictures what the plain language model says? Are two models one?"""

from __future__ import annotations

import json as json_
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from chiasm.base.errors import UserError, did_you_mean
from chiasm.cli import parity
from chiasm.cli.arguments import Flag, read
from chiasm.cli.choose import seeing_model

if TYPE_CHECKING:
    from chiasm.evaluation.identity import Finding

CHECKS = ("text-identity", "parity")
ABOUT = """Run the theorem "text unchanged" on a model: without pictures it is its plain language model.

Example:
  chiasm check text-identity --model runs/first_light

Features and logits are compared in every bit, for prompts alone and for those that share a batch with
pictures, in the model's number format and in float32. The exit code is 1 when anything differs."""


@dataclass(frozen=True)
class Options:
    """What can be said to `chiasm check text-identity`."""

    model: Annotated[str, tyro.conf.arg(metavar="MODEL", help_behavior_hint="")] = ""
    """A run's folder or a model folder; the newest finished run when none is named."""
    json: Flag = False
    """Print the findings as JSON for programs."""


def main(words: list[str]) -> int:
    """Run the check that the first word names."""
    if not words or words[0] in ("-h", "--help"):
        words = [CHECKS[0], "--help"]
    if words[0] not in CHECKS:
        raise UserError(
            f'There is no check "{words[0]}".{did_you_mean(words[0], CHECKS)} '
            f"There is {', '.join(CHECKS)}."
        )
    if words[0] == "parity":
        return parity.main(words[1:])
    options = read("chiasm check text-identity", words[1:], Options(), ABOUT)
    from chiasm.base.log import keep_stdout_clean, say

    keep_stdout_clean()
    name = seeing_model(options.model)
    found = []
    for dtype, finding in findings(name):
        found.append({"dtype": dtype, **finding.record()})
        if not options.json:
            print(
                f"{'OK  ' if finding.ok else 'FAIL'}  {dtype:<8}  {finding.name:<15}  {finding.detail}"
            )
    ok = all(each["ok"] for each in found)
    if options.json:
        print(json_.dumps({"model": name, "ok": ok, "findings": found}, indent=2))
    else:
        say(_verdict(ok, name))
    return 0 if ok else 1


def _verdict(ok: bool, name: str) -> str:
    if not ok:
        return f"{name} is not its plain language model where it should be."
    return (
        f"Where no picture is shown, {name} is its plain language model, bit for bit: also beside "
        "conversations that show pictures. This holds for both ways of joining, cross-attention and "
        "unified embedding."
    )


def findings(name: str) -> Iterator[tuple[str, Finding]]:
    """Yield every comparison with the number format it was made in."""
    from chiasm.base.device import pick_device, pick_dtype
    from chiasm.base.log import say
    from chiasm.evaluation.identity import text_identity
    from chiasm.recipes.loading import load

    own = str(pick_dtype("auto", pick_device())).removeprefix("torch.")
    source = plain_source(name)
    said = source or "its own decoder, which it carries inside"
    say(f"Comparing {name} with {said}, loaded on its own.")
    for dtype in dict.fromkeys((own, "float32")):
        model, processor = load(name, dtype=dtype)
        fused: Any = model
        try:
            plain = load(source, dtype=dtype)[0] if source else fused.decoder
            for finding in text_identity(fused, plain, processor):
                yield dtype, finding
        finally:
            processor.close()


def plain_source(name: str) -> str:
    """Return where a fused model's language model comes from; "" when it carries it inside."""
    from chiasm.base.log import say
    from chiasm.checkpoint.fused import is_fused
    from chiasm.checkpoint.weights import read_json
    from chiasm.recipes.loading import home_of

    home = home_of(name, say)
    if is_fused(home):
        return ""
    config = read_json(home / "config.json")
    if not str(config.get("model_type", "")).startswith("chiasm_"):
        raise UserError(
            f"{name} is a plain language model already; name a model that was joined with eyes."
        )
    return str(config.get("parts", {}).get("decoder", {}).get("source", ""))
