"""A picture of the text: a PNG made in the page, which marks what the model wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.serving.browser.writer import accepted, announced

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.serving.browser.conftest import NewPage
    from tests.serving.running import Running

pytestmark = pytest.mark.slow

PIXELS = """async (colours) => {
  const image = document.querySelector("#picture-dialog img");
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const canvas = new OffscreenCanvas(width, height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const pixels = new Uint32Array(canvas.getImageData(0, 0, width, height).data.buffer);
  const found = colours.map((colour) => pixels.filter((pixel) => pixel === colour).length);
  const opaque = pixels.every((pixel) => pixel >>> 24 === 255);
  return [width, height, opaque, ...found];
}"""
PAPER = {"light": 0xFFF7FAFB, "dark": 0xFF151718}  # as it lies in memory: alpha, blue, green, red
TINT = {"light": 0xFFECF1EA, "dark": 0xFF2B3020}
HOSTILE = r"</foreignObject><script>alert(1)</script> & ]]> \x01 \ud800 \uffff \u202e\u05d1"


class Drawn(NamedTuple):
    """A picture: its size, whether all of it is opaque, and how many pixels have a colour."""

    width: int
    height: int
    is_opaque: bool
    paper: int
    tint: int


def picture(page: Page, scheme: str = "light") -> Drawn:
    """Open the dialog, and look at the picture."""
    page.click("#more")
    page.click("#picture-text")
    page.wait_for_selector("#picture-dialog[open]")
    return Drawn(*page.evaluate(PIXELS, [PAPER[scheme], TINT[scheme]]))


def state(page: Page) -> str:
    return page.locator("#picture-dialog .state").text_content() or ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_marks_what_the_model_wrote(new_page: NewPage, server: Running, scheme: str) -> None:
    page = new_page(color_scheme=scheme, permissions=["clipboard-read", "clipboard-write"])
    page.click("#more")
    page.click("#picture-text")
    assert "nothing to show" in announced(page)
    page.fill("#title", "Of cabs")
    page.click("#editor")
    page.keyboard.type("a bad cab")
    typed = picture(page, scheme)
    assert typed.paper > 100_000
    assert typed.tint == 0
    page.keyboard.press("Escape")
    page.click("#editor")
    accepted(page)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    drawn = picture(page, scheme)
    assert drawn.width == 1280
    assert drawn.is_opaque
    assert drawn.tint > 1000
    known = ("data:", "blob:", f"{server.url}/tokenize")  # the counter of tokens asks for the last
    assert [address for address in addresses if not address.startswith(known)] == []
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
    assert picture(page).width == 1280
    page.keyboard.press("Escape")
    path = tmp_path / "long.txt"
    path.write_text("\n".join(["a bad cab faced a dead bed " * 12] * 600))
    page.set_input_files("#file", path)
    page.wait_for_selector("#note:has-text('Imported')")
    assert 7000 < picture(page).height <= 8000
    assert state(page).startswith("Only the first ")
    page.keyboard.press("Escape")
    page.click("#editor .line >> nth=0")
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    assert picture(page).height < 1000
    assert state(page) == "It shows the selected part."
