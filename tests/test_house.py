"""The walls of the house: who imports whom, how long things grow, what never enters.

    source files ── ast ──► violations(package) ──► [] or "room/file.py:12: what is wrong"

Lazy imports count: a cycle hidden in a function is still a cycle. The second half of this file
builds small houses with one fault each, so that every rule is known to fail when it should.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "chiasm"

BELOW_RECIPES = (
    "base nn models inputs data checkpoint training inference evaluation posttrain serving"
)
ALLOWED = {
    room: frozenset(may.split())
    for room, may in {
        "base": "",
        "nn": "base",
        "models": "base nn",
        "inputs": "base",
        "data": "base inputs",
        "checkpoint": "base models",
        "training": "base inputs checkpoint",
        "inference": "base nn inputs",
        "evaluation": "base inputs inference",
        "posttrain": "base inputs data checkpoint training inference evaluation",
        "serving": "base inputs inference",
        "recipes": BELOW_RECIPES,
        "cli": f"{BELOW_RECIPES} recipes face",
        "face": f"{BELOW_RECIPES} recipes",  # chiasm/__init__.py, imported by the command line only
        "testing": "base nn models inputs",  # chiasm/testing.py: toys for users' tests and ours
    }.items()
}
FACE_FILES = {
    "__init__.py": "face",
    "cli.py": "cli",
    "__main__.py": "cli",
    "testing.py": "testing",
}
DATA_FILES = {"py.typed"}  # the only files of the package that are not Python; globs are allowed
NAMES_NOBODY_MAY_HAVE = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
MAX_FILE, MAX_FUNCTION, MAX_ARGUMENTS = 400, 60, 8

# Every name below is also forbidden with anything after it: `pickle` stands for `pickle.loads`.
FORBIDDEN = {
    "pickle": "pickle runs code from files",
    "dill": "pickle runs code from files",
    "cloudpickle": "pickle runs code from files",
    "shelve": "pickle runs code from files",
    "torch.load": "pickle runs code from files; use safetensors",
    "torch.save": "pickle runs code from files; use safetensors",
    "yaml.load": "use yaml.safe_load",
    "yaml.full_load": "use yaml.safe_load",
    "yaml.unsafe_load": "use yaml.safe_load",
    "eval": "runs code from text",
    "exec": "runs code from text",
    "hasattr": "ask for a type or a protocol, not for an attribute",
    "NotImplementedError": "finish it or leave it out",
}
NETWORK = {
    *("urllib", "http", "socket", "ftplib", "smtplib", "ssl", "xmlrpc", "socketserver"),
    *("requests", "urllib3", "httpx", "httpx2", "aiohttp", "huggingface_hub"),
}
NOT_NETWORK = {"urllib.parse"}  # text handling only
NETWORK_DOOR = "base/fetch.py"
COMPUTED = {  # files that may import a module whose name is computed, and why that is no back door
    "base/doors.py": "`lazily(__name__, ...)` opens files of the caller's own room; checked below",
    "base/worker.py": "the child's side of a worker; the parent names a module of its own room",
}

MACHINE_PATH = re.compile(r"(?<![\w.~)}>*-])/(?:root|home|work|opt|tmp|mnt|Users)/\w")
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME)\b")
DRAWING = re.compile(r"[─│┌┐└┘├┤┬┴┼►◄▲▼→←]|-->|->|\|")


# ---------------------------------------------------------------- rules


def violations(package: Path) -> list[str]:
    """Every broken rule in a package laid out as ours, as 'file:line: sentence'."""
    found: list[str] = []
    for path in sorted(p for p in package.rglob("*") if "__pycache__" not in p.parts):
        inside = path.relative_to(package)
        found += [f"{inside}: {what}" for what in misplaced(path, inside)]
        if path.suffix == ".py":
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
            rules = (wrong_imports, forbidden_names, too_long, bad_text)
            found += [f"{inside}:{what}" for rule in rules for what in rule(inside, tree, source)]
    return found


def misplaced(path: Path, inside: Path) -> Iterator[str]:
    """Forbidden names, unknown rooms, stray files, rooms without a door plate."""
    if inside.stem.lower() in NAMES_NOBODY_MAY_HAVE:
        yield f"nothing is called {inside.stem}: name what it does"
    if len(inside.parts) == 1 and (path.is_dir() or path.suffix == ".py"):
        known = path.name in FACE_FILES or (path.is_dir() and path.name in ALLOWED)
        if not known or path.name == "face":
            yield "is no room of this house"
    if path.is_dir():
        plate = path / "__init__.py"
        text = ast.get_docstring(ast.parse(plate.read_text("utf-8"))) if plate.exists() else None
        lines = (text or "").splitlines()
        if len(lines) < 3 or not any(li.startswith(" ") and DRAWING.search(li) for li in lines):
            yield "has no door plate (an __init__.py docstring of several lines with a drawing)"
    elif path.suffix != ".py" and not any(inside.match(glob) for glob in DATA_FILES):
        yield "is neither Python nor declared in DATA_FILES"


def room_of(inside: Path) -> str:
    return FACE_FILES.get(inside.name, "") if len(inside.parts) == 1 else inside.parts[0]


def imports(inside: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of all imports: top, lazy, relative and by import_module."""
    parent = ("chiasm", *inside.parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parent[: len(parent) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *filter(None, [node.module])))
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and last_name(node.func) in ("import_module", "__import__"):
            match node.args:
                case [ast.Constant(value=str(name)), *_]:
                    yield node.lineno, name
                case [ast.JoinedStr(values=[ast.FormattedValue(value=own), *_]), *_] if is_own(own):
                    pass  # f"{__name__}.file": inside the room, whatever the rest
                case _:
                    yield node.lineno, "?"
        elif isinstance(node, ast.Call) and last_name(node.func) == "lazily":
            yield from () if node.args and is_own(node.args[0]) else [(node.lineno, "?")]


def is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "__name__"


def last_name(node: ast.expr) -> str:
    """'c' of `a.b.c`, `c` of a plain name, '' of anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def wrong_imports(inside: Path, tree: ast.AST, source: str) -> Iterator[str]:
    here = room_of(inside)
    for line, name in imports(inside, tree):
        parts = name.split(".")
        if name == "?" and here not in ("cli", "face") and inside.as_posix() not in COMPUTED:
            yield f"{line}: imports a module whose name is computed; its room cannot be checked"
        if parts[0] == "chiasm" and parts[1:] != ["__version__"]:
            there = parts[1] if len(parts) > 1 and parts[1] in ALLOWED else "face"
            if there != here and there not in ALLOWED.get(here, ()):
                yield f"{line}: {here} imports {name} ({there})"
        network = parts[0] in NETWORK and ".".join(parts[:2]) not in NOT_NETWORK
        if network and inside.as_posix() != NETWORK_DOOR:
            yield f"{line}: imports {name}: only {NETWORK_DOOR} touches the network"


def forbidden_names(inside: Path, tree: ast.AST, source: str) -> Iterator[str]:
    """Uses of FORBIDDEN names, seen through `import x as y` and `from x import y as z`."""
    origin: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            stem = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                first = alias.name.split(".")[0]  # `import a.b` binds a; the other forms, a.b
                origin[alias.asname or first] = stem + (alias.name if alias.asname else first)
                yield from complain(node.lineno, stem + alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            yield from complain(node.lineno, dotted(node, origin))
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if isinstance(node.value, ast.Constant) and node.value.value is False:
                continue
            yield f"{node.value.lineno}: allow_pickle: pickle runs code from files"


def dotted(node: ast.expr, origin: dict[str, str]) -> str:
    """'torch.load' for `t.load` after `import torch as t`; '' when the root is no plain name."""
    if isinstance(node, ast.Attribute):
        root = dotted(node.value, origin)
        return f"{root}.{node.attr}" if root else ""
    return origin.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def complain(line: int, name: str) -> Iterator[str]:
    if name in FORBIDDEN:
        yield f"{line}: uses {name}: {FORBIDDEN[name]}"
    elif (stem := name.rpartition(".")[0]) in FORBIDDEN:
        yield f"{line}: uses {name}: {FORBIDDEN[stem]}"


def too_long(inside: Path, tree: ast.AST, source: str) -> Iterator[str]:
    if (lines := len(source.splitlines())) > MAX_FILE:
        yield f"{lines}: {lines} lines; a file has at most {MAX_FILE}"
    methods = {
        method: not any(last_name(d) == "staticmethod" for d in method.decorator_list)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if (length := length_of(node)) > MAX_FUNCTION:
                yield f"{node.lineno}: {node.name} has {length} lines; at most {MAX_FUNCTION}"
            a = node.args
            count = len(a.posonlyargs) + len(a.args) + len(a.kwonlyargs) - methods.get(node, False)
            count += (a.vararg is not None) + (a.kwarg is not None)
            if count > MAX_ARGUMENTS:
                yield f"{node.lineno}: {node.name} has {count} arguments; at most {MAX_ARGUMENTS}"


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the last statement, the docstring not counted."""
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return length


def bad_text(inside: Path, tree: ast.AST, source: str) -> Iterator[str]:
    for number, line in enumerate(source.splitlines(), start=1):
        if UNFINISHED.search(line):
            yield f"{number}: unfinished work belongs in an issue"
        if MACHINE_PATH.search(line):
            yield f"{number}: names a path of somebody's machine"


# ---------------------------------------------------------------- our house


def test_our_house_keeps_its_walls() -> None:
    found = violations(PACKAGE)
    assert not found, "\n" + "\n".join(found)


def test_the_rest_of_the_repository_is_clean_too() -> None:
    """Tests, benchmarks, documents: no forbidden names, nothing unfinished, no machine's path."""
    found = []
    for folder in ("tests", "benchmarks", "docs", ".ci"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.stem.lower() in NAMES_NOBODY_MAY_HAVE:
                found.append(f"{path.relative_to(ROOT)}: nothing is called {path.stem}")
    plain = [p for p in ROOT.iterdir() if p.suffix in (".md", ".toml", ".txt", ".yaml")]
    plain += [ROOT / "Makefile", ROOT / ".ci" / "run", *(ROOT / "docs").rglob("*.md")]
    plain += [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    for path in plain:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: a path of somebody's machine")
            if UNFINISHED.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: unfinished work")
    assert not found, "\n" + "\n".join(found)


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    import_name = {"pillow": "PIL", "pyyaml": "yaml", "resvg-py": "resvg_py"}

    def modules(requirements: list[str]) -> set[str]:
        names = (re.split(r"[\s<>=!~;\[]", need)[0].lower() for need in requirements)
        return {import_name.get(name, name) for name in names}

    core = modules(project["dependencies"])
    extras = project["optional-dependencies"]
    declared = core | modules([n for x, needs in extras.items() if x != "dev" for n in needs])
    used = {
        name.split(".")[0]
        for path in PACKAGE.rglob("*.py")
        for _, name in imports(path.relative_to(PACKAGE), ast.parse(path.read_text("utf-8")))
    }
    used -= {*sys.stdlib_module_names, "chiasm", "?"}
    assert not used - declared, "imported but not declared in pyproject.toml"
    assert not core - used, "declared in pyproject.toml but imported nowhere"


@pytest.mark.parametrize("arguments", [None, ["--help"]], ids=["import chiasm", "chiasm --help"])
def test_torch_is_not_imported_by(arguments: list[str] | None) -> None:
    """Loading torch takes seconds; a person who asks for help should not wait for it."""
    ask = f"from chiasm.cli import main; sys.argv = {['chiasm', *(arguments or [])]}; main()"
    script = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n"
        f"{'import chiasm' if arguments is None else ask}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "False"


# ---------------------------------------------------------------- small houses with one fault each

PLATE = '"""nn: the blocks.\n\n    a ──► b\n\nMay enter: tensors.\n"""\n'
SOUND = {
    "__init__.py": '__version__ = "1"\n',
    "nn/__init__.py": PLATE,
    "nn/block.py": "from chiasm.base import x\nfrom urllib.parse import quote\n",
    "cli.py": "import chiasm\nfrom chiasm.recipes import life\n",
}
NINE = ", ".join(f"a{i}" for i in range(9))
LONG = "def f():\n" + "    x = 1\n" * 60
LATER, HOME = "to-do".replace("-", "").upper(), "/" + "home"  # else this very file is at fault
FAULTS = [
    ("nn/x.py", "from chiasm.models import vit", "nn/x.py:1: nn imports chiasm.models.vit"),
    ("nn/x.py", "def f():\n    import chiasm.training.trainer", "x.py:2: nn imports chiasm.tr"),
    ("nn/x.py", "from ..inputs.batch import pack", "nn imports chiasm.inputs.batch.pack (inputs)"),
    ("nn/x.py", "from .. import data", "nn imports chiasm.data (data)"),
    ("nn/x.py", "from chiasm import cli", "nn imports chiasm.cli (cli)"),
    ("nn/x.py", "import chiasm", "nn imports chiasm (face)"),
    ("nn/x.py", "import importlib as i\ni.import_module('chiasm.data')", "nn imports chiasm.data"),
    ("nn/x.py", "import importlib\nimportlib.import_module(name)", "name is computed"),
    ("nn/x.py", "from chiasm.base.doors import lazily\nlazily('chiasm.data', {})", "is computed"),
    ("nn/deep/__init__.py", PLATE + "from chiasm.models import vit", "nn imports chiasm.models"),
    ("training/__init__.py", PLATE + "import chiasm.models.vit", "training imports chiasm.models"),
    ("nn/x.py", "import urllib.request", "only base/fetch.py touches the network"),
    ("nn/x.py", "from urllib import request", "only base/fetch.py touches the network"),
    ("nn/x.py", "def f():\n    from huggingface_hub import x", "touches the network"),
    ("nn/x.py", "import pickle", "uses pickle"),
    ("nn/x.py", "from pickle import loads", "uses pickle.loads"),
    ("nn/x.py", "import torch as t\nt.load('x')", "x.py:2: uses torch.load"),
    ("nn/x.py", "from torch import load as read", "uses torch.load"),
    ("nn/x.py", "import yaml\nyaml.load(x)", "use yaml.safe_load"),
    ("nn/x.py", "import numpy\nnumpy.load(x, allow_pickle=True)", "allow_pickle"),
    ("nn/x.py", "eval('1')", "uses eval"),
    ("nn/x.py", "def f():\n    exec(x)", "x.py:2: uses exec"),
    ("nn/x.py", "hasattr(a, 'b')", "uses hasattr"),
    ("nn/x.py", "raise NotImplementedError", "finish it"),
    ("nn/x.py", f"# {LATER} later", "belongs in an issue"),
    ("nn/x.py", f"p = '{HOME}/someone/x'", "somebody's machine"),
    ("nn/x.py", "x = 1\n" * 401, "401 lines; a file has at most 400"),
    ("nn/x.py", LONG, "f has 61 lines; at most 60"),
    ("nn/x.py", f"def f({NINE}): pass", "f has 9 arguments; at most 8"),
    ("nn/x.py", f"def f({NINE[4:]}, *many): pass", "f has 9 arguments"),
    ("nn/x.py", f"class C:\n    @staticmethod\n    def f({NINE}): pass", "f has 9 arguments"),
    ("nn/utils.py", "", "nothing is called utils"),
    ("nn/common/__init__.py", PLATE, "nothing is called common"),
    ("kitchen/__init__.py", PLATE, "kitchen: is no room of this house"),
    ("tools.py", "", "tools.py: is no room of this house"),
    ("nn/__init__.py", '"""nn: the blocks."""', "nn: has no door plate"),
    ("nn/__init__.py", '"""nn.\n\nThe blocks,\nall of them.\n"""', "nn: has no door plate"),
    ("data/more.py", "", "data: has no door plate"),
    ("nn/weights.bin", "", "is neither Python nor declared"),
]


def build(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "chiasm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "chiasm"


@pytest.mark.parametrize(("name", "text", "expected"), FAULTS)
def test_a_fault_is_reported(tmp_path: Path, name: str, text: str, expected: str) -> None:
    found = violations(build(tmp_path, {**SOUND, name: text}))
    assert len(found) == 1 and expected in found[0], found


def test_what_is_allowed_is_not_reported(tmp_path: Path) -> None:
    eight = NINE[4:]
    fine = (
        "from . import block\nfrom chiasm import __version__\nimport numpy\n"
        f"class C:\n    def f(self, {eight}): self.eval()\n"
        'def g():\n    """' + "one\n" * 70 + '    """\n' + "    x = 1\n" * 59
    )
    door = "import importlib\n__getattr__ = lazily(__name__, {'Block': 'block'})\n"
    door += "importlib.import_module(f'{__name__}.block')\n"
    fetch = {"base/__init__.py": PLATE, "base/fetch.py": "import urllib.request\n"}
    house = {**SOUND, **fetch, "nn/fine.py": fine, "nn/__init__.py": PLATE + door}
    assert violations(build(tmp_path, house)) == []


def test_the_table_of_rooms_has_no_cycle() -> None:
    done: set[str] = set()
    while len(done) < len(ALLOWED):
        free = {room for room, may in ALLOWED.items() if room not in done and may <= done}
        assert free, f"a cycle among {sorted(set(ALLOWED) - done)}"
        done |= free
