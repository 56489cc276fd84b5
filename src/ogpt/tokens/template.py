"""Special tokens around a text or a pair: what a fine-tuned model was trained with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tokenizers import Encoding
from tokenizers.processors import TemplateProcessing

from ogpt.errors import TokenizerError
from ogpt.notices import tell

TEMPLATE = "template"
"""Key of tokenizer_config.json."""


class Template(NamedTuple):
    """start, text, end; or start, first text, middle, second text, end."""

    start: str
    middle: str
    end: str

    def count(self, pair: bool) -> int:
        """Number of special tokens of a row."""
        return 2 + pair

    def post_processor(self, id_of: Callable[[str], int | None]) -> TemplateProcessing:
        """The same as a part of tokenizer.json, which transformers applies."""
        return TemplateProcessing(
            single=f"{self.start} $A:0 {self.end}",
            pair=f"{self.start} $A:0 {self.middle} $B:1 {self.end}",
            special_tokens=[(token, id_of(token)) for token in dict.fromkeys(self)],
        )

    def joiner(self, id_of: Callable[[str], int | None]) -> Callable[[list[Encoding]], Encoding]:
        """What joins the texts of a row, one or two, with the special tokens around them."""
        processor = self.post_processor(id_of)

        def join(row: list[Encoding]) -> Encoding:
            return processor.process(row[0], row[1] if len(row) > 1 else None)

        return join


def read_template(
    settings: dict[str, Any], pipeline: dict[str, Any], folder: object
) -> Template | None:
    """The template of a folder; None: it has none.

    Args:
        settings: Content of tokenizer_config.json, where ogpt stores it.
        pipeline: Content of tokenizer.json, where transformers does; other forms than ours, such as
            one token at the end only, are not read, with a notice.
        folder: For the error.

    Raises:
        TokenizerError: it is damaged.
    """
    stored = settings.get(TEMPLATE)
    if stored is None:
        part = pipeline.get("post_processor")
        found = _of_post_processor(part)
        if found is None and _adds_tokens(part):
            tell("template-ignored", path=folder)
        return found
    if not isinstance(stored, list) or len(stored) != 3 or not all(map(_is_token, stored)):
        raise TokenizerError(
            f"{TEMPLATE} in the tokenizer_config.json of {folder} is {stored!r}; allowed: the "
            "tokens at the start, between two texts, and at the end",
            hint="restore the file, or delete the entry: texts then get no special tokens",
        )
    return Template(*stored)


def _of_post_processor(part: Any) -> Template | None:
    """The template of a TemplateProcessing that has our form, as transformers writes it again."""
    if not isinstance(part, dict) or part.get("type") != "TemplateProcessing":
        return None
    pair = [_token(item) for item in part.get("pair", ())]
    single = [_token(item) for item in part.get("single", ())]
    if len(pair) != 5 or single != [pair[0], None, pair[4]] or pair[1] or pair[3]:
        return None
    found = [token for token in pair if token is not None]
    return Template(*found) if len(found) == 3 else None


def _adds_tokens(part: Any) -> bool:
    """Whether a TemplateProcessing puts any special token around a text or a pair."""
    if not isinstance(part, dict) or part.get("type") != "TemplateProcessing":
        return False
    return any(map(_token, [*part.get("single", ()), *part.get("pair", ())]))


def _token(item: dict[str, Any]) -> str | None:
    """The special token of an item of TemplateProcessing; None: it stands for a text."""
    return item["SpecialToken"]["id"] if "SpecialToken" in item else None


def _is_token(value: Any) -> bool:
    return isinstance(value, str) and value != ""
