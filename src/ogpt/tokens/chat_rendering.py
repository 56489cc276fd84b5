"""Render chat templates: Jinja in a sandbox, with the functions that transformers gives them.

A template comes with a tokenizer, so it is code of a stranger. The sandbox lets it change nothing,
and read no attributes of Python's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import Any

from ogpt.errors import BackendMissing, TokenizerError

Span = tuple[int, int]
"""Characters of a rendered chat: the first, and the one past the last."""
_START, _END = "\udc01", "\udc02"  # lone surrogates, which no text has


def render(template: str, variables: Mapping[str, Any]) -> tuple[str, list[Span]]:
    """Render a chat template.

    Args:
        template: In Jinja.
        variables: `messages`, `add_generation_prompt`, special tokens by name, ...

    Returns:
        The text, and the places of its `{% generation %}` blocks: what the assistant wrote.

    Raises:
        BackendMissing: Jinja is not installed.
        TokenizerError: the template is damaged, or refuses the conversation.
    """
    environment = _environment()
    from jinja2.exceptions import TemplateError

    try:
        marked: str = environment.from_string(template).render(**variables)
    except (TemplateError, TypeError) as error:
        raise TokenizerError(
            f"the chat template failed: {type(error).__name__}: {error}",
            hint="check the roles and fields of the messages against the template",
        ) from error
    parts = marked.replace(_END, _START).split(_START)
    places = [0]
    for part in parts:
        places.append(places[-1] + len(part))
    return "".join(parts), list(pairwise(places))[1::2]


@cache
def _environment() -> Any:
    """Make the sandbox."""
    try:
        from jinja2 import nodes
        from jinja2.exceptions import TemplateError
        from jinja2.ext import Extension
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise BackendMissing(
            "chat templates need Jinja, which is not installed", hint="pip install 'ogpt[chat]'"
        ) from error

    class GenerationBlock(Extension):
        """The block `{% generation %}`: what the assistant wrote."""

        tags = {"generation"}  # noqa: RUF012  # as Jinja declares it

        def parse(self, parser: Any) -> Any:
            """Put marks around the block."""
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            marks = (nodes.Output([nodes.TemplateData(mark)]) for mark in (_START, _END))
            start, end = marks
            return nodes.Scope([start, *body, end]).set_lineno(line)

    def refuse(message: str) -> str:
        raise TemplateError(message)

    def as_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)  # without HTML's escapes

    def now(form: str) -> str:
        return datetime.now().strftime(form)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationBlock, "jinja2.ext.loopcontrols"],
    )
    made.filters["tojson"] = as_json
    made.globals |= {"raise_exception": refuse, "strftime_now": now}
    return made
