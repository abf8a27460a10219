"""Templates of strangers: they may say anything, but not for ever, not without end, not as Python."""

from __future__ import annotations

import pytest

from chiasm.base.errors import UserError
from chiasm.inputs import template
from chiasm.inputs.template import render

TALK = {"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": True}


def test_conversations_and_tokens_are_known_to_the_template() -> None:
    source = "{{ bos_token }}{{ messages[0].content }}{{ add_generation_prompt }}{{ pad_token }}"
    assert render(source, [TALK, {**TALK, "add_generation_prompt": False}], {"bos_token": "^"}) == [
        "^hiTrue",
        "^hiFalse",
    ]


def test_a_refusal_is_none_and_others_still_count() -> None:
    source = "{% if messages|length > 1 %}{{ raise_exception('one only') }}{% endif %}ok"
    two = {"messages": TALK["messages"] * 2}
    assert render(source, [two, TALK], {}) == [None, "ok"]


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__globals__['json'] }}",
        "{{ messages.append(1) }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{% import 'os' as os %}x",
        "{% include 'chat_template.jinja' %}",
    ],
)
def test_nobody_reaches_python(source: str) -> None:
    assert render(source, [TALK], {}) in ([None], [""])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "longer"),
        ("{{ 'a' * 4000000000 }}", "memory|stop"),
        ("{{ messages[0].content * 2000000000 }}", "memory|stop"),
        ("{{ messages[0].content.center(2000000000) }}", "memory|stop"),
        ("{{ '%2000000000d' % 1 }}", "memory|stop"),
        ("{% for a in range(99999) %}{{ 'aaaaaaaaaaaaaaaaaaaa' }}{% endfor %}", "more text"),
        ("{{ 'a' * 2000000 }}", "more text"),
        ("{% for %}", "not valid jinja"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "jinja|stop"),
        ("x" * 300_000, "characters"),
    ],
)
def test_limits(source: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "_SECONDS", 1.0 if says == "longer" else 60.0)
    with pytest.raises(UserError, match=says):
        render(source, [TALK], {})
