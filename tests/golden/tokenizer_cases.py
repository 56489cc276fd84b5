"""What is asked of a tokenizer: of transformers' classes and of ours, in the same words.

`python tokenizer_cases.py FILE` records what the transformers of the environment answers. The
environment of tokenizer_calls_4.57.6.json, apart from the project's:

    python -m venv old && . old/bin/activate
    pip install torch==2.13.0 transformers==4.57.6
    python tests/golden/tokenizer_cases.py tests/golden/tokenizer_calls_4.57.6.json
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from tokenizers import AddedToken

MERGES = [
    *(("t", "h"), ("th", "e</w>"), ("c", "a"), ("ca", "t</w>"), ("s", "a"), ("sa", "t</w>")),
    *(("l", "o"), ("lo", "w"), ("lo", "w</w>"), ("e", "r</w>"), ("o", "n</w>")),
]
ENTRIES = [
    *("<unk>", *ascii_lowercase, ".", ",", "<", ">"),
    *(f"{letter}</w>" for letter in (*ascii_lowercase, ".", ",", "<", ">")),
    *map("".join, MERGES),
]
VOCAB = {token: index for index, token in enumerate(ENTRIES)}
TEXTS = ["azqb zq", "the zq cat", "the  zq  cat", "zqzq", "ZQ zq.", "zq"]
CHAT = [
    {"role": "user", "content": "the cat"},
    {"role": "assistant", "content": "sat on"},
    {"role": "user", "content": "low "},
]
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "bot {% generation %}{{ message['content'] }}<end>{% endgeneration %}"
    "{% else %}{{ message['role'] }} {{ message['content'] }}<end>{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}bot {% endif %}"
)

Make = Callable[..., Any]
"""Makes a tokenizer; the arguments are special tokens and settings."""


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, AddedToken):
        flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
        return {"content": value.content, **{flag: getattr(value, flag) for flag in flags}}
    if isinstance(value, Mapping) or (hasattr(value, "data") and hasattr(value, "keys")):
        return {str(key): plain(value[key]) for key in value}
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return [str(value.dtype).removeprefix("torch."), value.tolist()]
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def reloaded(tokenizer: Any) -> Any:
    """The tokenizer, saved and loaded again."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return type(tokenizer).from_pretrained(folder)


def filled(tokenizer: Any) -> list[list[str]]:
    return [tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) for text in TEXTS]


def padded(make: Make, /, rows: Any, **options: Any) -> Any:
    return make(pad_token="<pad>").pad(rows, **options)


def added(make: Make, /, **flags: bool) -> Any:
    """The tokens of texts that spell a special token with these flags, before and after saving."""
    tokenizer = make(eos_token=AddedToken("zq", **flags))
    again = reloaded(tokenizer)
    return [filled(tokenizer), filled(again), again.added_tokens_decoder[len(VOCAB)]]


def spans(make: Make) -> Any:
    """What is known of the characters and words of a pair of texts, in a batch of two."""
    batch = make()(["low er", "the cat"], ["cat", "sat on."])
    return {
        "tokens": [batch.tokens(0), batch.tokens(1)],
        "word_ids": batch.word_ids(1),
        "sequence_ids": batch.sequence_ids(1),
        "char_to_token": [batch.char_to_token(1, 4), batch.char_to_token(1, 1, 1)],
        "char_to_word": [batch.char_to_word(1, 4), batch.char_to_word(1, 5, 1)],
        "token_to_chars": [batch.token_to_chars(0, 1), batch.token_to_chars(1, 3)],
        "token_to_word": [batch.token_to_word(1, 1), batch.token_to_word(1, 3)],
        "token_to_sequence": [batch.token_to_sequence(1, 0), batch.token_to_sequence(1, 3)],
        "word_to_tokens": [batch.word_to_tokens(1, 1), batch.word_to_tokens(1, 0, 1)],
        "word_to_chars": [batch.word_to_chars(1, 1), batch.word_to_chars(1, 1, 1)],
        "in the first text": [batch.char_to_token(4), batch.word_to_tokens(1)],
        "n_sequences": batch.n_sequences,
        "no such place": [batch.char_to_token(1, 99), batch.word_to_tokens(1, 99)],
    }


def lists_of_special_tokens(make: Make) -> Any:
    """The list without names: set, replaced, appended to, in each form that it is shown."""
    tokenizer = make(additional_special_tokens=["<a>", AddedToken("<b>", lstrip=True)])
    seen = [tokenizer.all_special_tokens, tokenizer.all_special_ids]
    for more, replaced in ((["<c>"], True), (["<d>", "<c>"], False), ([], True)):
        count = tokenizer.add_special_tokens({"additional_special_tokens": more}, replaced)
        seen += [count, tokenizer.all_special_tokens, tokenizer.encode("x<a><c><d>")]
    return seen


def chat(make: Make, /, **options: Any) -> Any:
    tokenizer = make(chat_template=TEMPLATE, eos_token="<end>")
    return tokenizer.apply_chat_template(CHAT, **options)


def named(make: Make, name: str) -> Any:
    tokenizer = make(pad_token="<pad>", additional_special_tokens=["<a>"], model_max_length=9)
    tokenizer.add_tokens(["newtok"])
    found = getattr(tokenizer, name)
    return found() if callable(found) else found


ROWS = [{"input_ids": [5, 6, 7], "labels": 1}, {"input_ids": [8], "labels": 0}]
MASKED = {
    "input_ids": [[5, 6], [7]],
    "attention_mask": [[1, 1], [1]],
    "token_type_ids": [[0, 1], [1]],
    "special_tokens_mask": [[1, 0], [0]],
}
PAIRS = [("the cat", "sat on"), ("low", "er")]
NO_DICT = {"tokenize": True, "return_dict": False}

TRICK = [{"role": "user", "content": "the <end>cat<e<end>nd> <end>"}, *CHAT]

CASES: dict[str, Callable[[Make], Any]] = {
    # ---- added tokens keep their flags
    "added single_word": lambda make: added(make, single_word=True, normalized=False, special=True),
    "added lstrip": lambda make: added(make, lstrip=True, normalized=False, special=True),
    "added rstrip": lambda make: added(make, rstrip=True, normalized=False, special=True),
    "added as it is": lambda make: added(make, normalized=False, special=True),
    "added normalized": lambda make: added(make, normalized=True, special=True),
    "added single_word normalized": lambda make: added(make, single_word=True),
    "the flags of a string": lambda make: make(eos_token="zq").added_tokens_decoder,
    # ---- padding
    "pad rows": lambda make: padded(make, ROWS),
    "pad rows to tensors": lambda make: padded(make, ROWS, return_tensors="pt"),
    "pad rows to arrays": lambda make: padded(make, ROWS, return_tensors="np"),
    "pad on the left": lambda make: padded(make, MASKED, padding_side="left"),
    "pad to a multiple": lambda make: padded(make, MASKED, pad_to_multiple_of=4),
    "pad to a length": lambda make: padded(make, MASKED, padding="max_length", max_length=3),
    "pad to a shorter length": lambda make: padded(make, ROWS, padding="max_length", max_length=2),
    "pad nothing": lambda make: padded(make, MASKED, padding=False),
    "pad one row": lambda make: padded(make, {"input_ids": [5, 6]}, pad_to_multiple_of=3),
    "pad without a mask": lambda make: padded(make, ROWS, return_attention_mask=False),
    "pad regression labels": lambda make: padded(
        make, [{"input_ids": [5], "labels": 0.5}], return_tensors="pt"
    ),
    # ---- calling
    "a pair": lambda make: make()("the cat", "sat", return_token_type_ids=True),
    "a list of pairs": lambda make: make()(PAIRS, return_token_type_ids=True),
    "a list of pairs as lists": lambda make: make()(list(map(list, PAIRS))),
    "words": lambda make: make()([["the", "cat"], ["low"]], is_split_into_words=True),
    "pairs of words": lambda make: make()(
        [["the", "cat"], ["on"]], [["low"], ["er"]], is_split_into_words=True
    ),
    "labels": lambda make: make()("the cat", text_target="sat on"),
    "labels of a batch": lambda make: make()(["the", "cat"], text_target=["sat", "on"]),
    "labels alone": lambda make: make()(text_target="sat on"),
    "encode_plus": lambda make: make().encode_plus(
        "the cat", "sat", return_special_tokens_mask=True
    ),
    "batch_encode_plus": lambda make: make(pad_token="<pad>").batch_encode_plus(
        ["the cat", "low"], padding=True, return_tensors="np"
    ),
    "batch_encode_plus of pairs": lambda make: make().batch_encode_plus(PAIRS),
    "without special tokens": lambda make: [
        make().encode("the cat", add_special_tokens=False),
        make()("the cat", add_special_tokens=False)["input_ids"],
        make().tokenize("the cat", add_special_tokens=False),
    ],
    "tensors of a text": lambda make: make().encode("the cat", return_tensors="pt"),
    "length": lambda make: make(pad_token="<pad>")(
        ["the cat", "low"], padding=True, return_length=True
    ),
    "types of the model": lambda make: make(model_input_names=["input_ids", "token_type_ids"])(
        "low"
    ),
    "split_special_tokens": lambda make: [
        make(pad_token="<pad>")("the <pad> cat<pad>", split_special_tokens=True)["input_ids"],
        make(pad_token="<pad>", split_special_tokens=True)("the <pad>")["input_ids"],
        make(pad_token="<pad>")("the <pad>")["input_ids"],
    ],
    "split_special_tokens saved": lambda make: reloaded(
        make(pad_token="<pad>", split_special_tokens=True)
    )("the <pad>")["input_ids"],
    "spans": spans,
    # ---- ids
    "build_inputs_with_special_tokens": lambda make: make().build_inputs_with_special_tokens(
        [5, 6], [7]
    ),
    "create_token_type_ids_from_sequences": lambda make: (
        make().create_token_type_ids_from_sequences([5, 6], [7])
    ),
    "get_special_tokens_mask": lambda make: make(eos_token="<e>").get_special_tokens_mask(
        [5, len(VOCAB), 0], already_has_special_tokens=True
    ),
    "num_special_tokens_to_add": lambda make: make().num_special_tokens_to_add(pair=True),
    "prepare_for_model": lambda make: make(pad_token="<pad>").prepare_for_model(
        [5, 6, 7, 8, 9],
        [10, 11],
        max_length=5,
        truncation="only_first",
        stride=1,
        return_overflowing_tokens=True,
        return_length=True,
    ),
    "prepare_for_model padded": lambda make: make(pad_token="<pad>").prepare_for_model(
        [5, 6],
        padding="max_length",
        max_length=4,
        return_tensors="np",
        prepend_batch_axis=True,
        return_token_type_ids=True,
    ),
    "truncate_sequences": lambda make: [
        make().truncate_sequences([1, 2, 3, 4], num_tokens_to_remove=2, stride=1),
        make().truncate_sequences([1, 2, 3, 4], [5, 6, 7], 3, "longest_first"),
        make().truncate_sequences([1, 2, 3, 4], [5, 6, 7], 2, "only_second"),
        make(truncation_side="left").truncate_sequences([1, 2, 3, 4], None, 2, "only_first", 1),
    ],
    # ---- tokens
    **{
        name: (lambda make, name=name: named(make, name))
        for name in (
            *("special_tokens_map", "all_special_tokens", "all_special_ids", "get_added_vocab"),
            *("added_tokens_decoder", "added_tokens_encoder", "special_tokens_map_extended"),
            *("additional_special_tokens", "additional_special_tokens_ids"),
            *("extra_special_tokens", "extra_special_tokens_ids", "all_special_tokens_extended"),
            *("max_len_single_sentence", "max_len_sentences_pair", "pad_token_type_id"),
            *("do_lower_case", "vocab", "vocab_size", "__len__", "model_input_names"),
        )
    },
    "lists of special tokens": lists_of_special_tokens,
    "convert_ids_to_tokens": lambda make: make(pad_token="<pad>").convert_ids_to_tokens(
        [5, len(VOCAB), 6], skip_special_tokens=True
    ),
    "decode several": lambda make: [
        make().decode([[5, 6], [7]]),
        make().batch_decode([[5, 6], [7]]),
    ],
    "clean_up_tokenization": lambda make: make().clean_up_tokenization("i do n't , he 's ."),
    # ---- chats
    "chat": lambda make: chat(make, tokenize=False),
    "chat with a prompt": lambda make: chat(make, tokenize=False, add_generation_prompt=True),
    "chat continued": lambda make: chat(make, tokenize=False, continue_final_message=True),
    "chat ids": lambda make: chat(make, **NO_DICT),
    "chat masks": lambda make: chat(make, return_dict=True, return_assistant_tokens_mask=True),
    "chat message": lambda make: make(
        chat_template=TEMPLATE, eos_token="<end>"
    ).encode_message_with_chat_template(CHAT[1], CHAT[:1]),
    "chat of a user who writes special tokens": lambda make: make(
        chat_template=TEMPLATE, eos_token="<end>", pad_token="<pad>"
    ).apply_chat_template(
        [TRICK, CHAT], sanitize_control_tokens=True, padding=True, return_dict=True
    ),
    "chat saved": lambda make: reloaded(make(chat_template=TEMPLATE)).chat_template,
    "chats by name saved": lambda make: reloaded(
        make(chat_template={"default": "d", "tool_use": "t"})
    ).get_chat_template(tools=[{}]),
}

SPACED: dict[str, Callable[[Make], Any]] = {
    f"decode {spaces}": (
        lambda make, spaces=spaces: [
            tokenizer.decode(
                tokenizer.encode("the cat<a>newtok sat <pad> on <a>"),
                spaces_between_special_tokens=spaces,
                skip_special_tokens=skipped,
            )
            for skipped in (False, True)
            for tokenizer in [make(pad_token="<pad>", additional_special_tokens=["<a>"])]
            if tokenizer.add_tokens(["newtok"])
        ]
    )
    for spaces in (True, False)
}
"""Asked of the slow class of version 4, which alone knows this argument."""


def answers(make: Make, cases: Mapping[str, Callable[[Make], Any]]) -> dict[str, Any]:
    """What a tokenizer answers in each case; one that it refuses or lacks is missing."""
    found = {}
    for name, ask in cases.items():
        try:
            found[name] = plain(ask(make))
        except (AttributeError, NotImplementedError, TypeError, ValueError):
            continue
    return found


def maker(kind: Any, folder: Path) -> Make:
    """What makes tokenizers of a class of transformers."""
    (folder / "vocab.json").write_text(json.dumps(VOCAB), "utf-8")
    lines = ["#version: 0.2", *map(" ".join, MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return lambda **options: kind.from_pretrained(folder, **options)


def main() -> None:
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        fast = maker(transformers.OpenAIGPTTokenizerFast, Path(folder))
        slow = maker(transformers.OpenAIGPTTokenizer, Path(folder))
        found = {
            "transformers": transformers.__version__,
            "fast": answers(fast, CASES),
            "slow": answers(slow, SPACED),
        }
    text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False)
    Path(sys.argv[1]).write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
