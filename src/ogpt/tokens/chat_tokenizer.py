"""ChatTokenizer: conversations to text and ids by a chat template, as in transformers.

GPT-1 has no chat template. This serves models that were fine-tuned on conversations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ogpt.errors import TokenizerError
from ogpt.tokens.batch_encoding import BatchEncoding
from ogpt.tokens.chat_rendering import Span, render
from ogpt.tokens.control_tokens import ControlTokens
from ogpt.tokens.tokenizer_base import TokenizerBase

Chat = Sequence[Mapping[str, Any]]
"""Messages: each has `role` and `content`, and what else the template reads."""


class ChatTokenizer(TokenizerBase):
    """The part of a tokenizer that knows conversations."""

    chat_template: str | dict[str, str] | None
    """A template in Jinja, or several by name."""

    def get_chat_template(
        self, chat_template: str | None = None, tools: Sequence[Any] | None = None
    ) -> str:
        """Return the chat template to use.

        Args:
            chat_template: A template, or the name of one of several; None uses `tool_use` if there
                are tools, else `default`, or the only one.
            tools: Tools of the conversation.

        Raises:
            TokenizerError: there is none.
        """
        held = self.chat_template
        if isinstance(held, dict):
            names = ["tool_use", "default"] if tools else ["default"]
            names = names if chat_template is None else [chat_template]
            found = next((held[name] for name in names if name in held), chat_template)
        else:
            found = held if chat_template is None else chat_template
        if found is None:
            seen = f"only the templates {sorted(held)}" if held else "no chat template"
            raise TokenizerError(
                f"the tokenizer has {seen}",
                hint="pass chat_template, a template in Jinja or the name of one",
            )
        return found

    def apply_chat_template(
        self,
        conversation: Chat | Sequence[Chat],
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        *,
        sanitize_control_tokens: bool = False,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **variables: Any,
    ) -> Any:
        """Convert a conversation, or several, to model inputs.

        Args:
            conversation: Messages with `role` and `content`, or several lists of messages.
            tools: Tools that the model may call, as JSON schemas.
            documents: Documents for the model, each with `title` and `text`.
            chat_template: A template, or the name of one; None uses that of the tokenizer.
            add_generation_prompt: End with what begins an answer.
            continue_final_message: Leave the last message open, for the model to continue.
            tokenize: False returns the text.
            sanitize_control_tokens: Encode special tokens in messages, tools, documents and
                variables as text: the safe way with messages of users. Those of the template stay.
            return_dict: False returns the ids alone, as version 4 of transformers does by default.
            return_assistant_tokens_mask: Add `assistant_masks`, 1 for what the assistant wrote:
                the `{% generation %}` blocks of the template.
            tokenizer_kwargs: Arguments of calling the tokenizer.
            variables: padding, truncation, max_length and return_tensors of calling the tokenizer;
                all others are variables of the template.

        Raises:
            BackendMissing: Jinja is not installed.
            TokenizerError: there is no template, it fails, or arguments exclude each other.
        """
        if continue_final_message and (add_generation_prompt or return_assistant_tokens_mask):
            raise TokenizerError(
                "continue_final_message is True; allowed with add_generation_prompt or "
                "return_assistant_tokens_mask: False",
                hint="either continue the last message, or begin an answer",
            )
        if return_assistant_tokens_mask and not (tokenize and return_dict and self.is_fast):
            raise TokenizerError(
                "return_assistant_tokens_mask is True; allowed: False without tokenize, without "
                "return_dict, or if the characters of tokens are unknown",
                hint="use OpenAIGPTTokenizerFast with tokenize=True and return_dict=True",
            )
        if sanitize_control_tokens and (return_assistant_tokens_mask or not tokenize):
            raise TokenizerError(
                "sanitize_control_tokens is True; allowed: False without tokenize, or with "
                "return_assistant_tokens_mask",
                hint="omit one of them",
            )
        template = self.get_chat_template(chat_template, tools)
        options = {name: variables.pop(name) for name in _CALL if name in variables}
        chats, single = _chats_of(conversation)
        given = {"tools": list(tools) if tools else None, "documents": documents, **variables}
        control = ControlTokens(t.content for t in self.added_tokens_decoder.values() if t.special)
        if sanitize_control_tokens:
            given, chats = control.marked(given), control.marked(chats)
        shown = {"add_generation_prompt": add_generation_prompt, **self.special_tokens_map, **given}
        rendered = [render(template, {**shown, "messages": chat}) for chat in chats]
        texts = [text for text, _ in rendered]
        if continue_final_message:
            texts = [_opened(text, chat) for text, chat in zip(texts, chats, strict=True)]
        if not tokenize:
            return texts[0] if single else texts
        options = {"add_special_tokens": False, **options, **(tokenizer_kwargs or {})}
        kind = options.get("return_tensors")
        if sanitize_control_tokens:
            encoded = self._sanitized([control.parts(text) for text in texts], options)
            if single and not kind:
                encoded = BatchEncoding({name: value[0] for name, value in encoded.items()})
        else:
            encoded = self(texts[0] if single else texts, **options)
        if return_assistant_tokens_mask:
            masks = [_mask(encoded, place, spans) for place, (_, spans) in enumerate(rendered)]
            encoded["assistant_masks"] = masks[0] if single and not kind else masks
            encoded.convert_to_tensors(kind)
        return encoded if return_dict else encoded["input_ids"]

    def _sanitized(
        self, chats: Sequence[Sequence[tuple[str, bool]]], options: Mapping[str, Any]
    ) -> BatchEncoding:
        """Encode chats in parts; True marks a special token that a user wrote, which is text."""
        cut = {name: options[name] for name in ("truncation", "max_length") if name in options}
        fill = {name: options[name] for name in ("max_length", "return_tensors") if name in options}
        rows = []
        for parts in chats:
            ids = [
                token
                for part, is_text in parts
                for token in self.encode(
                    part, add_special_tokens=False, split_special_tokens=is_text or None
                )
            ]
            rows.append(self.prepare_for_model(ids, add_special_tokens=False, **cut)["input_ids"])
        return self.pad({"input_ids": rows}, padding=options.get("padding", False), **fill)

    def encode_message_with_chat_template(
        self,
        message: Mapping[str, Any],
        conversation_history: Chat | None = None,
        **options: Any,
    ) -> list[int]:
        """Return the ids that one more message adds to a conversation.

        Args:
            message: The message.
            conversation_history: The messages before it.
            options: Those of apply_chat_template, without add_generation_prompt.
        """
        before = list(conversation_history or ())
        options = {**options, "add_generation_prompt": False, "return_dict": False}
        ids: list[int] = self.apply_chat_template([*before, message], **options)
        if not before:
            return ids
        held: list[int] = self.apply_chat_template(before, **options)
        same = zip(held, ids, strict=False)
        start = next((n for n, (a, b) in enumerate(same) if a != b), min(len(held), len(ids)))
        return ids[start:]


_CALL = ("padding", "truncation", "max_length", "return_tensors")


def _chats_of(conversation: Any) -> tuple[list[Any], bool]:
    """Return conversations as a list, and whether it was a single one.

    Raises:
        TokenizerError: there is no message.
    """
    given = getattr(conversation, "messages", conversation)
    single = not given or isinstance(given[0], Mapping)
    chats = [given] if single else [getattr(each, "messages", each) for each in given]
    if not all(chats):
        raise TokenizerError(
            f"the conversation is {conversation!r}; allowed: one message or more",
            hint="pass messages such as {'role': 'user', 'content': 'hello'}",
        )
    return chats, single


def _opened(text: str, chat: Chat) -> str:
    """Cut a rendered chat after its last message.

    Raises:
        TokenizerError: the template changed the message.
    """
    final = chat[-1].get("content")
    if isinstance(final, list | tuple):  # parts of several kinds
        final = next((part["text"] for part in reversed(final) if "text" in part), None)
    place = text.rfind(str(final).strip()) if final is not None else -1
    if final is None or place < 0:
        raise TokenizerError(
            "continue_final_message is True, but the last message is not in the rendered chat",
            hint="use a template that keeps the text of messages, or add_generation_prompt=True",
        )
    whole = place + len(str(final).lstrip())  # with the spaces after it, if the template keeps them
    kept = text[place:whole] == str(final).lstrip()
    return text[: whole if kept else place + len(str(final).strip())]


def _mask(encoded: Any, place: int, spans: Sequence[Span]) -> list[int]:
    """Return 1 for each token of a text that lies in one of the spans of characters."""
    offsets = encoded.offsets(place)
    kinds = encoded.sequence_ids(place)
    return [
        int(kind is not None and any(start < b and a < end for a, b in spans))
        for (start, end), kind in zip(offsets, kinds, strict=True)
    ]
