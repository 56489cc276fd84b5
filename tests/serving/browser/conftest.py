"""Fixtures of the tests that drive a real browser: Debian's Chromium, through Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.browser.writer import PLAIN_HOST, until
from tests.serving.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")


# not for the session: Playwright keeps an event loop running in this thread, and other files need
# one of their own
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a file; each test has a profile of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        # without a sandbox: tests run as root in containers
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        arguments.append(f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1")
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


NewPage = Callable[..., "Page"]


@pytest.fixture
def new_page(chromium: Browser, server: Running) -> Iterator[NewPage]:
    """Makes open pages in a profile of the test: `new_page(url, **options of the profile)`.

    The console of each must stay empty.
    """
    contexts: list[Any] = []
    messages: list[str] = []

    def make(url: str = server.url, context: Any = None, wait: bool = True, **options: Any) -> Page:
        if context is None:
            options = {"viewport": {"width": 1200, "height": 800}, **options}
            context = chromium.new_context(**options)
            contexts.append(context)
        page: Page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: messages.append(f"error: {error}"))
        page.goto(f"{url}/")
        if wait:
            until(page, "document.activeElement.id === 'editor'")
        return page

    make.messages = messages  # type: ignore[attr-defined]
    yield make
    for context in contexts:
        context.close()
    assert messages == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """The page of a new visitor."""
    return new_page()
