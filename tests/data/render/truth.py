"""What the tests of all renderers ask: are answers right, others wrong, bytes the same elsewhere?"""

import random
import subprocess
import sys
from hashlib import sha256
from importlib import import_module

from chiasm.data.render.chart_data import chart_data
from chiasm.data.render.chart_questions import Reading, about_chart
from chiasm.evaluation.verify import right

_ELSEWHERE = """
import sys
sys.path[:0] = {paths!r}
from tests.data.render.truth import digest
print(digest({module!r}))
"""


def draw(kind, number, library=None, seed="test"):
    return kind.draw(random.Random(f"{seed}/{kind.name}/{number}"), library or {})


def every_answer_is_right_and_others_are_wrong(drawn):
    """The answer of each question passes its own check, and what is surely something else does not."""
    assert drawn.questions
    for question in drawn.questions:
        assert right(question.check, question.answer), question
        for wrong in others(question):
            assert not right(question.check, wrong), (question, wrong)


def others(question):
    """Answers that are wrong whatever was drawn."""
    check, answer = question.check, question.answer
    match check["how"]:
        case "number":
            return [str(check["value"] * 1.3 + 1), "I cannot tell"]
        case "yes_no":
            return ["No" if check["value"] else "Yes"]
        case "table" | "graph":
            lines = answer.splitlines()
            return ["\n".join(lines[: -1 - ("</table>" in answer)]), lines[0]]
        case "words":
            named = [w for w in check.get("among", ()) if w not in check["accept"]]
            return [*named[:3], "nothing", *([] if named else [answer + " 7"])]
        case "names":
            return [check["names"][0] if len(check["names"]) > 1 else "nobody", answer + ", Xanadu"]
        case "latex":
            return [answer + " + 1", answer[: len(answer) // 2]]
        case "text":
            return [answer[: int(len(answer) * 0.8) - 1], answer[::-1] + "!"]
        case "box":
            return ["[0.0, 0.0, 0.01, 0.01]", "nowhere"]
        case "element":
            return ["<b>else</b>"]
    raise AssertionError(f"what would be wrong for {check['how']}?")


def asked_of(chance):
    """Questions about an invented chart that nobody drew."""
    several = chance.random() < 0.5
    data = chart_data(chance, {}, several=several, in_time=chance.random() < 0.5)
    return about_chart(chance, data, Reading(True, 0, 1), most=12)


def digest(module):
    """A hash over one picture of every third kind of a module, and all that is said of it."""
    whole = sha256()
    for kind in import_module(module).KINDS[::3]:
        drawn = draw(kind, 5)
        whole.update(drawn.data)
        whole.update(repr((drawn.truth, drawn.questions, drawn.style)).encode())
    return whole.hexdigest()


def same_in_another_process(module):
    """Draw in this process, which drew before, and in a new one with another seed of hashes."""
    script = _ELSEWHERE.format(paths=sys.path, module=module)
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout.strip() == digest(module)
