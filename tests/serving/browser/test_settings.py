"""Settings and presets change the requests, and stay after a reload."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.browser.writer import SUGGESTIONS, suggested, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def asked(page: Page) -> dict[str, Any]:
    """The body of the next request for suggestions."""
    page.click("#editor")
    with page.expect_request("**/v1/completions") as request:
        suggested(page)
    page.keyboard.press("Escape")
    body: dict[str, Any] = json.loads(request.value.post_data or "")
    return body


def test_settings_and_presets(page: Page) -> None:
    page.keyboard.type("a bad cab")
    first = asked(page)
    assert (first["n"], first["temperature"], first["prompt"]) == (3, 0.9, "a bad cab")
    # the model of the tests has 40 positions
    assert first["max_tokens"] + first["truncate_prompt_tokens"] == 40
    page.click("#toggle-settings")
    page.select_option("select[name=preset]", "Bold")
    page.locator("#count").fill("2")
    body = asked(page)
    assert (body["temperature"], body["top_p"], body["n"]) == (1.15, 0.97, 2)
    assert page.locator(SUGGESTIONS).count() == 2
    assert body["seed"] != first["seed"]
    page.select_option("select[name=method]", "beams")
    body = asked(page)
    assert (body["use_beam_search"], body["best_of"]) == (True, 4)
    assert "temperature" not in body
    page.select_option("select[name=method]", "greedy")
    body = asked(page)
    assert (body["temperature"], body["n"]) == (0, 1)
    page.select_option("select[name=method]", "sampling")
    page.locator("#temperature").fill("0.5")
    page.fill("input[name=preset_name]", "Balanced")
    page.click("button[name=save]")
    name = page.locator("input[name=preset_name]")
    assert "is taken" in name.evaluate("(field) => field.validationMessage")
    page.fill("input[name=preset_name]", "Mine")
    page.click("button[name=save]")
    page.reload()
    page.click("#toggle-settings")
    assert page.input_value("select[name=preset]") == "Mine"
    assert page.input_value("#count") == "2"
    page.click("button[name=forget]")
    assert page.input_value("select[name=preset]") == ""
    # a model that the server no longer has
    page.evaluate("localStorage.setItem('ogpt.settings', JSON.stringify({ model: 'gone' }))")
    page.reload()
    until(page, "document.getElementById('model').options.length > 0")
    assert "model" not in asked(page)


def test_the_tokens_that_the_model_reads(page: Page) -> None:
    page.keyboard.type("a bad cab")
    until(page, "document.getElementById('tokens').value.startsWith('7 of ')")
    page.keyboard.type(" " + "bed " * 20)
    until(page, "document.getElementById('tokens').value.startsWith('last ')")
    twice = "const button = document.querySelector('footer .read'); button.click(); button.click();"
    page.evaluate(f"() => {{ {twice} }}")  # one click from the text
    page.wait_for_selector("#seen-dialog[open]")
    page.wait_for_timeout(300)
    shown = page.locator(".tokens li").all_text_contents()
    assert shown[-3:] == ["b", "e", "d"]
    assert len(shown) < 40
    assert f"the last {len(shown)} tokens" in (page.text_content("#seen-dialog .count") or "")
