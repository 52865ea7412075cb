"""The report in a real browser: no request, no error, fits a phone, tips, sorting, contrast."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill.report import write_report
from tests.helpers import report_folders as made
from tests.helpers.grey_videos import Grey

pytestmark = pytest.mark.browser
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()  # fmt: skip
SIZES = {"desktop": (1280, 800), "phone": (360, 740), "laptop": (1200, 800)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind; the evaluation has frames."""
    folder = tmp_path_factory.mktemp("pages")
    root = folder / "videos"
    (root / "clips").mkdir(parents=True)
    for at in range(4, 24):
        (root / "clips" / f"video_{at}.mp4").write_text(str(10 * at))
    runs = {
        "evaluation": made.evaluation(folder / "evaluation", tables=2, root=root),
        "student": made.student(folder / "student"),
        "sweep": made.sweep(folder / "sweep"),
    }
    return {name: write_report(run, Grey()) for name, run in runs.items()}


def opened(browser: Any, path: Path, size: str, scheme: str = "light") -> tuple[Any, list[str]]:
    """A page, and what went wrong in it: console messages, errors, requests but its own."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=size == "phone"
    )
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: (
            None
            if request.url == path.as_uri() or request.url.startswith("data:")
            else wrong.append(f"request: {request.url}")
        ),
    )
    page.goto(path.as_uri())
    return page, wrong


def in_view(mark: Any) -> dict[str, float]:
    """Where a mark is, once it is in view and the page has seen itself scroll, which hides tips."""
    mark.scroll_into_view_if_needed()
    mark.page.evaluate("new Promise((go) => requestAnimationFrame(() => setTimeout(go, 50)))")
    return mark.bounding_box()


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("kind", ["evaluation", "student", "sweep"])
def test_pages_fit_and_load_nothing(
    kind: str, size: str, browser: Any, pages: dict[str, Path]
) -> None:
    page, wrong = opened(browser, pages[kind], size)
    assert page.title().endswith(f"/ {kind}")  # and no name of a video ran as a script
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
    boxes = page.evaluate(
        "[...document.querySelectorAll('svg.plot')].map((plot) => plot.getBoundingClientRect())"
        ".map((box) => [box.width, box.height])"
    )
    seen = [box for box in boxes if box[0]]
    assert len(seen) >= 3 and all(w > 90 and h > 40 for w, h in seen)
    letters = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg.plot text')]"
        ".map((text) => text.getBoundingClientRect().height).filter((height) => height))"
    )
    assert letters >= 10  # pixels of a line, that is letters of 9
    assert wrong == []
    page.context.close()


def test_the_main_table_fits_a_laptop(browser: Any, tmp_path: Path) -> None:
    made.evaluation(tmp_path / "wide", tables=2)
    path = tmp_path / "wide" / "result.json"
    result = json.loads(path.read_text())
    for at, row in enumerate(result["rows"]):  # every column is there and as wide as it gets
        row |= {"n": 10_000 + at, "contents": 1000 + at, "low": -1.0, "high": 0.95}
        row |= {"intervals": {"plcc": [-1.0, 0.9 + at / 100]}, "gmacs": 114.83}
        row |= {"name": f"mixed_lite0_4x224-doubt_drop-{at % 2}", "ntire2023": 0.7 + at / 10}
    path.write_text(json.dumps(result))
    page, _ = opened(browser, write_report(tmp_path / "wide", Grey()), "laptop")
    page.evaluate("document.querySelectorAll('details').forEach((folded) => folded.open = true)")
    widths = page.evaluate(
        "[...document.querySelectorAll('#result .scroll')]"
        ".map((box) => [box.scrollWidth, box.clientWidth])"
    )
    assert len(widths) >= 2 and all(wide <= room for wide, room in widths)
    heads = page.locator("#result table").first.locator("th").all_inner_texts()
    assert len(heads) == 10 and {"95% of PLCC", "videos", "contents"} <= set(heads)
    page.context.close()


def test_a_mark_says_which_video_it_is(browser: Any, pages: dict[str, Path]) -> None:
    page, wrong = opened(browser, pages["evaluation"], "desktop")
    mark = page.locator("#agreement svg.plot circle[data-tip*='video_9.mp4']").first
    assert page.locator("#tip").is_hidden()
    box = in_view(mark)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert re.fullmatch(
        r"clips/video_9\.mp4\nMOS 2\.61, score \d\.\d\d \([+−]\d\.\d\d\)",
        page.locator("#tip").inner_text(),
    )
    tip = page.locator("#tip").bounding_box()
    assert tip["x"] >= 0 and tip["x"] + tip["width"] <= 1280
    page.mouse.move(2, 2)
    assert page.locator("#tip").is_hidden()
    assert wrong == []
    page.context.close()


def test_a_tap_on_a_phone_says_it_too(browser: Any, pages: dict[str, Path]) -> None:
    page, wrong = opened(browser, pages["evaluation"], "phone")
    mark = page.locator("#agreement svg.plot circle[data-tip*='video_9.mp4']").first
    box = in_view(mark)
    page.touchscreen.tap(box["x"] + 3, box["y"] + 3)
    assert page.locator("#tip").inner_text().startswith("clips/video_9.mp4")
    tip = page.locator("#tip").bounding_box()
    assert tip["x"] >= 0 and tip["x"] + tip["width"] <= 360
    assert wrong == []
    page.context.close()


def test_arrow_keys_go_from_mark_to_mark(browser: Any, pages: dict[str, Path]) -> None:
    page, wrong = opened(browser, pages["evaluation"], "desktop")
    plot = page.locator("#agreement svg.plot").first
    in_view(plot)
    plot.focus()
    tip = page.locator("#tip")
    said = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "Home"):
        page.keyboard.press(key)
        assert plot.locator(".pointed").count() == 1
        said.append(tip.inner_text())
    assert said[0] == said[2] == said[4] and len({*said}) == 3
    scores = [float(re.findall(r"score (\S+)", text)[0].replace("−", "-")) for text in said]
    assert scores[0] <= scores[1] <= scores[3]  # from left to right
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    assert tip.is_hidden()
    assert wrong == []
    page.context.close()


def test_paper_has_no_folds(browser: Any, pages: dict[str, Path]) -> None:
    page, wrong = opened(browser, pages["evaluation"], "desktop")
    folds = page.locator("details")
    folds.first.locator("summary").first.click()
    states = "(folds) => folds.map((fold) => fold.open)"
    before = folds.evaluate_all(states)
    assert before[0] and not all(before)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert all(folds.evaluate_all(states))
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folds.evaluate_all(states) == before
    assert wrong == []
    page.context.close()


def test_tables_sort_by_value(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = opened(browser, pages["sweep"], "desktop")
    table = page.locator("#runs table")
    head = table.locator("th", has_text="GMACs")
    names = table.locator("tbody tr td:first-child")
    assert names.all_inner_texts() == ["budget=1", "budget=5", "budget=0.1"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert names.all_inner_texts() == ["budget=5", "budget=1", "budget=0.1"]  # unknown comes last
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert names.all_inner_texts() == ["budget=1", "budget=5", "budget=0.1"]
    page.context.close()


def test_a_card_grows_with_its_curve(browser: Any, pages: dict[str, Path]) -> None:
    page, wrong = opened(browser, pages["evaluation"], "desktop")
    card = page.locator(".card", has=page.locator("img")).first
    card.focus()
    page.keyboard.press("Enter")
    large = page.locator("dialog")
    assert large.is_visible()
    assert large.locator("svg.plot").bounding_box()["width"] > 300
    assert large.locator("img").evaluate("(image) => image.naturalWidth") > 0
    in_view(large.locator("svg.plot circle").first)
    large.locator("svg.plot circle").first.hover()
    assert page.locator("#tip").is_visible()
    page.keyboard.press("Escape")
    assert large.is_hidden()
    assert wrong == []
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_stand_out(scheme: str, browser: Any, pages: dict[str, Path]) -> None:
    """WCAG 2: 4.5 to 1 for text, 3 to 1 for what carries meaning in a picture."""
    page, _ = opened(browser, pages["evaluation"], "desktop", scheme)
    colours = page.evaluate(
        """() => {
          const style = getComputedStyle(document.documentElement);
          const canvas = document.createElement("canvas").getContext("2d");
          const rgb = (name) => {
            canvas.fillStyle = style.getPropertyValue(name).trim();
            const hex = canvas.fillStyle;
            return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
          };
          const names = ["paper", "sheet", "ink", "soft", "warn", "warn-bg",
                         "c1", "c2", "c3", "c4", "c5", "c6"];
          return Object.fromEntries(names.map((name) => [name, rgb("--" + name)]));
        }"""
    )
    dark = luminance(colours["paper"]) < 0.2
    assert dark == (scheme == "dark")
    for text, ground in (("ink", "paper"), ("ink", "sheet"), ("soft", "paper"), ("soft", "sheet"),
                         ("c1", "paper"), ("warn", "warn-bg")):  # fmt: skip
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for mark in ("c1", "c2", "c3", "c4", "c5", "c6"):
        assert contrast(colours[mark], colours["sheet"]) >= 3, mark
    page.context.close()


def luminance(rgb: list[int]) -> float:
    """Relative luminance. Source: WCAG 2.2."""
    parts = [v / 255 for v in rgb]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: list[int], b: list[int]) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
