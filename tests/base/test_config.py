"""Settings: what goes out comes back, and what is wrong is told by name."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from chiasm.base.config import (
    Settings,
    as_record,
    differences,
    from_record,
    from_yaml,
    to_yaml,
)
from chiasm.base.errors import UserError


class Adam(Settings):
    kind: Literal["adam"] = "adam"
    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)


class Sgd(Settings):
    kind: Literal["sgd"] = "sgd"
    momentum: float = 0.9


Optimizer = Annotated[Adam | Sgd, Field(discriminator="kind")]


class Stage(Settings):
    name: str = "one"
    optimizer: Optimizer = Adam()
    learns: tuple[tuple[str, Adam | None], ...] = ()


class Run(Settings):
    steps: int = Field(10, ge=1)
    """How many updates."""
    rate: float = 1.0
    fit: Literal["pad", "crop"] = "pad"
    grid: Literal[2, 4] = 2
    note: str | None = None
    length: int | Literal["auto"] = "auto"
    folder: Path = Path("runs/a")
    quick: bool = False
    sizes: tuple[int, ...] = (1, 2)
    named: dict[str, Adam] = Field({})
    stages: tuple[Stage, ...] = (Stage(),)

    @pydantic.field_validator("rate")
    @classmethod
    def _positive(cls, value: float) -> float:
        if value < 0:
            raise ValueError("should not be negative")
        return value


def wrong(record) -> str:
    with pytest.raises(UserError) as caught:
        from_record(Run, record)
    return str(caught.value)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# ---- there and back ----------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
tricky = st.sampled_from(
    [
        "no",
        "yes",
        "on",
        "1e-5",
        "1e5",
        "010",
        "0x1F",
        "1_000",
        "null",
        "~",
        "",
        "true",
        "12:30",
        "2001-01-01",
        "a: b",
        "- a",
        "#x",
        "&a",
        "*a",
        "!t",
        "=",
        "<<",
        ".inf",
        ".nan",
        " x ",
        "'",
    ]
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
adams = st.builds(Adam, rate=numbers, betas=st.tuples(numbers, numbers))
stages = st.builds(
    Stage,
    name=words | tricky,
    optimizer=adams | st.builds(Sgd, momentum=numbers),
    learns=st.lists(st.tuples(words | tricky, adams | st.none()), max_size=3).map(tuple),
)
runs = st.builds(
    Run,
    steps=st.integers(1, 2**70),
    rate=numbers.map(abs),
    fit=st.sampled_from(["pad", "crop"]),
    grid=st.sampled_from([2, 4]),
    note=st.none() | words | tricky,
    length=st.integers() | st.just("auto"),
    folder=words.map(lambda word: Path("a", word.replace("/", "") or "x")),
    quick=st.booleans(),
    sizes=st.lists(st.integers()).map(tuple),
    named=st.dictionaries(words | tricky, adams, max_size=3),
    stages=st.lists(stages, max_size=3).map(tuple),
)


@settings(max_examples=150, deadline=None)
@given(runs)
def test_settings_survive_yaml_and_record(tmp_path_factory, run):
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    path.write_text(to_yaml(run), encoding="utf-8")
    assert from_yaml(Run, path) == run
    assert from_record(Run, as_record(run)) == run
    assert differences(run, as_record(run)) == []


def test_our_yaml_means_the_same_to_other_readers():
    record = as_record(Run(note="plain", rate=1e-5))
    assert yaml.safe_load(to_yaml(Run(note="plain", rate=1e-5))) == record


def test_an_empty_file_gives_the_defaults(tmp_path):
    assert from_yaml(Run, written(tmp_path, "# nothing\n")) == Run()


@pytest.mark.parametrize("text", ["1e-5", "1.0e-5", "0.00001", "1E-05", "+.1e-4"])
def test_every_way_to_write_a_small_number_is_a_number(tmp_path, text):
    assert from_yaml(Run, written(tmp_path, f"rate: {text}\n")).rate == 1e-5


@pytest.mark.parametrize("text", ["no", "on", "0x10", "010", "12:30", "2001-01-01", ".inf"])
def test_words_that_yaml_1_1_turns_into_something_else_stay_words(tmp_path, text):
    assert from_yaml(Run, written(tmp_path, f"note: {text}\n")).note == text


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"stpes": 3}, 'stpes: no such setting. Did you mean "steps"?'),
        ({"steps": 0}, "steps: should be greater than or equal to 1, not 0."),
        ({"steps": 1.5}, "steps: should be a whole number, not 1.5."),
        ({"steps": True}, "steps: should be a whole number, not true."),
        ({"steps": "3"}, 'steps: should be a whole number, not "3".'),
        ({"quick": 1}, "quick: should be true or false, not 1."),
        ({"rate": float("nan")}, "rate: should be a finite number, not NaN."),
        ({"rate": -1.0}, "rate: should not be negative."),
        ({"fit": "crops"}, 'fit: should be "pad" or "crop", not "crops". Did you mean "crop"?'),
        ({"grid": 3}, "grid: should be 2 or 4, not 3."),
        ({"length": 1.5}, 'length: should be a whole number or should be "auto", not 1.5.'),
        ({"sizes": [1, "x"]}, 'sizes.1: should be a whole number, not "x".'),
        ({"sizes": 3}, "sizes: should be a list, not 3."),
        ({"named": {"a": {"rat": 1}}}, 'named.a.rat: no such setting. Did you mean "rate"?'),
        (
            {"stages": [{"optimizer": 3}]},
            "stages.0.optimizer: should be a group of settings, not 3.",
        ),
        ({"stages": [{"optimizer": {"rate": 1}}]}, "stages.0.optimizer.kind: is missing."),
        (
            {"stages": [{}, {"optimizer": {"kind": "adm"}}]},
            'stages.1.optimizer.kind: should be "adam" or "sgd", not "adm". Did you mean "adam"?',
        ),
        (
            {"stages": [{"optimizer": {"kind": "sgd", "rate": 1}}]},
            "stages.0.optimizer.rate: no such setting. There are: kind, momentum.",
        ),
        (
            {"stages": [{"learns": [["a", {"bets": 1}]]}]},
            'stages.0.learns.0.1.bets: no such setting. Did you mean "betas"?',
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_its_path(record, sentence):
    assert wrong(record) == f"settings: {sentence}"


def test_all_wrong_settings_are_told_at_once():
    text = wrong({"stpes": 3, "rate": "fast", "stages": [{"nmae": "x"}]})
    assert "3 settings are wrong" in text
    for path in ("stpes:", "rate:", "stages.0.nmae:"):
        assert f"\n  {path}" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps: 1\nsteps: 2\n", '"steps" is given twice'),
        ("stages:\n- name: a\n  name: b\n", "line 3"),
        ("steps: [1\n", "not readable YAML"),
        ("note: &a x\nfit: *a\n", "aliases"),
        ("note: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("note: !!binary aGk=\n", "could not determine a constructor"),
        ("[a]: 1\n", "not readable YAML"),
        ("- 1\n", "holds no settings"),
        ("just words\n", "holds no settings"),
        ("steps: 1\n---\nsteps: 2\n", "not readable YAML"),
        ("a: " + "[" * 5000, "not readable YAML"),
        ("\x00", "not readable YAML"),
    ],
)
def test_a_file_that_is_no_settings_file_is_told_with_its_name(tmp_path, text, told):
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        from_yaml(Run, path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_and_binary_files_are_told(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        from_yaml(Run, tmp_path / "none.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        from_yaml(Run, tmp_path / "x.yaml")
    with pytest.raises(UserError, match="plain values"):
        from_record(Run, {"note": object()})


def test_settings_cannot_change_and_python_is_as_strict_as_yaml():
    with pytest.raises(pydantic.ValidationError):
        Run().steps = 3
    with pytest.raises(pydantic.ValidationError):
        Run(steps="3")
    with pytest.raises(pydantic.ValidationError):
        Run(stpes=3)
    assert Run.model_fields["steps"].description == "How many updates."


# ---- differences -------------------------------------------------------------------------------


def test_differences_names_what_differs_and_nothing_else():
    one = Run(steps=10, stages=(Stage(), Stage(optimizer=Adam(rate=0.1))))
    other = Run(steps=20, stages=(Stage(), Stage(optimizer=Sgd())))
    assert differences(one, other) == [
        "steps",
        "stages.1.optimizer.kind",
        "stages.1.optimizer.rate",
        "stages.1.optimizer.betas",
        "stages.1.optimizer.momentum",
    ]
    assert differences(Run(sizes=(1, 2)), Run(sizes=(1,))) == ["sizes"]
    assert differences({"a": 1}, {"a": True, "b": 0}) == ["a", "b"]


def test_importing_config_and_log_does_not_import_torch():
    code = (
        "import sys, chiasm.base.config, chiasm.base.log, chiasm.base.files; print([m for m in "
        + ("('torch', 'tensorboard', 'numpy') if m in sys.modules])")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_list_that_is_too_short_is_named():
    class Pair(Settings):
        two: tuple[float, float]

    with pytest.raises(UserError, match="two"):
        from_record(Pair, {"two": [1.0]})
