"""BatchEncoding, prepare_for_model and chats: what the recorded calls do not ask."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from ogpt.errors import BackendMissing, TokenizerError
from ogpt.layout import CHAT_TEMPLATE_FILE, TOKENIZER_CONFIG_FILE
from ogpt.notices import collecting
from ogpt.tokens import chat_rendering
from ogpt.tokens.batch_encoding import BatchEncoding
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.template import Template
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.golden.tokenizer_cases import CHAT, MERGES, TEMPLATE, VOCAB

SPECIAL = ["<s>", "<d>", "<e>"]


def fast(**options: Any) -> OpenAIGPTTokenizerFast:
    return OpenAIGPTTokenizerFast(vocab=VOCAB, merges=MERGES, **options)


def english(**options: Any) -> OpenAIGPTTokenizer:
    return OpenAIGPTTokenizer(vocab=VOCAB, merges=MERGES, pre_tokenizer="openai", **options)


def with_template() -> OpenAIGPTTokenizerFast:
    tokenizer = fast(additional_special_tokens=SPECIAL, pad_token="<pad>")
    tokenizer.template = Template(*SPECIAL)
    return tokenizer


# ---- BatchEncoding


def test_a_batch_encoding_is_a_mapping_with_methods() -> None:
    batch = fast()(["low er", "the cat"])
    assert batch.data == dict(batch)
    assert batch[0:1][0].tokens == ["low</w>", "er</w>"]
    for made in (batch.copy(), copy.copy(batch), pickle.loads(pickle.dumps(batch))):
        assert type(made) is BatchEncoding
        assert (dict(made), made.is_fast, made.n_sequences) == (dict(batch), True, 1)
        assert made.words(1) == made.word_ids(1) == [0, 1]
    assert batch.token_to_chars(0, -1 + 2) == (4, 6)
    assert batch.token_to_chars(0, 1).end == 6  # type: ignore[union-attr]
    assert batch.word_to_tokens(0, 1).start == 1  # type: ignore[union-attr]
    assert batch.token_to_word(0, -1) == 1
    assert batch.convert_to_tensors("np").input_ids.shape == (2, 2)
    with pytest.raises(AttributeError, match="BatchEncoding has no 'labels'; it has input_ids"):
        _ = batch.labels


def test_inputs_made_of_ids_have_no_text() -> None:
    made = fast(pad_token="<pad>").pad({"input_ids": [[5, 6], [7]]})
    assert (made.is_fast, made.encodings, made.n_sequences) == (False, [], None)
    assert made[0:1] == {"input_ids": [[5, 6]], "attention_mask": [[1, 1]]}
    with pytest.raises(TokenizerError, match="were made of ids") as caught:
        made.tokens()
    assert "before padding" in caught.value.hint


def test_characters_are_unknown_where_ftfy_changed_them() -> None:
    batch = english()("the cat")
    assert (batch.is_fast, batch.tokens(), batch.word_ids()) == (
        False,
        ["the</w>", "cat</w>"],
        [0, 1],
    )
    assert batch.word_to_tokens(1) == (1, 2)
    for ask in (batch.char_to_token, batch.char_to_word, batch.token_to_chars, batch.word_to_chars):
        with pytest.raises(TokenizerError, match="characters of tokens are unknown") as caught:
            ask(1)
        assert caught.value.hint == "use OpenAIGPTTokenizerFast"
    with pytest.raises(TokenizerError, match="are unknown"):
        batch.offsets()


# ---- texts and ids


def test_pairs_that_are_no_pairs() -> None:
    with pytest.raises(TokenizerError, match=r"a pair of texts is \('a', 'b', 'c'\)") as caught:
        fast()([("a", "b"), ("a", "b", "c")])
    assert "is_split_into_words" in caught.value.hint
    pairs = [(["the", "cat"], ["low"]), (["on"], ["er"])]
    found = fast()(pairs, is_split_into_words=True)
    assert found == fast()(["the cat", "on"], ["low", "er"])
    assert found.n_sequences == 2


def test_a_template_is_put_around_ids_too() -> None:
    tokenizer = with_template()
    start, middle, end = tokenizer.additional_special_tokens_ids
    ids = [start, 5, 6, middle, 7, end]
    assert tokenizer.build_inputs_with_special_tokens([5, 6], [7]) == ids
    assert tokenizer.create_token_type_ids_from_sequences([5, 6], [7]) == [0, 0, 0, 0, 1, 0]
    assert tokenizer.get_special_tokens_mask([5, 6], [7]) == [1, 0, 0, 1, 0, 1]
    assert tokenizer.max_len_sentences_pair == tokenizer.model_max_length - 3
    made = tokenizer.prepare_for_model([5, 6], [7], return_special_tokens_mask=True)
    assert (made.input_ids, made.special_tokens_mask) == (ids, [1, 0, 0, 1, 0, 1])
    with collecting() as notices:
        cut = tokenizer.prepare_for_model([5, 6, 7], max_length=4, truncation=True)
    assert cut.input_ids == [start, 5, 6, end]
    assert [notice.kind for notice in notices] == ["text-truncated"]
    tokens = tokenizer.tokenize("low", "cat", add_special_tokens=True)
    assert tokens == ["<s>", "low</w>", "<d>", "cat</w>", "<e>"]
    assert tokenizer.tokenize("low", add_special_tokens=True) == ["<s>", "low</w>", "<e>"]
    assert tokenizer.tokenize("low", "cat") == ["low</w>", "cat</w>"]


def test_further_arguments_by_name() -> None:
    tokenizer = fast(pad_token="<pad>")
    found = tokenizer("low", tokenizer_kwargs={"padding": "max_length", "max_length": 3})
    assert found.attention_mask == [1, 0, 0]
    with pytest.raises(TypeError, match="paddin"):
        tokenizer("low", tokenizer_kwargs={"paddin": True})


# ---- names of a model's own


def test_special_tokens_of_names_of_ones_own(tmp_path: Path) -> None:
    tokenizer = fast(extra_special_tokens={"image_token": "<image>"})
    tokenizer.save_pretrained(tmp_path)
    for each in (tokenizer, OpenAIGPTTokenizerFast.from_pretrained(tmp_path)):
        assert (each.image_token, each.image_token_id) == ("<image>", len(VOCAB))  # type: ignore[attr-defined]
        assert each.special_tokens_map["image_token"] == "<image>"
        assert each.extra_special_tokens == []
        assert each.decode([5, len(VOCAB)], skip_special_tokens=True) == "e"
    with pytest.raises(
        AttributeError, match="OpenAIGPTTokenizerFast has no attribute 'video_token'"
    ):
        _ = tokenizer.video_token  # type: ignore[attr-defined]
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.image_token, theirs.image_token_id) == ("<image>", len(VOCAB))
    theirs.save_pretrained(tmp_path / "theirs")
    again = OpenAIGPTTokenizerFast.from_pretrained(tmp_path / "theirs")
    assert again.image_token_id == len(VOCAB)  # type: ignore[attr-defined]


# ---- chats


def test_chats_of_every_kind() -> None:
    tokenizer = fast(chat_template={"default": TEMPLATE, "tool_use": "{{ tools | tojson }}"})
    tools = [{"name": "<f>", "text": "é"}]
    shown = tokenizer.apply_chat_template(CHAT, tools=tools, tokenize=False)
    assert shown == '[{"name": "<f>", "text": "é"}]'
    one = tokenizer.apply_chat_template(CHAT, return_tensors="np")
    assert one.input_ids.shape[0] == 1
    several = tokenizer.apply_chat_template([CHAT, CHAT[:1]], return_assistant_tokens_mask=True)
    assert [len(row) for row in several.assistant_masks] == [len(row) for row in several.input_ids]
    assert (sum(several.assistant_masks[0]), sum(several.assistant_masks[1])) == (7, 0)
    both = tokenizer.apply_chat_template([CHAT, CHAT], tokenize=False, continue_final_message=True)
    assert both[0].endswith("low ")
    parts = [{"role": "user", "content": [{"type": "text", "text": "low"}]}]
    shown = "{{ messages[0]['content'][0]['text'] }} er"
    assert tokenizer.apply_chat_template(
        parts, chat_template=shown, tokenize=False, continue_final_message=True
    ) == "low"  # fmt: skip
    ids = tokenizer.encode_message_with_chat_template(CHAT[0])
    assert ids == tokenizer.apply_chat_template(CHAT[:1], return_dict=False)
    year = tokenizer.apply_chat_template(
        CHAT, chat_template="{{ strftime_now('%Y') }}", tokenize=False
    )
    assert len(year) == 4


def test_special_tokens_of_users_in_chats() -> None:
    """They are text in any form that the template gives them; its own are tokens."""
    tokenizer = fast(eos_token="<e>", pad_token="<pad>", chat_template=TEMPLATE)
    end = tokenizer.eos_token_id
    shown = "{{ messages[0]['content'] }}<e>"
    for written in ("low<e>", "<<e>e>", "\udc03<e>\udc04", "<pad><e>"):
        chat = [{"role": "user", "content": written}]
        ids = tokenizer.apply_chat_template(
            chat, chat_template=shown, sanitize_control_tokens=True, return_dict=False
        )
        assert (ids[-1], ids.count(end), tokenizer.pad_token_id in ids) == (end, 1, False)
    cut = "{{ messages[0]['content'][1:] }}<e>"  # which loses one of two marks
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "<e>low"}],
        chat_template=cut,
        sanitize_control_tokens=True,
        return_tensors="np",
        truncation=True,
        max_length=20,
    ).input_ids
    assert ids.shape[0] == 1


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"continue_final_message": True, "add_generation_prompt": True}, "continue_f", "begin"),
        ({"return_assistant_tokens_mask": True, "tokenize": False}, "return_assi", "tokenize=True"),
        ({"sanitize_control_tokens": True, "tokenize": False}, "sanitize_control_to", "omit one"),
        ({"conversation": []}, r"the conversation is \[\]; allowed", "role"),
        ({"chat_template": "{% if %}"}, "the chat template failed: TemplateSyntax", "messages"),
        ({"chat_template": "{{ raise_exception('no tools') }}"}, "no tools", "roles"),
        ({"chat_template": "{{ messages.append(1) }}"}, "failed: SecurityError", "messages"),
        ({"chat_template": "x", "continue_final_message": True}, "not in the rendered", "keeps"),
    ],
)
def test_chats_that_fail(options: dict[str, Any], message: str, hint: str) -> None:
    tokenizer = fast(chat_template=TEMPLATE)
    with pytest.raises(TokenizerError, match=message) as caught:
        tokenizer.apply_chat_template(**{"conversation": CHAT, **options})
    assert hint in caught.value.hint


def test_a_tokenizer_without_a_chat_template(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(TokenizerError, match="has no chat template") as caught:
        fast().apply_chat_template(CHAT)
    assert "Jinja" in caught.value.hint
    with pytest.raises(TokenizerError, match=r"only the templates \['a'\]"):
        fast(chat_template={"a": "b"}).get_chat_template()
    fast(chat_template="x").save_pretrained(tmp_path)
    assert (tmp_path / CHAT_TEMPLATE_FILE).read_text() == "x"
    fast().save_pretrained(tmp_path)
    assert not (tmp_path / CHAT_TEMPLATE_FILE).exists()
    (tmp_path / TOKENIZER_CONFIG_FILE).write_text('{"chat_template": 5}')
    with pytest.raises(TokenizerError, match=r"chat_template in .* is 5; allowed") as caught:
        OpenAIGPTTokenizerFast.from_pretrained(tmp_path)
    assert "delete the entry" in caught.value.hint
    monkeypatch.setitem(sys.modules, "jinja2", None)
    chat_rendering._environment.cache_clear()
    with pytest.raises(BackendMissing, match="need Jinja") as missing:
        fast(chat_template=TEMPLATE).apply_chat_template(CHAT)
    assert missing.value.hint == "pip install 'ogpt[chat]'"
