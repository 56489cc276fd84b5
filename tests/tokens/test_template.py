"""Special tokens around a text or a pair: encoded, saved, read back, applied by transformers."""

import json

import pytest
import transformers

from ogpt.errors import TokenizerError
from ogpt.layout import TOKENIZER_CONFIG_FILE
from ogpt.notices import collecting
from ogpt.tasks.task_tokens import add_task_tokens
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.tokens.tokenizer import PreTokenizer
from tests.tasks.small import TEXTS, tokenizer

FIRST, SECOND = TEXTS[0], TEXTS[1]
KINDS: list[PreTokenizer] = ["bert", "openai", "bytes"]


@pytest.fixture(params=KINDS)
def pair(request):
    """A tokenizer with the template, and the ids of two texts without it."""
    made = tokenizer(request.param)
    plain = [made.encode(FIRST), made.encode(SECOND)]
    tokens = add_task_tokens(made)
    return made, tokens, plain


def test_a_text_and_a_pair(pair):
    made, (start, delimiter, extract), (first, second) = pair
    assert made.encode(FIRST) == [start, *first, extract]
    assert made.encode(FIRST, SECOND) == [start, *first, delimiter, *second, extract]
    assert made.encode(FIRST, add_special_tokens=False) == first
    assert made.num_special_tokens_to_add() == 2
    assert made.num_special_tokens_to_add(pair=True) == 3


def test_masks_and_types_are_those_of_transformers(pair, tmp_path):
    made, *_ = pair
    made.save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    if made.pre_tokenizer == "openai":  # transformers splits these by BERT's rules
        assert theirs.encode(FIRST)[0] == made.encode(FIRST)[0]
        return
    options = {"return_special_tokens_mask": True, "return_token_type_ids": True}
    for texts in ((FIRST,), (FIRST, SECOND)):
        assert dict(made(*texts, **options)) == dict(theirs(*texts, **options))
    rows = [FIRST, SECOND, TEXTS[2]]
    assert made(rows, padding=True).input_ids == theirs(rows, padding=True).input_ids
    assert made(rows, padding=True).attention_mask == theirs(rows, padding=True).attention_mask
    assert theirs.pad_token == "_delimiter_"


def test_truncation_leaves_room_for_the_tokens(pair):
    made, (start, _, extract), (first, _) = pair
    with collecting():
        found = made.encode(FIRST, truncation=True, max_length=5)
    assert found == [start, *first[:3], extract]
    with pytest.raises(TokenizerError, match="less the special tokens"):
        made.encode(FIRST, truncation=True, max_length=2)


def test_it_is_saved_and_read_back(pair, tmp_path):
    made, *_ = pair
    made.save_pretrained(tmp_path)
    again = open_tokenizer(tmp_path)
    assert again.template == made.template
    assert again.encode(FIRST, SECOND) == made.encode(FIRST, SECOND)
    assert again.fingerprint == made.fingerprint


def test_it_passes_through_transformers(pair, tmp_path):
    made, *_ = pair
    made.save_pretrained(tmp_path / "ours")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    settings = json.loads((tmp_path / "theirs" / TOKENIZER_CONFIG_FILE).read_text("utf-8"))
    settings.pop("template", None)  # then tokenizer.json alone tells
    (tmp_path / "theirs" / TOKENIZER_CONFIG_FILE).write_text(json.dumps(settings), "utf-8")
    assert open_tokenizer(tmp_path / "theirs").template == made.template


def test_offsets_count_no_special_tokens():
    made = tokenizer("bert")
    plain = made(FIRST, return_offsets_mapping=True).offset_mapping
    add_task_tokens(made)
    found = made(FIRST, return_offsets_mapping=True)
    assert found.offset_mapping == [(0, 0), *plain, (0, 0)]
    assert found.word_ids()[0] is None


@pytest.mark.parametrize("stored", ["<s>", ["a", "b"], ["a", "", "c"], [1, 2, 3]])
def test_a_damaged_template_is_named(stored, tmp_path):
    made = tokenizer("bert")
    made.save_pretrained(tmp_path)
    file = tmp_path / TOKENIZER_CONFIG_FILE
    settings = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**settings, "template": stored}), "utf-8")
    with pytest.raises(TokenizerError, match=r"template in the .* is") as error:
        open_tokenizer(tmp_path)
    assert "delete the entry" in error.value.hint


def test_another_form_in_tokenizer_json_is_not_ignored_in_silence(tmp_path):
    made = tokenizer("bert")
    made.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    end = {"SpecialToken": {"id": "<unk>", "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, end],
        "pair": [first, second, end],
        "special_tokens": {"<unk>": {"id": "<unk>", "ids": [0], "tokens": ["<unk>"]}},
    }
    file.write_text(json.dumps(content), "utf-8")
    with collecting() as notices:
        assert open_tokenizer(tmp_path).template is None
    assert [notice.kind for notice in notices] == ["template-ignored"]
