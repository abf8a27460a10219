r"""Formulas by chance, each written twice: in LaTeX, which is the answer, and in Typst's own notation.

Random ─► Formula(latex=r"\frac{a}{2}", typst="frac(a, 2)", parts={"fraction"}) ─► equations.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

PARTS = ("fraction", "root", "sum", "integral", "matrix", "limit", "Greek letter")
"""What a question may ask for."""


@dataclass(frozen=True)
class Formula:
    """One formula in two notations, and which of PARTS it has."""

    latex: str
    typst: str
    parts: frozenset[str] = frozenset()


_LETTERS = "abcdfghkmnpqrstuvwxyz"
_GREEK = (
    *("alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "nu", "xi", "pi", "rho", "sigma"),
    *("tau", "omega", "Gamma", "Delta", "Omega", "Phi", "Psi", "Sigma"),
)
_RELATIONS = (
    *(("=", "="), ("=", "="), ("=", "="), (r"\leq", "<="), (r"\geq", ">=")),
    *(("<", "<"), (r"\approx", "approx"), (r"\neq", "!=")),
)


def _of(latex: str, typst: str, *inside: Formula, part: str = "") -> Formula:
    """A formula made of others: `@` in both texts stands for them, one after another."""
    for formula in inside:
        latex = latex.replace("@", formula.latex, 1)
        typst = typst.replace("@", formula.typst, 1)
    parts = frozenset().union(*(formula.parts for formula in inside), [part] if part else [])
    return Formula(latex, typst, parts)


def letter(rng: Random) -> Formula:
    """Return a letter, Latin or Greek."""
    if rng.random() < 0.22:
        name = rng.choice(_GREEK)
        return Formula(rf"\{name}", name, frozenset({"Greek letter"}))
    name = rng.choice(_LETTERS)
    return Formula(name, name)


def atom(rng: Random) -> Formula:
    """Return a number, or a letter with or without an index."""
    chance = rng.random()
    if chance < 0.3:
        return _of(number := str(rng.randint(2, 20)), number)
    if chance < 0.45:
        index = rng.choice("ijkn0123")
        return _of(f"@_{{{index}}}", f"@_{index}", letter(rng))
    return letter(rng)


def term(rng: Random, depth: int) -> Formula:
    """Return one factor: an atom, or something with formulas inside it as deep as `depth` allows."""
    if depth <= 0 or rng.random() < 0.3:
        return atom(rng)
    return rng.choice(_TERMS)(rng, depth - 1)


def expression(rng: Random, depth: int) -> Formula:
    """Return one to three terms with signs, or side by side, between them."""
    whole = term(rng, depth)
    for _ in range(rng.choice((0, 1, 1, 2))):
        sign, other = (
            rng.choice((("+", "+"), ("-", "-"), (r"\cdot", "dot.op"))),
            term(rng, depth - 1),
        )
        whole = _of(f"@ {sign[0]} @", f"@ {sign[1]} @", whole, other)
    return whole


def _power(rng: Random, depth: int) -> Formula:
    if rng.random() < 0.5:
        return _of("@^{" + (n := rng.choice("2345n")) + "}", f"@^{n}", letter(rng))
    return _of("@^{@}", "@^(@)", letter(rng), expression(rng, min(depth, 0)))


def _fraction(rng: Random, depth: int) -> Formula:
    above, below = expression(rng, depth), expression(rng, depth)
    return _of(r"\frac{@}{@}", "frac(@, @)", above, below, part="fraction")


def _root(rng: Random, depth: int) -> Formula:
    inside = expression(rng, depth)
    if rng.random() < 0.3:
        degree = rng.choice("345n")
        return _of(rf"\sqrt[{degree}]{{@}}", f"root({degree}, @)", inside, part="root")
    return _of(r"\sqrt{@}", "sqrt(@)", inside, part="root")


def _brackets(rng: Random, depth: int) -> Formula:
    inside = expression(rng, depth)
    if rng.random() < 0.3:
        n = rng.choice("234n")
        return _of(rf"\left( @ \right)^{{{n}}}", f"(@)^{n}", inside)
    left, right = rng.choice((("(", ")"), ("[", "]"), ("|", "|")))
    typst = "abs(@)" if left == "|" else f"{left}@{right}"
    return _of(rf"\left{left} @ \right{right}", typst, inside)


def _function(rng: Random, depth: int) -> Formula:
    name = rng.choice(("sin", "cos", "tan", "log", "ln", "exp"))
    return _of(rf"\{name} \left( @ \right)", f"{name} (@)", expression(rng, depth))


def _sum(rng: Random, depth: int) -> Formula:
    sign, name, part = rng.choice(
        ((r"\sum", "sum", "sum"), (r"\sum", "sum", "sum"), (r"\prod", "product", ""))
    )
    index, first = rng.choice("ijkn"), rng.choice("01")
    last, end = rng.choice((("n", "n"), ("N", "N"), (r"\infty", "infinity"), ("10", "10")))
    base = rng.choice("abxyz")
    inside = rng.choice(
        (
            Formula(f"{base}_{{{index}}}", f"{base}_{index}"),
            Formula(f"{base}^{{{index}}}", f"{base}^{index}"),
            Formula(
                rf"\frac{{1}}{{{index}^{{2}}}}", f"frac(1, {index}^2)", frozenset({"fraction"})
            ),
        )
    )
    return _of(
        f"{sign}_{{{index}={first}}}^{{{last}}} @",
        f"{name}_({index}={first})^({end}) @",
        inside,
        part=part,
    )


def _integral(rng: Random, depth: int) -> Formula:
    variable, inside = rng.choice("xtuyz"), expression(rng, min(depth, 1))
    low, high = rng.choice((("0", "1"), ("a", "b"), ("-1", "1"), ("0", r"\infty"), ("0", r"\pi")))
    limits = {"\\infty": "infinity", "\\pi": "pi"}
    greek = frozenset({"Greek letter"}) if high == r"\pi" else frozenset[str]()
    return _of(
        rf"\int_{{{low}}}^{{{high}}} @ \, d{variable}",
        f"integral_({low})^({limits.get(high, high)}) @ thin d {variable}",
        Formula(inside.latex, inside.typst, inside.parts | greek),
        part="integral",
    )


def _limit(rng: Random, depth: int) -> Formula:
    variable = rng.choice("xnth")
    to, typst = rng.choice((("0", "0"), (r"\infty", "infinity"), ("1", "1")))
    return _of(
        rf"\lim_{{{variable} \to {to}}} @",
        f"lim_({variable} -> {typst}) @",
        term(rng, depth),
        part="limit",
    )


def _derivative(rng: Random, depth: int) -> Formula:
    above, below = rng.choice("fguvyz"), rng.choice("xt")
    sign, typst = rng.choice((("d", "d "), (r"\partial ", "partial ")))
    return _of(
        rf"\frac{{{sign}{above}}}{{{sign}{below}}}",
        f"frac({typst}{above}, {typst}{below})",
        part="fraction",
    )


def _accent(rng: Random, depth: int) -> Formula:
    latex, typst = rng.choice(
        (("hat", "hat"), ("vec", "arrow"), ("dot", "dot"), ("tilde", "tilde"))
    )
    name = rng.choice("abcnpuvwxyz")
    return Formula(rf"\{latex}{{{name}}}", f"{typst}({name})")


def _choose(rng: Random, depth: int) -> Formula:
    above, below = rng.choice("nmN"), rng.choice("kij2")
    return Formula(rf"\binom{{{above}}}{{{below}}}", f"binom({above}, {below})")


_TERMS: tuple[Callable[[Random, int], Formula], ...] = (
    *(_power, _power, _fraction, _fraction, _root, _brackets, _function, _sum, _integral),
    *(_limit, _derivative, _accent, _choose),
)


def matrix(rng: Random) -> Formula:
    """Return a matrix of numbers and letters, two or three each way."""
    rows = [[atom(rng) for _ in range(rng.choice((2, 3)))]]
    rows += [[atom(rng) for _ in rows[0]] for _ in range(rng.choice((1, 2)))]
    kind, delimiter = rng.choice((("pmatrix", "("), ("bmatrix", "["), ("vmatrix", "|")))
    latex = r" \\ ".join(" & ".join(cell.latex for cell in row) for row in rows)
    typst = "; ".join(", ".join(cell.typst for cell in row) for row in rows)
    parts = frozenset({"matrix"}).union(*(cell.parts for row in rows for cell in row))
    return Formula(
        rf"\begin{{{kind}}} {latex} \end{{{kind}}}", f'mat(delim: "{delimiter}", {typst})', parts
    )


def _law(latex: str, typst: str, *parts: str) -> Formula:
    return Formula(latex, typst, frozenset(parts))


LAWS = (
    _law("E = m c^{2}", "E = m c^2"),
    _law(r"F = G \frac{m_{1} m_{2}}{r^{2}}", "F = G frac(m_1 m_2, r^2)", "fraction"),
    _law(r"a^{2} + b^{2} = c^{2}", "a^2 + b^2 = c^2"),
    _law(
        r"x = \frac{-b \pm \sqrt{b^{2} - 4 a c}}{2 a}",
        "x = frac(-b plus.minus sqrt(b^2 - 4 a c), 2 a)",
        *("fraction", "root"),
    ),
    _law(r"e^{i \pi} + 1 = 0", "e^(i pi) + 1 = 0", "Greek letter"),
    _law(
        r"T = 2 \pi \sqrt{\frac{l}{g}}",
        "T = 2 pi sqrt(frac(l, g))",
        "fraction",
        "root",
        "Greek letter",
    ),
    _law(r"p V = n R T", "p V = n R T"),
    _law(r"\lambda = \frac{h}{m v}", "lambda = frac(h, m v)", "fraction", "Greek letter"),
    _law(r"E = \frac{1}{2} m v^{2}", "E = frac(1, 2) m v^2", "fraction"),
    _law(
        r"\nabla \cdot E = \frac{\rho}{\epsilon_{0}}",
        "nabla dot.op E = frac(rho, epsilon.alt_0)",
        "fraction",
        "Greek letter",
    ),
    _law(r"\sin^{2} x + \cos^{2} x = 1", "sin^2 x + cos^2 x = 1"),
    _law(
        r"\frac{1}{f} = \frac{1}{g} + \frac{1}{b}",
        "frac(1, f) = frac(1, g) + frac(1, b)",
        "fraction",
    ),
    _law(r"A = \pi r^{2}", "A = pi r^2", "Greek letter"),
    _law(r"S = k \ln W", "S = k ln W"),
    _law(
        r"\sum_{k=1}^{n} k = \frac{n (n + 1)}{2}",
        "sum_(k=1)^n k = frac(n (n + 1), 2)",
        "sum",
        "fraction",
    ),
    _law(
        r"f'(x) = \lim_{h \to 0} \frac{f(x + h) - f(x)}{h}",
        "f'(x) = lim_(h -> 0) frac(f(x + h) - f(x), h)",
        "limit",
        "fraction",
    ),
)
"""Formulas that everybody knows."""


def formula(rng: Random, *, matrices: bool) -> Formula:
    """Return a relation of two expressions, an equation with a matrix, or one of LAWS."""
    if rng.random() < 0.06:
        return rng.choice(LAWS)
    if matrices and rng.random() < 0.2:
        left = Formula(name := rng.choice("ABMXR"), name)
        if rng.random() < 0.4:
            return _of("@ @ = @", "@ @ = @", matrix(rng), _vector(rng), _vector(rng))
        return _of("@ = @", "@ = @", left, matrix(rng))
    latex, typst = rng.choice(_RELATIONS)
    left = letter(rng) if rng.random() < 0.6 else term(rng, 1)
    return _of(f"@ {latex} @", f"@ {typst} @", left, expression(rng, rng.choice((1, 2, 2))))


def _vector(rng: Random) -> Formula:
    cells = [letter(rng) for _ in range(rng.choice((2, 3)))]
    latex = r" \\ ".join(cell.latex for cell in cells)
    typst = "; ".join(cell.typst for cell in cells)
    parts = frozenset({"matrix"}).union(*(cell.parts for cell in cells))
    return Formula(rf"\begin{{pmatrix}} {latex} \end{{pmatrix}}", f"mat({typst})", parts)
