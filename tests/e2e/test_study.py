"""A viewer in a real browser: joins, rates by mouse and by keyboard, leaves, comes back, and finishes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sidgan import media
from sidgan.paper.published import QUESTIONS
from sidgan.study import build as building
from sidgan.study.answers import Answers
from sidgan.study.server import make_server, pages

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; run make e2e")

NAMES = ("Ours", "Secretmethod")
CLIPS = 2
PLAYED = """clip => new Promise((done, fail) => {
  clip.addEventListener("error", () => fail(clip.error.message));
  clip.readyState >= 2 ? done(clip.duration) : clip.addEventListener("loadeddata", () => done(clip.duration));
})"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two clips of one second by two methods: grey squares, and a tone."""
    tone = 0.2 * np.sin(np.arange(16_000) * 0.2).astype(np.float32)
    for column, name in enumerate(NAMES):
        (tmp_path / name).mkdir()
        for clip in range(CLIPS):
            pictures = [np.full((96, 96, 3), 60 + 5 * i + 60 * column, np.uint8) for i in range(25)]
            media.write_clip(tmp_path / name / f"clip{clip}.mp4", pictures, Fraction(25), tone)
    building.build(tmp_path / "study", [(name, str(tmp_path / name)) for name in NAMES])
    return tmp_path / "study"


@pytest.fixture
def address(study: Path) -> Iterator[str]:
    server = make_server(study, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def begin(page: Any, address: str, name: str) -> None:
    page.goto(address)
    page.get_by_label("A name or code").fill(name)
    page.get_by_role("button", name="Begin").click()
    page.locator("#rate").wait_for()


def said(study: Path) -> dict[tuple[int, int], dict[str, int]]:
    """Scores of the first viewer by clip and method."""
    found: dict[tuple[int, int], dict[str, int]] = {}
    for rating in Answers(study, building.read(study)).of(0):
        found.setdefault((rating.clip, rating.method), {})[rating.question] = rating.score
    return found


def test_a_viewer_rates_everything_and_may_leave_in_between(study: Path, address: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    with page.expect_response("**/api/join") as join:
        begin(page, address, "anna")
    assert "pages" in join.value.text()
    assert "Secretmethod" not in join.value.text(), "names stay hidden"
    assert "clip0" not in join.value.text()
    playwright.expect(page.locator("#place")).to_contain_text("Clip 1 of 2, version A of 2")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it fits a phone"
    assert page.locator("#clip").evaluate(PLAYED) == pytest.approx(1.0, abs=0.1)
    forward = page.locator("#next")
    assert forward.is_disabled()
    for question, score in (("sync", "4"), ("visual", "2"), ("overall", "3")):
        page.locator(f"input[name={question}][value='{score}']").check()
    assert forward.is_enabled()
    forward.click()
    page.keyboard.press("5")
    page.keyboard.press("1")
    for _ in range(100):  # "saved" may still be shown for the answer before
        if sum(map(len, said(study).values())) == 5:
            break
        page.wait_for_timeout(100)
    page.reload()  # leaves in the middle of a version
    begin(page, address, "anna")
    playwright.expect(page.locator("#place")).to_contain_text("version B of 2")
    assert page.locator("input[name=sync][value='5']").is_checked()
    page.keyboard.press("2")
    playwright.expect(page.locator("#next")).to_be_enabled()
    page.keyboard.press("ArrowRight")
    playwright.expect(page.locator("#place")).to_contain_text("Clip 2 of 2, version A")
    for _ in range(2):
        for key in "333":
            page.keyboard.press(key)
        playwright.expect(page.locator("#next")).to_be_enabled()
        page.keyboard.press("ArrowRight")
    page.get_by_text("You have rated all 4 versions").wait_for()
    shown = pages(building.read(study), 0)
    assert said(study) == {
        shown[0]: {"sync": 4, "visual": 2, "overall": 3}, shown[1]: {"sync": 5, "visual": 1, "overall": 2},
        shown[2]: dict.fromkeys(QUESTIONS, 3), shown[3]: dict.fromkeys(QUESTIONS, 3),
    }  # fmt: skip
    assert not errors
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {address.split("/")[2]}


def test_an_answer_that_is_not_saved_is_reported(address: str, browser: Any) -> None:
    page = browser.new_page()
    begin(page, address, "ben")
    page.route("**/api/rate", lambda route: route.abort())
    page.locator("input[name=sync][value='4']").click()
    page.get_by_text("This answer was not saved").wait_for()
    assert not page.locator("input[name=sync][value='4']").is_checked()
