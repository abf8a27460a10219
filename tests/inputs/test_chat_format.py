"""Which format a model folder's chat template writes, found out without trusting it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.inputs.toys import CHATML_TEMPLATE, CHATML_WITH_SYSTEM, LLAMA3_DATED, LLAMA3_TEMPLATE

from chiasm.base.errors import UserError
from chiasm.inputs import ChatFormat, chat_format
from chiasm.inputs.chat_format import CHATML, LLAMA3, recognise

BOS = {"bos_token": "<|begin_of_text|>"}
ALL = ("system", "user", "assistant")


def test_chatml() -> None:
    assert recognise(CHATML_TEMPLATE, {}) == CHATML
    assert recognise(CHATML_WITH_SYSTEM, {}) == replace(CHATML, system="You help.")
    stripping = CHATML_TEMPLATE.replace("m['content']", "m['content'] | trim")
    assert recognise(stripping, {}) == replace(CHATML, stripped=ALL)


def test_llama3() -> None:
    assert recognise(LLAMA3_TEMPLATE, BOS) == replace(LLAMA3, stripped=ALL)
    found = recognise(LLAMA3_DATED, BOS)
    dated = replace(LLAMA3, stripped=("system",), system="", preamble=found.preamble)
    assert found == replace(dated, system_with_pictures=False)
    assert found.preamble.startswith("Today Date: 2") and found.preamble.endswith("\n\n")


OTHERS = {
    "a space too many": CHATML_TEMPLATE.replace("'\\n' }}", "' \\n' }}", 1),
    "no newline after a turn": CHATML_TEMPLATE.replace(" + '\\n' }}", " }}", 1),
    "no BOS": LLAMA3_TEMPLATE.replace("{{ bos_token }}", ""),
    "always asks for an answer": CHATML_TEMPLATE.replace("add_generation_prompt", "true"),
    "never asks for an answer": CHATML_TEMPLATE.replace("add_generation_prompt", "false"),
    "escapes HTML": CHATML_TEMPLATE.replace("m['content']", "m['content'] | e"),
    "hides thoughts": CHATML_TEMPLATE.replace(
        "m['content']", "m['content'].split('</think>') | last"
    ),
    "shouts": CHATML_TEMPLATE.replace("m['content']", "m['content'] | upper"),
    "renames a role": CHATML_TEMPLATE.replace("m['role']", "m['role'] | replace('user', 'human')"),
    "drops the system": CHATML_TEMPLATE.replace(
        "{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}"
    ),
    "refuses a system": CHATML_TEMPLATE
    + "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}",
    "forgets old turns": CHATML_TEMPLATE.replace("in messages", "in messages[-2:]"),
    "another family": "{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}",
    "empty": "",
    "writes nothing": "{# nothing #}",
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_template_that_differs_anywhere_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"neither ChatML nor Llama 3"):
        recognise(OTHERS[name], BOS)


def test_words_of_transformers_are_understood() -> None:
    """`generation` blocks, `tojson`, loop controls, and trimmed blocks as transformers has them."""
    template = (
        "{% set unused = {'é': '<b>'} | tojson(indent=1) %}\n"
        "    {% for m in messages %}\n"
        "{{- '<|im_start|>' + m['role'] + '\\n' }}"
        "{%- generation %}{{- m['content'] + '<|im_end|>\\n' }}{% endgeneration -%}\n"
        "    {% if loop.index > 99 %}{% break %}{% endif %}\n"
        "    {% endfor %}\n"
        "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    assert recognise(template, {}) == CHATML


def test_a_verdict_is_reached_once(monkeypatch: pytest.MonkeyPatch) -> None:
    source = CHATML_TEMPLATE + "{# once #}"
    first = recognise(source, {})

    def never(*_: object) -> list[str | None]:
        raise AssertionError("the template was rendered again")

    monkeypatch.setattr(chat_format, "render", never)
    assert recognise(source, {}) == first
    with pytest.raises(AssertionError, match="rendered again"):
        recognise(source, BOS)  # other tokens may make another text


def folder(path: Path, template: str | None, config: object = None) -> Path:
    if template is not None:
        (path / "chat_template.jinja").write_text(template)
    if config is not None:
        (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


def test_a_folder_is_read_and_written(tmp_path: Path) -> None:
    found = ChatFormat.load(folder(tmp_path, LLAMA3_TEMPLATE, BOS))
    assert found == replace(LLAMA3, stripped=ALL)
    (tmp_path / "again").mkdir()
    found.save(tmp_path / "again")
    assert (tmp_path / "again" / "chat_template.jinja").read_text() == LLAMA3_TEMPLATE


def test_older_folders_keep_the_template_elsewhere(tmp_path: Path) -> None:
    config = {"chat_template": LLAMA3_TEMPLATE, "bos_token": {"content": "<|begin_of_text|>"}}
    assert ChatFormat.load(folder(tmp_path, None, config)).name == "Llama 3"


def test_bad_folders_get_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not taught to converse"):
        ChatFormat.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        ChatFormat.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(UserError, match="not taught to converse"):
        ChatFormat.load(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read as text"):
        ChatFormat.load(tmp_path)
