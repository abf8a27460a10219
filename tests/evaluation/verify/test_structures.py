"""Tables, flowcharts, formulas, texts and elements: the same thing in another spelling is right."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.evaluation.verify import right
from chiasm.evaluation.verify.tables import parsed
from chiasm.evaluation.verify.text import distance

SALES = {"how": "table", "rows": [["Year", "Sales"], ["2019", "1,250.0"], ["2020", "7.5 %"]]}
MARKDOWN = "| Year | Sales |\n|---|---|\n| 2019 | 1250 |\n| 2020 | 7.5% |"
HTML = (
    "<table><thead><tr><th>Year</th><th>Sales</th></tr></thead><tr><td>2019<td>1250.00</tr>"
    "<tr><td>2020</td><td>7.5 %</td></tr></table>"
)
SPAN = {"how": "table", "header": False, "rows": [["a", "a"], ["b", "c"], ["b", "d"]]}
FLOW = {
    "how": "graph",
    "nodes": {"a": "Start", "b": "Valid?", "c": "Save it", "d": "End"},
    "edges": [["a", "b", ""], ["b", "c", "yes"], ["b", "d", "no"], ["c", "d", ""]],
}
CHART = """flowchart TD
    x1([Start]) --> x2{Valid?}
    x2 -->|yes| x3[Save it] --> x4((End))
    x2 -- no --> x4
"""
TIE = {
    "how": "graph",
    "nodes": {"a": "A", "b": "B"},
    "edges": [["a", "b", ""]],
    "directed": False,
}
FORMULA = {"how": "latex", "text": r"\frac{a}{b} \leq x_{1}^2"}
PAGE = {"how": "text", "text": "Total: 12.50 EUR\nThank you", "errors": 0.1}
EXACT = {**PAGE, "errors": 0.0}
BUTTON = {
    "how": "element",
    "html": '<button id="go" class="big" type="submit">Save <b>all</b></button>',
}
LINK = {"how": "element", "html": '<a href="/a?x=1&amp;y=2">More</a>'}
CHOOSE = {
    "how": "element",
    "html": '<select name="c"><option value="1" selected>One<option value="2">Two</select>',
}

RIGHT: list[tuple[dict[str, Any], str]] = [
    *(
        (SALES, text)
        for text in (MARKDOWN, HTML, f"Here it is:\n\n```markdown\n{MARKDOWN}\n```\nDone.")
    ),
    *(
        (SALES, text)
        for text in (MARKDOWN.replace("| ", "|").replace(" |", "|"), f"Sure!\n{MARKDOWN}")
    ),
    (SALES, MARKDOWN.replace("Year", "**year**").replace("|\n", "\n")),
    ({**SALES, "relative": 0.1}, MARKDOWN.replace("1250", "1300")),
    ({**SALES, "any_order": True}, "| Year | Sales |\n|---|--:|\n| 2020 | 7.5% |\n| 2019 | 1250 |"),
    (SPAN, "<table><tr><td colspan=2>a<tr><td rowspan=2>b<td>c<tr><td>d</table>"),
    (SPAN, "| | |\n|---|---|\n|a|a|\n|b|c|\n|b|d|"),
    ({"how": "table", "rows": [["x|y"], ["1"]]}, "| x\\|y |\n|---|\n| 1 |"),
    *(
        (FLOW, text)
        for text in (CHART, f"```mermaid\n{CHART}```", CHART.replace("Start", '"Start"'))
    ),
    (
        FLOW,
        "graph LR; a[Start]-->b[Valid?]; b-- no -->d[End]; b == yes ==> c[save<br>it]; c-.->d",
    ),
    (FLOW, CHART.replace("TD", "LR\n %% notes\n classDef x fill:#fff\n subgraph one") + " end"),
    (
        {**FLOW, "edges": [["a", "c", ""], ["b", "c", ""], ["c", "d", ""]]},
        "flowchart TB\na[Start] & b[Valid?] --> c[Save it] --> d[End]",
    ),
    (TIE, "graph LR\nx[B] --- y[A]"),
    *((FORMULA, text) for text in (r"\frac{a}{b}\le x_1^2", r"$$\dfrac a b \leq x^{2}_{1}.$$")),
    *(
        (FORMULA, text)
        for text in (r"The formula is $\frac{a}{b} \leq x_1^2$.", r"\[ \frac ab \le x_1^{2} \]")
    ),
    (FORMULA, "```latex\n\\begin{equation}\n\\frac{a}{b} \\, \\le x_1^2\n\\end{equation}\n```"),
    ({"how": "latex", "text": r"\left( f'(x) \right)"}, r"(f^{\prime}(x))"),
    (
        {"how": "latex", "text": r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"},
        r"$\begin{pmatrix}1&2\\3&4\end{pmatrix}$",
    ),
    *(
        (PAGE, text)
        for text in (
            "Total: 12.50 EUR Thank you",
            "Tota1: 12.50 EUR\nThank you",
            "```\nTotal: 12.50 EUR\nThank you\n```",
        )
    ),
    *((EXACT, text) for text in ("Total: 12.50 EUR\nThank you", '"Total: 12.50 EUR   Thank you"')),
    ({**EXACT, "case": False}, "TOTAL: 12.50 eur thank you"),
    ({**EXACT, "spaces": True}, "Total: 12.50 EUR\nThank you"),
    *(
        (BUTTON, text)
        for text in (
            "<button type=submit id=go>Save all</button>",
            'It is\n```html\n<button id="go" type="submit" style="x">\n  Save all\n</button>\n```',
        )
    ),
    (LINK, "<a class='z' href='/a?x=1&y=2'>More</a>"),
    (
        CHOOSE,
        '<select name="c"><option selected value="1">One</option> <option value=2>Two</option></select>',
    ),
    ({"how": "element", "html": '<input type="text" name="q">'}, '<input name="q" />'),
]
WRONG: list[tuple[dict[str, Any], str]] = [
    *(
        (SALES, text)
        for text in ("", "no table", MARKDOWN.replace("1250", "1251"), f"{MARKDOWN}\n\n{MARKDOWN}")
    ),
    *(
        (SALES, text)
        for text in (MARKDOWN.replace("7.5%", "7.5"), MARKDOWN.replace("Sales", "Sale"))
    ),
    *(
        (SALES, text)
        for text in (MARKDOWN[:-18], f"{MARKDOWN}\n| 2021 | 3 |", HTML.replace("1250", "12500"))
    ),
    (SALES, "| Year | Sales |\n|---|---|\n| 2020 | 7.5% |\n| 2019 | 1250 |"),
    (SALES, "| Sales | Year |\n|---|---|\n| 1250 | 2019 |\n| 7.5% | 2020 |"),
    ({**SALES, "relative": 0.1}, MARKDOWN.replace("1250", "1400")),
    ({**SALES, "any_order": True}, "| Year | Sales |\n|---|--:|\n| 2020 | 7.5% |\n| 2020 | 7.5% |"),
    (SPAN, "<table><tr><td>a<td rowspan=2>a<tr><td>b<td>c<tr><td>b<td>d</table>"),
    *((FLOW, text) for text in ("", "Start then Valid?", CHART.replace("yes", "no"), CHART * 2)),
    *(
        (FLOW, text)
        for text in (CHART.replace("-- no -->", "-->"), CHART.replace("Save it", "Save"))
    ),
    *(
        (FLOW, text)
        for text in (CHART.replace("x2 -- no --> x4", "x4 -- no --> x2"), CHART + "x9[New]\n")
    ),
    *(
        (FLOW, text)
        for text in (CHART + "x1 --> x4\n", CHART.replace("x1([Start]) -->", "x1([Start]) ---"))
    ),
    *((TIE, text) for text in ("graph LR\nx[B]\ny[A]", "graph LR\nx[B] --- z[C]")),
    *(
        (FORMULA, text)
        for text in ("", r"\frac{b}{a} \leq x_1^2", r"\frac{a}{b} < x_1^2", "a/b <= x_1^2")
    ),
    *(
        (FORMULA, text)
        for text in (r"\frac{a}{b} \leq x_{12}", r"\frac{a}{b} \leq x^2", r"\frac{a}{b \leq x_1^2")
    ),
    *(
        (FORMULA, text)
        for text in (
            r"$\frac{a}{b} \leq x_1^2$ or $\frac{a}{b} \geq x_1^2$",
            r"\frac{a}{b} \leq {x_1}^3",
        )
    ),
    *((PAGE, text) for text in ("", "Total: 12.50 EUR", "Total 99.99 USD Thanks")),
    *((EXACT, text) for text in ("Total: 12.50 EUR Thank yo", "total: 12.50 EUR Thank you")),
    ({**EXACT, "spaces": True}, "Total: 12.50 EUR Thank you"),
    *(
        (BUTTON, text)
        for text in (
            "",
            "Save all",
            "<a id=go type=submit>Save all</a>",
            "<button id=go>Save all</button>",
        )
    ),
    *(
        (BUTTON, text)
        for text in (
            "<button id=go type=submit>Save</button>",
            "<button id=no type=submit>Save all</button>",
        )
    ),
    (
        BUTTON,
        "<button id=go type=submit>Save all</button><button id=go type=submit>Save all</button>",
    ),
    *(
        (LINK, text)
        for text in ("<a>More</a>", "<a href='/a?x=1'>More</a>", "<a href='/a?x=1&y=2'>Less</a>")
    ),
    (
        CHOOSE,
        '<select name="c"><option value="1">One</option><option value=2 selected>Two</option></select>',
    ),
    (CHOOSE, '<select name="c"><option value="1" selected>One</option></select>Two'),
]


@pytest.mark.parametrize(
    ("check", "answer"), RIGHT, ids=lambda v: "" if isinstance(v, str) else v["how"]
)
def test_right_answers_in_free_words(check: dict[str, Any], answer: str) -> None:
    assert right(check, answer)


@pytest.mark.parametrize(
    ("check", "answer"), WRONG, ids=lambda v: "" if isinstance(v, str) else v["how"]
)
def test_near_misses_are_wrong(check: dict[str, Any], answer: str) -> None:
    assert not right(check, answer)


def slow_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


@given(st.text("abc", max_size=80), st.text("abc", max_size=80))
def test_distance_is_that_of_the_table(one: str, other: str) -> None:
    assert distance(one, other) == slow_distance(one, other)


CELLS = st.text("ab 1.|%-", max_size=5).map(str.strip)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=2, max_size=4))
def test_a_written_table_is_read_back(rows: list[list[str]]) -> None:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    text = "\n".join([lines[0], "|---|---|", *lines[1:]])
    assert right({"how": "table", "rows": rows}, text)


HOSTILE = (
    *("<table>" * 7000, "|" * 45000, "<td colspan=999999999>" * 99, "[" * 45000, "{" * 45000),
    *("\\[" * 20000, "-- " * 15000, "A -- x " * 7000, "answer " * 7000, "answer" + " " * 45000),
    *("1" * 45000, "9" * 400, "1," * 20000, "1e99" * 9000, "hundred " * 6000, "one " * 12000),
    *(
        "<!" * 20000,
        "<a " * 15000,
        "&" * 45000,
        "$" * 45000,
        "$x" * 20000,
        "```" * 15000,
        "\0" * 45000,
    ),
    *(
        "[0.1, " * 7000,
        "1" * 300 + "," + "1" * 300,
        "the " * 12000,
        "<input" * 7000,
        "<a b='" * 5000 + ">" * 5000,
        "<!--" * 10000,
        "<a " * 9000 + ">" * 9000,
    ),
)
CHECKS = (
    *(
        SALES,
        FLOW,
        FORMULA,
        PAGE,
        BUTTON,
        {"how": "number", "value": 3},
        {"how": "yes_no", "value": True},
    ),
    {"how": "box", "box": [0.1, 0.1, 0.2, 0.2]},
    {"how": "names", "names": ["red", "blue"], "among": ["green"]},
    {"how": "choice", "options": ["red", "blue"], "value": "B"},
)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:12]))
def test_a_hostile_answer_is_wrong_and_quick(text: str) -> None:
    for check in CHECKS:
        start = time.process_time()
        assert not right(check, text)
        assert time.process_time() - start < 2, check["how"]


def test_a_cell_spans_no_further_than_its_table() -> None:
    assert parsed("<table><tr><td rowspan=5>a</table>") == [(("a",),)]
