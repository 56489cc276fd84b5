"""A picture of the text: a PNG made in the page, which marks what the model wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.browser.writer import accepted, announced

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow

PIXELS = """async () => {
  const image = document.querySelector("#picture-dialog img");
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const canvas = new OffscreenCanvas(width, height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const { data } = canvas.getImageData(0, 0, width, height);
  const colours = {};
  for (let at = 0; at < data.length; at += 4) {
    const colour = `${data[at]} ${data[at + 1]} ${data[at + 2]}`;
    colours[colour] = (colours[colour] ?? 0) + 1;
  }
  return { width, height, colours };
}"""
PAPER = {"light": "251 250 247", "dark": "24 23 21"}
TINT = {"light": "234 241 236", "dark": "32 48 43"}
HOSTILE = r"</foreignObject><script>alert(1)</script> & ]]> \x01 \ud800 \uffff \u202e\u05d1"


def picture(page: Page) -> dict[str, Any]:
    """Open the dialog, and return the size of the picture and its pixels by colour."""
    page.click("#more")
    page.click("#picture-text")
    page.wait_for_selector("#picture-dialog[open]")
    found: dict[str, Any] = page.evaluate(PIXELS)
    return found


def state(page: Page) -> str:
    return page.locator("#picture-dialog .state").text_content() or ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_marks_what_the_model_wrote(new_page: NewPage, scheme: str) -> None:
    page = new_page(color_scheme=scheme, permissions=["clipboard-read", "clipboard-write"])
    page.click("#more")
    page.click("#picture-text")
    assert "nothing to show" in announced(page)
    page.fill("#title", "Of cabs")
    page.click("#editor")
    page.keyboard.type("a bad cab")
    typed = picture(page)["colours"]
    assert typed[PAPER[scheme]] > 100_000
    assert TINT[scheme] not in typed
    page.keyboard.press("Escape")
    page.click("#editor")
    accepted(page)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    drawn = picture(page)
    assert drawn["width"] == 1280
    assert drawn["colours"][TINT[scheme]] > 1000
    assert all(address.startswith(("data:", "blob:")) for address in addresses)
    with page.expect_download() as saved:
        page.click("#picture-dialog .save")
    assert saved.value.suggested_filename == "of-cabs.png"
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    page.click("#picture-dialog .copy")
    page.wait_for_selector("#picture-dialog .state:has-text('was copied')")
    kinds = page.evaluate("navigator.clipboard.read().then(([item]) => item.types)")
    assert kinds == ["image/png"]


def test_hostile_and_long_texts(page: Page, tmp_path: Path) -> None:
    page.evaluate(f'document.execCommand("insertText", false, "{HOSTILE}")')
    assert picture(page)["width"] == 1280
    page.keyboard.press("Escape")
    path = tmp_path / "long.txt"
    path.write_text("\n".join(["a bad cab faced a dead bed " * 12] * 600))
    page.set_input_files("#file", path)
    page.wait_for_selector("#note:has-text('Imported')")
    assert 7000 < picture(page)["height"] <= 8000
    assert state(page).startswith("Only the first ")
    page.keyboard.press("Escape")
    page.click("#editor .line >> nth=0")
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    assert picture(page)["height"] < 1000
    assert state(page) == "It shows the selected part."
