"""How the page looks: pictures that were looked at, and a ramp of shades that survives colour blindness.

Fonts differ between machines, so pictures are not compared pixel by pixel: both are averaged over blocks, 48
in a row, in the browser itself, and those averages may differ a little. That finds a panel that moved, a
wrong scheme and a table that is gone, not a letter. TOKENGLASS_GOLDENS=1 writes the pictures anew.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FULL
from tests.page.browser import PHONE, TABLET, WIDE, opened
from tests.page.reading import Reader
from tests.page.serving import Site

GOLDENS = Path(__file__).parent / "goldens"
WRITE = os.environ.get("TOKENGLASS_GOLDENS") == "1"
SIZES = {"wide": WIDE, "tablet": TABLET, "phone": PHONE}
# Grey values of 0 to 255. Another font moves words by some pixels, which a block's average hardly sees.
MEAN_APART, BLOCKS_APART, SHARE_APART = 6.0, 40.0, 0.05
_SHRUNK = """async (sources) => {
  const shrink = async (source) => {
    const image = new Image();
    image.src = source;
    await image.decode();
    const canvas = new OffscreenCanvas(48, Math.round(48 * image.height / image.width));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return Array.from({ length: data.length / 4 }, (_, i) => [data[4 * i], data[4 * i + 1], data[4 * i + 2]]);
  };
  return Promise.all(sources.map(shrink));
}"""


@pytest.fixture(scope="module")
def blank(browser: Any) -> Iterator[Any]:
    """An empty page, which reads pictures."""
    page = browser.new_page()
    yield page
    page.close()


def shrunk(blank: Any, *pictures: bytes) -> list[list[list[int]]]:
    """Pictures as 48 blocks a row, each (red, green, blue)."""
    sources = [f"data:image/png;base64,{base64.b64encode(picture).decode()}" for picture in pictures]
    found: list[list[list[int]]] = blank.evaluate(_SHRUNK, sources)
    return found


def looks_as_before(blank: Any, name: str, picture: bytes) -> None:
    path = GOLDENS / f"{name}.png"
    if WRITE:
        GOLDENS.mkdir(exist_ok=True)
        path.write_bytes(picture)
    old, new = shrunk(blank, path.read_bytes(), picture)
    assert len(old) == len(new), "another size"
    apart = [
        abs(a - b) for before, now in zip(old, new, strict=True) for a, b in zip(before, now, strict=True)
    ]
    assert sum(apart) / len(apart) < MEAN_APART
    assert sum(each > BLOCKS_APART for each in apart) / len(apart) < SHARE_APART


_TIMELESS = r"""() => document.querySelectorAll("span, p").forEach((each) => {
  if (each.childElementCount) return;
  each.textContent = each.textContent.replace(/\d[\d.,]* (ms|s)\b/, "… $1");
})"""


def settle(page: Any) -> None:
    """Nothing on its way, nothing focused, nothing hovered, no time of this machine in the picture."""
    page.evaluate("() => document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.evaluate("() => document.fonts.ready")
    page.evaluate(_TIMELESS)


def explored(page: Any, site: Site) -> None:
    reader = Reader(page, site)
    page.evaluate(
        """() => document.querySelector("tg-app").store.configure(
          { do_sample: true, seed: 7, temperature: 0.8, top_k: 50, top_p: 0.9 })"""
    )
    reader.until()
    n = reader.state["n"]
    reader.press(" ", by=1)
    reader.press(" ", by=1)
    reader.press("u", by=-1)
    reader.press("2", by=1)
    assert reader.state["n"] == n + 2


def written(page: Any, site: Site) -> None:
    view = page.locator("tg-strategies")
    page.evaluate("() => { location.hash = '#strategies'; }")
    view.locator(".reason").first.wait_for(timeout=60_000)


def filmed(page: Any, site: Site) -> None:
    written(page, site)
    page.get_by_role("button", name="watch it search").first.click()
    page.locator("tg-film").locator("article, .card, svg").first.wait_for(timeout=60_000)
    page.wait_for_function("() => !document.querySelector('tg-strategies .busy, tg-film .busy')")


def read(page: Any, site: Site) -> None:
    page.evaluate("() => { location.hash = '#read'; }")
    area = page.locator("tg-read textarea").first
    area.fill("The capital of France is Paris, and the capital of Peru is a sandwich.")
    area.press("Control+Enter")
    page.wait_for_function("() => /bits per byte/.test(document.querySelector('tg-read').textContent)")
    page.wait_for_function("() => !document.querySelector('tg-read .busy')")


def compared(page: Any, site: Site) -> None:
    page.evaluate("() => { location.hash = '#compare'; }")
    page.locator("tg-compare textarea").first.wait_for()
    page.locator("tg-compare textarea").first.press("Control+Enter")
    page.locator("tg-compare table").first.wait_for(timeout=60_000)
    page.wait_for_function("() => !document.querySelector('tg-compare .busy')")


def cut(page: Any, site: Site) -> None:
    page.evaluate("() => { location.hash = '#tokens'; }")
    page.locator("tg-tokens textarea").first.wait_for()
    page.wait_for_timeout(1500)


def taught(page: Any, site: Site) -> None:
    page.evaluate("() => { location.hash = '#lessons'; }")
    page.locator("tg-lessons .lead").wait_for()


VIEWS: dict[str, Callable[[Any, Site], None]] = {
    "explore": explored,
    "strategies": written,
    "film": filmed,
    "read": read,
    "compare": compared,
    "tokens": cut,
    "lessons": taught,
}
EVERY = [(view, size, scheme) for view in VIEWS for size in SIZES for scheme in ("light", "dark")]
BOTH = (("wide", "light"), ("phone", "dark"))  # the two forms that differ most
PICTURES = [each for each in EVERY if each[0] == "explore" or each[1:] in BOTH]
QUICK = [("explore", *form) for form in BOTH]


@pytest.mark.parametrize(("view", "size", "scheme"), PICTURES if FULL or WRITE else QUICK)
def test_the_page_looks_as_it_was_looked_at(
    browser: Any, blank: Any, smollm2_site: Site, view: str, size: str, scheme: str
) -> None:
    site = smollm2_site
    with opened(browser, site.url, site.home, SIZES[size], color_scheme=scheme) as page:
        page.locator("tg-explore table.next tr.rest").wait_for()
        VIEWS[view](page, site)
        settle(page)
        looks_as_before(blank, f"{view}-{size}-{scheme}", page.screenshot())


_HOTTER = """() => document.querySelector("tg-app").store.configure(
  { do_sample: true, top_k: 0, temperature: 1.5 })"""


@pytest.mark.parametrize(("size", "scheme"), BOTH)
def test_the_handed_out_file_looks_as_it_was_looked_at(
    browser: Any, blank: Any, smollm2: Any, tmp_path: Path, size: str, scheme: str
) -> None:
    session = smollm2.session("Once upon a time", do_sample=True, seed=5, top_k=20)
    session.step(3)
    session.undo(2)
    session.step(token=" and")
    path = tmp_path / "session.html"
    session.hand_out(path)
    with opened(browser, path.as_uri(), path.as_uri(), SIZES[size], color_scheme=scheme) as page:
        page.locator("tg-explore table.next tr.rest").wait_for()
        page.evaluate(_HOTTER)
        page.locator("tg-explore i[data-of=maybe]").first.wait_for()
        settle(page)
        looks_as_before(blank, f"handout-{size}-{scheme}", page.screenshot())


# ------------------------------------------------------------------------------------------------- shades

_SHADES = """() => {
  const strip = document.createElement("div");
  strip.id = "shades";
  strip.style.setProperty("position", "fixed");
  strip.style.setProperty("inset", "0 auto auto 0");
  strip.style.setProperty("z-index", "99");
  strip.style.setProperty("display", "flex");
  for (let ramp = 0; ramp < 9; ramp++) {
    const shade = document.createElement("span");
    shade.className = "shaded";
    shade.dataset.ramp = ramp;
    shade.style.setProperty("width", "40px");
    shade.style.setProperty("height", "40px");
    strip.append(shade);
  }
  document.body.append(strip);
}"""


def luminance(colour: list[int]) -> float:
    """Relative luminance, as WCAG defines it."""
    linear = [c / 12.92 if (c := part / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_ramp_survives_colour_blindness(browser: Any, blank: Any, table_site: Site, scheme: str) -> None:
    """Nine shades, seen through the filters of Chromium: each is darker (or lighter) than the one before."""
    with opened(browser, table_site.url, table_site.home, color_scheme=scheme) as page:
        page.locator("tg-explore table.next tr.rest").wait_for()
        page.evaluate(_SHADES)
        devtools = page.context.new_cdp_session(page)
        for kind in ("none", "deuteranopia", "protanopia", "tritanopia", "achromatopsia"):
            devtools.send("Emulation.setEmulatedVisionDeficiency", {"type": kind})
            picture = page.screenshot(clip={"x": 0, "y": 0, "width": 360, "height": 40})
            (blocks,) = shrunk(blank, picture)  # 48 columns, 5 and a third for each shade
            row = blocks[2 * 48 : 3 * 48]
            seen = [luminance(row[int((ramp + 0.5) * 48 / 9)]) for ramp in range(9)]
            steps = [b - a for a, b in pairwise(seen)]
            assert all(step < -0.01 for step in steps) or all(step > 0.004 for step in steps), (kind, seen)
