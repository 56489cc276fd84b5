"""Decoders side by side: one prompt and seed, columns that stream in, and a click that inserts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.browser.writer import announced, machine, text, until
from tests.serving.calls import CLIENT
from tests.serving.running import Running, running

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow

COLUMNS = "#compare-dialog .columns"
ENDED = f"{COLUMNS}[aria-busy=false]"
SAMPLED = ("Sampling", "Top-k", "Top-p", "Typical", "Your settings")
HELD = """() => {
  const real = window.fetch;
  window.fetch = (url, options) =>
    String(url).endsWith("/v1/completions") && !window.released
      ? new Promise((_, refuse) => options.signal.addEventListener("abort",
          () => refuse(options.signal.reason)))
      : real(url, options);
}"""


def texts(page: Page) -> dict[str, str]:
    """The continuation of each decoder, when all have ended."""
    page.wait_for_selector(ENDED)
    names = page.locator(f"{COLUMNS} h3").all_text_contents()
    return dict(zip(names, page.locator(f"{COLUMNS} .text").all_text_contents(), strict=True))


def test_one_prompt_and_one_seed(page: Page, server: Running) -> None:
    page.keyboard.type("a bad cab")
    bodies: list[dict[str, Any]] = []
    page.on(
        "request",
        lambda request: (
            "/v1/completions" in request.url and bodies.append(json.loads(request.post_data or ""))
        ),
    )
    page.click("footer .compare")
    first = texts(page)
    assert len(first) == 9
    assert all(first.values())
    assert {body["prompt"] for body in bodies} == {"a bad cab"}
    assert {body["seed"] for body in bodies} == {int(page.input_value("[name=seed]"))}
    shown = page.locator(f"{COLUMNS} .settings").all_text_contents()
    assert len(set(shown)) == len(shown) == len(bodies)
    assert {"temperature 0", "beams 4", "top-k 4, penalty alpha 0.6"} < {*shown}
    # the same seed again, and another one
    page.click("#compare-dialog [type=submit]")
    assert texts(page) == first
    page.click("#compare-dialog .other")
    other = texts(page)
    assert {name for name in first if other[name] != first[name]} <= {*SAMPLED}
    assert other != first
    # a click inserts text of the model, which its provenance generates again
    page.click("text='Insert' >> nth=7")
    page.wait_for_selector("#compare-dialog", state="hidden")
    name = list(other)[7]
    assert [part.strip() for part in machine(page)] == [other[name]]
    assert announced(page) == f"Inserted: {other[name]}"
    assert "typical-p 0.9" in (page.locator("#origin").text_content() or "")
    page.click("#more")
    with page.expect_download() as download:
        page.click("[data-export=html]")
    _, data = download.value.path().read_text("utf-8").split('id="ogpt-document">')
    found = json.loads(data.partition("</script>")[0])
    _, span = found["spans"]
    known = span["provenance"]
    assert (found["prompts"], known["prompt"]) == ("a bad cab", {"parts": [[0, 9]]})
    again = {**known["settings"], "prompt": "a bad cab", "seed": known["seed"]}
    answer = CLIENT.post(f"{server.url}/v1/completions", json=again).json()
    assert span["text"].strip() == answer["choices"][0]["text"].strip()
    page.click("#undo")
    assert text(page) == "a bad cab"


def test_stop_and_errors(new_page: NewPage, small_folder: Path) -> None:
    with running({"small": small_folder}, slots=2) as url:
        page = new_page(url)
        page.click("footer .compare")
        assert announced(page).startswith("Write a few words first")
        page.keyboard.type("a bad cab")
        page.evaluate(HELD)
        page.click("#toggle-settings")
        page.click(".compare:visible")  # the only one
        until(page, f"document.querySelectorAll('{COLUMNS} [data-state=running]').length === 3")
        page.click("#compare-dialog .stop")
        assert {*texts(page).values()} == {"(stopped)"}
        assert page.locator("#compare-dialog .state").text_content() == "0 of 9 finished"
        page.evaluate("() => { window.released = true; }")
        page.keyboard.press("Enter")  # in the field of the seed, where the focus went
        found = texts(page)
        assert "best_of is 4; allowed: at most 2" in found["Beam search"]
        assert found["Greedy"]
        assert page.locator(f"{COLUMNS} [data-state=failed]").count() == 3
        assert page.locator(f"{COLUMNS} button:disabled").count() == 3
        page.keyboard.press("Escape")
        page.wait_for_selector("#compare-dialog", state="hidden")
        assert (text(page), machine(page)) == ("a bad cab", [])
        errors = new_page.messages  # type: ignore[attr-defined]
        assert all("400" in each for each in errors)
        errors.clear()
        page.close()  # before its server
