"""What is recorded of machine text, so that it can be generated again, stays small and private."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.browser.writer import STORED, accepted, machine, saved, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow

PASSAGES = 1000
PACKED = """async ([content, damaged]) => {
  const { packed, unpacked } = await import("./static/page/prompt_parts.js");
  const kept = JSON.parse(JSON.stringify(packed(content)));
  const [span] = kept.spans.filter(({ provenance }) => provenance);
  return {
    whole: JSON.stringify(unpacked(kept)) === JSON.stringify(content),
    damaged: damaged.map((parts) => {
      const provenance = { ...span.provenance, prompt: { parts } };
      const [{ provenance: found }] = unpacked({ spans: [{ provenance }], prompts: "abc" }).spans;
      return found.prompt;
    }),
  };
}"""
DAMAGED: tuple[Any, ...] = ([[0, 4]], [[-1, 2]], [[0]], [["0", 1]], [3], [[0, 3]] * 2**19, "0")


def words(index: int) -> str:
    """Forty characters that no other passage has."""
    return f"a bad cab {index:06d} faced a dead bed {index * 7919 % 1000:03d} "


def written() -> dict[str, Any]:
    """A document by turns, as older pages stored it: with all that was before the caret.

    After every twentieth passage, a word was put into the text before it.
    """
    before, spans = "", []
    for index in range(PASSAGES):
        provenance = {
            "model": "small",
            "model_hash": "0" * 64,
            "settings": {"n": 3, "max_tokens": 24, "truncate_prompt_tokens": 40, "top_p": 0.9},
            "seed": index,
            "prompt": (before + words(2 * index))[-6000:],
            "index": 0,
            "created": 1.5e9 + index,
            "text": words(2 * index + 1),
            "complete": True,
        }
        spans.append({"text": words(2 * index), "by": "human"})
        spans.append({"text": provenance["text"], "by": "machine", "provenance": provenance})
        before += words(2 * index) + words(2 * index + 1)
        if index % 20 == 19:
            before = f"{before[:-500]}deed {before[-500:]}"
    return {"title": "By turns", "spans": spans}


def imported(page: Page, content: dict[str, Any], folder: Path) -> None:
    """Import the page that holds a document."""
    path = folder / "old.html"
    data = json.dumps(content)
    path.write_text(f'<script type="application/json" id="ogpt-document">{data}</script>')
    page.set_input_files("#file", path)
    until(page, f"document.getElementById('title').value === {json.dumps(content['title'])}")


def test_a_thousand_passages_stay_small(
    new_page: NewPage, server_with_documents: str, tmp_path: Path
) -> None:
    page = new_page(server_with_documents)
    sent: list[tuple[int, int]] = []

    def note(request: Any) -> None:
        if request.method == "PUT":
            sent.append((len(request.post_data), len(request.response().body())))

    page.on("requestfinished", note)
    content = written()
    assert len(json.dumps(content)) > 5e6
    imported(page, content, tmp_path)
    saved(page, "server")
    page.click("#editor")
    page.keyboard.press("Control+End")
    accepted(page)
    saved(page, "server")
    [kept] = page.evaluate(STORED)
    assert len(json.dumps(kept, separators=(",", ":"))) < 1e6
    assert sent
    assert all(size < 1e6 and answered < 200 for size, answered in sent), sent
    page.reload()
    until(page, "document.querySelectorAll('#editor mark').length > 900")
    page.click("#editor")
    page.keyboard.press("Control+End")
    page.click("#verify")
    page.wait_for_selector("#verify-dialog li[data-result=equal]")


def test_prompts_in_parts_are_whole_again(page: Page) -> None:
    content = written()
    halves = [{"prompt": f"\ud83d{'a😀' * 9}\ud83d"[start:]} for start in (0, 1, 2)]
    for index, provenance in enumerate([*halves, {"prompt": [5, 6]}, {"prompt": ""}, {}]):
        content["spans"][2 * index + 1]["provenance"] = provenance
    found = page.evaluate(PACKED, [content, DAMAGED])
    assert found["whole"]
    assert found["damaged"] == [None] * 6 + [{"parts": "0"}]


COPIED = """() => addEventListener("copy", ({ clipboardData }) => {
  window.copied = clipboardData.types.map((type) => clipboardData.getData(type)).join();
})"""


def test_a_copied_passage_has_no_prompt_for_others(new_page: NewPage, page: Page) -> None:
    page.keyboard.type("deadface bad cab")
    accepted(page)
    page.keyboard.press("Control+Home")
    page.keyboard.press("Control+Delete")
    page.evaluate(COPIED)
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+C")
    copied = page.evaluate("window.copied")
    assert '"model"' in copied
    assert '"prompt"' not in copied
    assert "deadface" not in copied
    marked = machine(page)
    other = new_page(context=page.context)
    other.click("#toggle-documents")
    other.click("#documents-panel .new")
    other.keyboard.press("Control+V")
    saved(other)
    assert machine(other) == marked
    other.keyboard.press("Control+End")
    other.click("#verify")
    other.wait_for_selector("#verify-dialog li[data-result=equal]")
