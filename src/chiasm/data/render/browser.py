"""One headless browser kept alive in each process, for pages that are shown as pictures.

    HTML ─► Browser.show ─► PNG, and a box per element that carries `data-n`

The page cannot reach the network; its letters come from our own fonts. The browser is one that is there
already: CHIASM_BROWSER names it, or it is found on PATH.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.util import Finalize
from typing import Any

from chiasm.base.errors import UserError
from chiasm.data.render.paper import FACES, font_folder, needed

VARIABLE = "CHIASM_BROWSER"
NAMES = (
    *("chromium-headless-shell", "chrome-headless-shell", "headless_shell", "chromium"),
    *("chromium-browser", "google-chrome", "google-chrome-stable"),
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--no-first-run", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--disable-lcd-text", "--font-render-hinting=none", "--force-device-scale-factor=1"),
)
FONTS = ("sans", "sans bold", "serif", "serif bold", "mono", "times", "times bold")
SLOWEST = 20_000
"""Milliseconds that one page may take: it takes 50."""

_BOXES = """() => Array.from(document.querySelectorAll('[data-n]'), element => {
    const box = element.getBoundingClientRect();
    return [element.dataset.n, box.left, box.top, box.right, box.bottom];
})"""
_FILL = """async ([style, body]) => {
    document.getElementById('style').textContent = style;
    document.body.innerHTML = body;
    window.scrollTo(0, 0);
    await document.fonts.ready;
}"""


def executable() -> str:
    """Return the browser's path; raises UserError, saying how to get one, where there is none."""
    named = os.environ.get(VARIABLE)
    if named:
        if shutil.which(named) is None:
            raise UserError(f"{VARIABLE} names {named}, which is no program that can be run.")
        return named
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise UserError(
        "Screenshots need a browser, and none of Chromium's names is on the PATH: apt-get install "
        f"chromium-headless-shell, or set {VARIABLE} to a Chromium's path."
    )


def needs_browser() -> None:
    """Raise UserError where playwright, a browser or the fonts are missing."""
    with needed("playwright", "Screenshots"):
        import playwright.sync_api  # noqa: F401
    executable()
    font_folder()


@dataclass
class Browser:
    """A page of a running browser that shows one HTML body after another."""

    page: Any
    _ends: Any
    _size: tuple[int, int] = (0, 0)

    def show(
        self, style: str, body: str, size: tuple[int, int]
    ) -> tuple[bytes, Mapping[str, tuple[float, float, float, float]]]:
        """Return the PNG of a page of `size` pixels, and left, top, right, bottom by `data-n`."""
        if size != self._size:
            self.page.set_viewport_size({"width": size[0], "height": size[1]})
            self._size = size
        self.page.evaluate(_FILL, [style, body])
        boxes = {
            name: (left, top, right, bottom) for name, left, top, right, bottom in self._boxes()
        }
        picture: bytes = self.page.screenshot(type="png", animations="disabled", caret="hide")
        return picture, boxes

    def _boxes(self) -> list[tuple[str, float, float, float, float]]:
        return [tuple(row) for row in self.page.evaluate(_BOXES)]

    def close(self) -> None:
        """End the browser."""
        self._ends()


_OPEN: dict[int, Browser] = {}
"""The browser of this process, by its number: a forked child must not talk to its parent's."""


def browser() -> Browser:
    """Return this process's browser, started when it is first asked for; it ends with the process."""
    if os.getpid() not in _OPEN:
        _OPEN.clear()
        _OPEN[os.getpid()] = _started()
    return _OPEN[os.getpid()]


def close_browser() -> None:
    """End this process's browser, if there is one: until then, asyncio.run cannot be called here."""
    if os.getpid() in _OPEN:
        _OPEN[os.getpid()].close()


def _started() -> Browser:
    with needed("playwright", "Screenshots"):
        from playwright.sync_api import Error, sync_playwright

    driver = sync_playwright().start()
    try:
        chromium = driver.chromium.launch(
            executable_path=executable(), args=list(FLAGS), headless=True, timeout=SLOWEST
        )
        context = chromium.new_context(
            offline=True, service_workers="block", device_scale_factor=1, locale="en-US"
        )
        page = context.new_page()
        page.set_default_timeout(SLOWEST)
        page.set_content(_blank())
        page.evaluate("async () => { for (const face of document.fonts) await face.load(); }")
    except Error as error:
        driver.stop()
        told = str(error).splitlines()[0].rstrip(".")
        raise UserError(
            f"The browser {executable()} does not start ({told}): try another one."
        ) from None

    def ends() -> None:
        _OPEN.pop(os.getpid(), None)
        chromium.close()
        driver.stop()

    opened = Browser(page, ends)
    # Not atexit: a worker of a process pool leaves without it.
    opened._ends = Finalize(opened, ends, exitpriority=10)
    return opened


def _blank() -> str:
    """An empty page that has our fonts within itself: they are loaded once."""
    faces = []
    for name in FONTS:
        data = base64.b64encode((font_folder() / FACES[name]).read_bytes()).decode()
        family, _, weight = name.partition(" ")
        faces.append(
            f"@font-face{{font-family:{family}-own;font-weight:{weight or 'normal'};"
            f"src:url(data:font/ttf;base64,{data})}}"
        )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><style>{"".join(faces)}</style>'
        '<style id="style"></style></head><body></body></html>'
    )
