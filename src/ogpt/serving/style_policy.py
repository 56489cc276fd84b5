"""The content security policy of a page that is one file without scripts."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256


def style_policy(page: str, *, has_form: bool = False) -> str:
    """A policy that allows the style of a page, and no other file, script or frame.

    Args:
        page: HTML with one style element.
        has_form: Whether the page may send a form to its own server.
    """
    found = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = b64encode(sha256(found[1].encode() if found else b"").digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        f"form-action '{'self' if has_form else 'none'}'; frame-ancestors 'none'"
    )
