"""The page for everyone: axe finds nothing, the keyboard reaches all, and nothing is too small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.serving.browser.writer import ENDED, SUGGESTIONS, accepted, machine, suggested
from tests.serving.running import running

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow

WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 700}


def violations(page: Page, part: str | None = None) -> list[str]:
    """What axe finds against WCAG 2.2 AA, in the whole page or a part of it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = axe.Axe().run(page, context=part, options={"runOnly": rules}).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing(new_page: NewPage, viewport: dict[str, int], scheme: str) -> None:
    # without transitions: colours half-way have another contrast
    shown = {"color_scheme": scheme, "reduced_motion": "reduce"}
    page = new_page(viewport=viewport, bypass_csp=True, **shown)
    page.keyboard.press("Tab")
    page.wait_for_selector("#note:has-text('few words first')")
    assert violations(page) == []
    page.keyboard.type("a bad cab")
    accepted(page)
    suggested(page)
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.click("#inside")
    page.wait_for_selector("#editor [class*=level-]")
    page.click("#editor")
    page.keyboard.press("Control+End")
    page.keyboard.press("Alt+ArrowDown")
    assert violations(page) == []
    page.keyboard.press("Escape")
    for name in ("settings", "documents"):
        page.click(f"#toggle-{name}")
        assert violations(page) == []
        page.click(f"#{name}-panel .close")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_menu_and_dialogs(
    new_page: NewPage, small_folder: Path, tmp_path: Path, scheme: str
) -> None:
    settings = {"documents": str(tmp_path / "kept.sqlite3")}
    with running({"small": small_folder}, decoder="torch", **settings) as url:
        shown = {"color_scheme": scheme, "reduced_motion": "reduce"}
        page = new_page(url, viewport=PHONE if scheme == "dark" else WIDE, bypass_csp=True, **shown)
        page.keyboard.type("a bad cab")
        accepted(page)
        for name in ("share", "verify", "picture"):
            page.click("#more")
            if name == "share":
                assert violations(page, "#menu") == []
            page.click(f"#{name}-text")
            page.wait_for_selector(f"#{name}-dialog[open]")
            if name == "share":
                page.click(".readers .make")
                page.wait_for_selector(".readers[data-shared=yes]")
            if name == "verify":
                page.wait_for_selector(
                    "#verify-dialog .state:has-text('does not promise the same')"
                )
            assert violations(page, f"#{name}-dialog") == []
            page.keyboard.press("Escape")
        link = page.input_value(".readers input")
        page.click("footer .read")
        page.wait_for_selector("#seen-dialog[open]")
        assert violations(page, "#seen-dialog") == []
        page.evaluate("document.getElementById('seen-dialog').close()")
        page.click("#toggle-settings")
        page.click(".compare:visible")
        page.wait_for_selector("#compare-dialog .columns[aria-busy=false]")
        assert violations(page, "#compare-dialog") == []
        page.keyboard.press("Escape")
        page.click("#settings-panel .close")
        page.click("#inside")
        page.wait_for_selector("#editor [class*=level-]")
        page.click("#editor")
        page.keyboard.press("Control+End")
        page.keyboard.press("Alt+ArrowDown")
        page.click("#alternatives .attend")
        page.wait_for_selector("#attention-dialog[aria-busy=false]")
        assert violations(page, "#attention-dialog") == []
        page.keyboard.press("Escape")
        page.evaluate("document.getElementById('key').showModal()")
        assert violations(page, "#key") == []
        page.goto(link)
        assert violations(page) == []
        page.click("button")
        page.wait_for_selector("[role=status]")
        assert violations(page) == []
        page.close()


def test_a_planted_fault_is_found(new_page: NewPage) -> None:
    page = new_page(bypass_csp=True)
    page.evaluate("document.getElementById('undo').removeAttribute('aria-label')")
    page.evaluate("document.getElementById('undo').removeAttribute('title')")
    assert [each.partition(":")[0] for each in violations(page)] == ["button-name"]


def test_every_control_is_reached_by_keyboard(page: Page) -> None:
    page.keyboard.press("Escape")
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
        if page.evaluate("document.activeElement.id") == "editor":
            page.keyboard.press("Escape")
    assert {
        "toggle-documents",
        "title",
        "shuffle",
        "inside",
        "more",
        "suggest",
        "editor",
    } <= reached


def test_on_a_phone(new_page: NewPage) -> None:
    page = new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    placeholder = "getComputedStyle(document.getElementById('editor'), '::before').content"
    assert "tap Suggest" in page.evaluate(placeholder)  # there is no Tab
    page.tap("#toggle-documents")
    page.tap("#documents-panel .new")
    assert page.is_hidden("#documents-panel")  # it would hide the text
    for _ in range(20):
        page.keyboard.press("Enter")
    page.keyboard.type("a bad cab")
    page.tap("#suggest")
    page.wait_for_selector(ENDED)
    line = page.locator(".line >> nth=20").bounding_box()
    options = page.locator("#suggestions").bounding_box()
    assert line
    assert options
    assert line["y"] + line["height"] <= options["y"]  # the list hides no text at the caret
    assert page.locator("#suggestions kbd:visible").count() == 0
    page.tap(f"{SUGGESTIONS} >> nth=1")
    assert len(machine(page)) == 1
    page.wait_for_selector("#origin:has-text('seed')")  # how it was generated
    page.tap("#toggle-settings")
    assert page.locator(".compare:visible").count() == 1


def test_reduced_motion(new_page: NewPage) -> None:
    page = new_page(reduced_motion="reduce")
    moving = page.evaluate(
        """[...document.querySelectorAll("*")].filter((each) =>
             parseFloat(getComputedStyle(each).transitionDuration) > 0 ||
             getComputedStyle(each).animationName !== "none").length"""
    )
    assert moving == 0
