"""`ogpt doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ogpt.cli.answers import answer
from ogpt.cli.common_options import Json


def doctor(as_json: Json = False) -> None:
    """Check this machine and suggest fixes."""
    import ogpt

    checks = ogpt.doctor()
    if as_json:
        answer({check.name: asdict(check) for check in checks}, as_json=True)
        return
    facts: dict[str, Any] = {check.name: check.value for check in checks}
    if fixes := {check.name: check.fix for check in checks if check.fix}:
        facts["to fix"] = fixes
    answer(facts, as_json=False)
