"""The page in a real browser: upload, choose, preview, dub, compare, download; by mouse, by keyboard, on a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from sidgan import media, provenance
from sidgan.synth import Mouth, Person, Portrait, Pose

LONG = 240_000  # ms; a worker may be slow
expect.set_options(timeout=LONG)
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
DESK = {"viewport": {"width": 1280, "height": 900}}
VIDEOS = "const [a, b] = document.querySelectorAll('#dub-result video');"
ALIEN = """() => performance.getEntriesByType('resource').map(e => new URL(e.name).host)
    .filter(host => host !== location.host)"""


def opened(browser: Browser, service: str, trouble: list[str], **how: Any) -> Page:
    page = browser.new_context(accept_downloads=True, **how).new_page()
    page.set_default_timeout(LONG)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda one: trouble.append(one.text) if one.type == "error" else None)
    page.on("response", lambda one: trouble.append(f"{one.status} {one.url}") if one.status >= 400 else None)
    page.goto(service)
    return page


@pytest.fixture
def trouble() -> Iterator[list[str]]:
    """What the browser complained about, broken rules of the content policy among it: there must be nothing."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.mark.parametrize(("name", "how"), [("desk", DESK), ("phone", PHONE)])
def test_a_video_is_dubbed(
    browser: Browser, service: str, material: Path, pictures: Path, tmp_path: Path, trouble: list[str], name: str,
    how: Any,
) -> None:  # fmt: skip
    page = opened(browser, service, trouble, **how)
    expect(page.get_by_role("heading", name="Video")).to_be_visible()
    page.screenshot(path=pictures / f"{name}-1-empty.png", full_page=True)
    assert page.get_by_role("button", name="Dub the video").is_disabled()

    page.set_input_files("#video-file", material / "talk.mp4")
    page.set_input_files("#voice-file", material / "german.wav")
    expect(page.locator("#people li")).to_have_count(1)
    expect(page.locator("#people select")).to_have_value(page.locator("#people option").nth(1).get_attribute("value"))
    expect(page.locator("#preview-needs")).to_contain_text("your confirmation above")
    page.get_by_label("Everybody who is seen").check()
    page.screenshot(path=pictures / f"{name}-2-chosen.png", full_page=True)

    page.get_by_role("button", name="Show this moment").click()
    expect(page.locator("#preview-result img")).to_have_count(2)
    page.locator("#step-preview").screenshot(path=pictures / f"{name}-3-moment.png")
    page.get_by_role("button", name="Preview five seconds").click()
    expect(page.locator("#preview-result video")).to_have_count(2)

    page.get_by_role("button", name="Dub the video").click()
    expect(page.locator("#dub-working")).to_be_visible()
    page.locator("#step-dub").screenshot(path=pictures / f"{name}-4-working.png")
    expect(page.locator("#dub-result video")).to_have_count(2)

    # The two run together, and the edge is moved with arrow keys.
    page.locator("#dub-result .controls button").click()
    page.wait_for_function(f"() => {{ {VIDEOS} return a.ended || b.ended; }}")
    drift = page.evaluate(f"() => {{ {VIDEOS} return Math.abs(a.currentTime - b.currentTime); }}")
    assert drift < 0.1
    edge = page.locator("#dub-result .stage input")
    edge.focus()
    for _ in range(20):
        edge.press("ArrowLeft")
    assert edge.input_value() == "30"
    page.evaluate("document.querySelector('#dub-result video').currentTime = 0.8")
    page.wait_for_timeout(400)
    page.locator("#step-dub").screenshot(path=pictures / f"{name}-5-compared.png")
    page.screenshot(path=pictures / f"{name}-6-all.png", full_page=True)

    with page.expect_download() as got:
        page.locator("#download").click()
    assert got.value.suggested_filename == "talk-dubbed.mp4"
    got.value.save_as(tmp_path / "dubbed.mp4")
    assert media.probe(tmp_path / "dubbed.mp4").frames == 40
    mark = provenance.read(tmp_path / "dubbed.mp4")
    assert mark is not None
    assert mark.source == provenance.digest_of(material / "talk.mp4")
    with page.expect_download() as got:
        page.locator("#download-report").click()
    assert got.value.suggested_filename == "talk-report.html"
    assert page.evaluate(ALIEN) == []

    # Nothing is wider than the screen, and a reload loses nothing.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.reload()
    expect(page.locator("#dub-result video")).to_have_count(2)
    expect(page.locator("#jobs li")).to_have_count(1)
    expect(page.locator("#people img")).to_have_count(1)


def test_a_photo_is_dubbed(
    browser: Browser, service: str, material: Path, pictures: Path, tmp_path: Path, trouble: list[str]
) -> None:
    media.write_png(tmp_path / "anna.png", Portrait(Person(5), (480, 400), face_px=220).render(Mouth(0.1), Pose()))
    page = opened(browser, service, trouble, **DESK)
    page.set_input_files("#video-file", tmp_path / "anna.png")
    expect(page.locator("#photo")).to_be_visible()
    expect(page.locator("#video")).to_be_hidden()
    assert page.evaluate("document.querySelector('#photo').naturalWidth") == 400
    expect(page.locator("#video-facts")).to_contain_text("photo, 400 × 480")
    page.set_input_files("#voice-file", material / "german.wav")
    expect(page.locator("#people li")).to_contain_text("can be redrawn")
    expect(page.locator("#moment")).to_have_attribute("max", "1.5")  # of the voice
    page.get_by_label("Everybody who is seen").check()
    page.locator("#step-dub summary").click()
    for name in ("length", "adapt", "damage", "match"):
        expect(page.locator(f"#{name}")).to_be_disabled()
    page.get_by_role("button", name="Preview five seconds").click()
    expect(page.locator("#preview-result video")).to_have_count(2)
    page.get_by_role("button", name="Dub the photo").click()
    expect(page.locator("#dub-result img")).to_have_count(1)
    page.locator("#dub-result .controls button").click()
    page.wait_for_function("() => document.querySelector('#dub-result video').ended")
    page.screenshot(path=pictures / "desk-photo.png", full_page=True)
    with page.expect_download() as got:
        page.locator("#download").click()
    assert got.value.suggested_filename == "anna-dubbed.mp4"
    page.reload()
    expect(page.locator("#dub-result img")).to_have_count(1)
    page.set_input_files("#video-file", material / "talk.mp4")
    expect(page.locator("#video")).to_be_visible()
    expect(page.locator("#photo")).to_be_hidden()
    expect(page.locator("#length")).to_be_enabled()


def test_what_is_no_video_is_told(browser: Browser, service: str, tmp_path: Path, trouble: list[str]) -> None:
    page = opened(browser, service, trouble, **DESK)
    (tmp_path / "letter.mp4").write_text("Dear Sir or Madam, this is no video at all.")
    page.set_input_files("#video-file", tmp_path / "letter.mp4")
    expect(page.locator("#step-video .problem")).to_contain_text("Letter.mp4 is not video or sound")
    expect(page.locator("#step-video .drop")).to_be_visible()
    trouble[:] = [line for line in trouble if "422" not in line]


def test_a_voice_is_recorded_by_keyboard(
    browser: Browser, service: str, pictures: Path, trouble: list[str]
) -> None:
    page = opened(browser, service, trouble, **DESK)
    expect(page.get_by_role("button", name="Record")).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "record":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#record-stop")).to_be_focused()
    page.wait_for_timeout(1500)
    page.locator("#step-voice").screenshot(path=pictures / "desk-record.png")
    page.keyboard.press("Enter")
    expect(page.locator("#voices li")).to_have_count(1)
    expect(page.locator("#voices li")).to_contain_text("Recording 1")


def test_a_recording_ends_before_it_is_too_long(browser: Browser, service: str, trouble: list[str]) -> None:
    page = opened(browser, service, trouble, **DESK)

    def strict(route: Route) -> None:
        told = route.fetch().json()
        told["limits"]["seconds"] = 2.0
        route.fulfill(json=told)

    page.route("**/api/me", strict)
    page.reload()
    page.get_by_role("button", name="Record").click()
    page.wait_for_timeout(4000)
    expect(page.locator("#record-time")).to_have_text("0:01")
    page.locator("#record-stop").click()
    expect(page.locator("#voices li")).to_contain_text(re.compile(r"Recording 1 \b[01](\.\d)? s"))


def test_one_bad_voice_does_not_keep_others_out(
    browser: Browser, service: str, material: Path, trouble: list[str]
) -> None:
    page = opened(browser, service, trouble, **DESK)
    good = {"name": "good.wav", "mimeType": "audio/wav", "buffer": (material / "german.wav").read_bytes()}
    page.set_input_files("#voice-file", [{**good, "name": "bad.wav", "buffer": b"no sound"}, good])
    expect(page.locator("#voices li")).to_contain_text("good.wav")
    expect(page.locator("#step-voice .problem")).to_contain_text("Bad.wav is not video or sound")
    expect(page.locator("#voice-file")).to_be_enabled()
    trouble[:] = [line for line in trouble if "422" not in line]


def test_what_another_tab_removed_goes_from_this_one(browser: Browser, service: str, trouble: list[str]) -> None:
    page = opened(browser, service, trouble, **DESK)
    page.get_by_role("button", name="Use the demo voice").click()
    expect(page.locator("#voices li")).to_have_count(1)
    other = page.context.new_page()
    other.goto(service)
    for tab in (other, page):
        tab.locator("#voices").get_by_role("button", name="Remove").click()
        expect(tab.locator("#voices li")).to_have_count(0)
    expect(page.locator("#step-voice .problem")).to_be_hidden()
    trouble[:] = [line for line in trouble if "404" not in line]


def test_others_see_nothing(browser: Browser, service: str, trouble: list[str]) -> None:
    one, other = (opened(browser, service, trouble, **DESK) for _ in range(2))
    one.get_by_role("button", name="Use the demo voice").click()
    expect(one.locator("#voices li")).to_have_count(1)
    other.reload()
    expect(other.locator("#steps")).to_be_visible()
    expect(other.locator("#voices li")).to_have_count(0)


def test_a_service_that_restarts_behind_a_proxy_is_waited_for(
    browser: Browser, service: str, material: Path, trouble: list[str]
) -> None:
    page, answers = opened(browser, service, trouble, **DESK), list[str]()

    def gone(route: Route) -> None:
        """As a proxy says it, at first."""
        answers.append(route.request.url)
        if len(answers) < 4:
            route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>")
        else:
            route.continue_()

    page.route(re.compile(r"/api/jobs/[0-9a-f]{32}(/events)?$"), gone)
    page.set_input_files("#video-file", material / "talk.mp4")
    expect(page.locator("#people li")).to_have_count(1)
    expect(page.locator("#step-people .problem")).to_be_hidden()
    assert len(answers) >= 4
    trouble[:] = [line for line in trouble if "502" not in line]


def test_a_long_name_with_signs_of_two_units_is_sent(
    browser: Browser, service: str, material: Path, trouble: list[str]
) -> None:
    page = opened(browser, service, trouble, **DESK)
    name = f"a{chr(0x1F600) * 61}.wav"  # 127 units, which would be cut inside a sign
    page.set_input_files("#voice-file", {"name": name, "mimeType": "audio/wav",
                                         "buffer": (material / "german.wav").read_bytes()})  # fmt: skip
    expect(page.locator("#voices li")).to_contain_text(name)


def test_a_network_that_fails_is_told(browser: Browser, service: str, trouble: list[str]) -> None:
    page = opened(browser, service, trouble, **DESK)
    page.wait_for_load_state("networkidle")
    done = {
        "id": "1" * 32, "kind": "dub", "state": "done", "priority": 0, "spec": {"video": "2" * 32}, "share": 1,
        "stage": "", "ahead": 0, "notes": [], "error": None, "result": {"frames": 1, "dubbed": 1}, "created": 0,
        "urls": {"dubbed.mp4": "/nothing"},
    }  # fmt: skip
    started = [{**done, "state": "running"}]
    page.route("**/api/jobs", lambda route: route.fulfill(json=started))
    page.route(f"**/api/jobs/{done['id']}/events", lambda route: route.fulfill(
        content_type="text/event-stream", body=f"data: {json.dumps(done)}\n\n"))  # fmt: skip
    asked = list[str]()

    def files(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(json=[]) if len(asked) == 1 else route.abort()

    page.route("**/api/files", files)
    page.reload()
    expect(page.locator("#step-dub .problem")).to_contain_text("The service cannot be reached", timeout=15_000)
    trouble[:] = [line for line in trouble if "ERR_FAILED" not in line]


@pytest.mark.parametrize("how", [DESK, PHONE])
def test_a_screen_reader_has_a_name_for_everything(
    browser: Browser, service: str, trouble: list[str], how: Any
) -> None:
    page = opened(browser, service, trouble, **how)
    page.evaluate("document.querySelectorAll('[hidden]:not(.problem)').forEach(one => { one.hidden = false; })")
    for role in ("progressbar", "button", "slider", "combobox", "checkbox", "meter", "link"):
        nameless = page.get_by_role(role).evaluate_all(  # all at once: the page may change meanwhile
            """all => all.filter(it => !(it.getAttribute("aria-label") || it.textContent.trim()
                || [...it.labels ?? []].some(label => label.textContent.trim()))).map(it => it.outerHTML)"""
        )
        assert nameless == []
