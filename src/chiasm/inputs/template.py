"""Renders a chat template that came with a model: untrusted code, run in a sandbox under limits.

jinja2's sandbox keeps a template from reaching Python, but not from looping for ever or from
making gigabytes of text: so it runs in a worker process with a time, a memory and an output limit.
Only used to find out which format a template writes (chat.py); prompts are never made by jinja.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from chiasm.base.errors import UserError
from chiasm.base.worker import Worker, WorkerLate, WorkerStopped

_MAX_SOURCE = 200_000
_MAX_OUTPUT = 1_000_000
_MEMORY = 256 << 20
_SECONDS = 5.0

_SENTENCES = {
    "source": f"is longer than {_MAX_SOURCE} characters",
    "syntax": "is not valid jinja",
    "output": "writes more text than a chat can hold",
    "memory": "takes too much memory",
    "time": f"takes longer than {_SECONDS:g} seconds",
    "died": "made its worker process stop",
}


def render(
    source: str, conversations: Sequence[Mapping[str, Any]], tokens: Mapping[str, str]
) -> list[str | None]:
    """Render conversations (`messages`, `add_generation_prompt`) by a chat template.

    `tokens` are the tokenizer's named tokens (`bos_token`, ...). Returns None for a conversation
    that the template refuses. Raises UserError when the template cannot be used at all.
    """
    if len(source) > _MAX_SOURCE:
        raise _unusable("source")
    request = {"source": source, "conversations": list(conversations), "tokens": dict(tokens)}
    worker = Worker(__name__, _MEMORY)
    try:
        reply, body = worker.ask({}, json.dumps(request).encode(), _SECONDS, 8 * _MAX_OUTPUT)
    except WorkerLate:
        raise _unusable("time") from None
    except WorkerStopped:
        raise _unusable("died") from None
    finally:
        worker.close()
    if "reason" in reply:
        raise _unusable(reply["reason"])
    texts: list[str | None] = json.loads(bytes(body))
    return texts


def _unusable(reason: str) -> UserError:
    return UserError(f"The model's chat template {_SENTENCES[reason]}; use another model folder.")


# ── the child's side ─────────────────────────────────────────────────────────────────────────────


class _TooLong(Exception):
    pass


def answer(_: dict[str, Any], body: memoryview) -> tuple[dict[str, Any], bytes]:
    """Render a request's conversations; runs in the worker."""
    from jinja2 import TemplateSyntaxError

    request = json.loads(bytes(body))
    try:
        template = _environment().from_string(request["source"])
        texts = [_one(template, c, request["tokens"]) for c in request["conversations"]]
        return {}, json.dumps(texts).encode()
    except TemplateSyntaxError:
        return {"reason": "syntax"}, b""
    except _TooLong:
        return {"reason": "output"}, b""
    except (MemoryError, OverflowError):
        return {"reason": "memory"}, b""


def _one(template: Any, conversation: Any, tokens: dict[str, str]) -> str | None:
    pieces: list[str] = []
    size = 0
    try:
        for piece in template.generate(**tokens, **conversation):
            size += len(piece)
            if size > _MAX_OUTPUT:
                raise _TooLong
            pieces.append(piece)
    except (_TooLong, MemoryError, OverflowError):
        raise
    except Exception:
        return None  # the template said no, or was made for other records
    return "".join(pieces)


def _environment() -> Any:
    """The environment in which transformers renders chat templates (transformers 5)."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks the assistant's words for others; here it changes nothing."""

        tags = {"generation"}  # noqa: RUF012  jinja's own way

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            inside = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(inside).set_lineno(line)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, **options: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **options})  # jinja's would escape HTML

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment
