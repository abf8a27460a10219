"""An independent reader of drawn text: tesseract, which knows nothing of what was drawn."""

import io
import os
import re
import shutil
import subprocess
from collections import Counter

import pytest
from PIL import Image

needs_reader = pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not here")


def opened(drawn):
    return Image.open(io.BytesIO(drawn.data)).convert("L")


def read(image, layout=6):
    """Return the text of a grey picture; layout 6 is one block, 7 one line, 11 words anywhere."""
    out = io.BytesIO()
    image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC).save(out, "PNG")
    done = subprocess.run(
        ["tesseract", "-", "-", "--psm", str(layout), "-l", "eng"],
        input=out.getvalue(),
        capture_output=True,
        check=True,
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        timeout=60,
    )
    return " ".join(done.stdout.decode().split())


def words_of(text):
    return Counter(re.findall(r"[A-Za-z0-9]+(?:[.:@-][A-Za-z0-9]+)*", text))


def recall(truth, seen):
    """Which share of the truth's words was read, as often as they stand there."""
    wanted = words_of(truth)
    return sum((wanted & words_of(seen)).values()) / sum(wanted.values())
