"""A trained model whose tokenizer got tokens since: it opens, with a notice, and keeps its ids."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken

import ogpt
from ogpt.errors import VocabularyMismatch
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import collecting

VOCAB = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab</w>": 5, ".</w>": 6, ".": 7}
MERGES = [("a", "b</w>")]


def tokenizer_of_tests() -> ogpt.OpenAIGPTTokenizerFast:
    return ogpt.OpenAIGPTTokenizerFast(vocab=VOCAB, merges=MERGES)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A model folder as training writes it, with the fingerprint of its tokenizer."""
    tokenizer = tokenizer_of_tests()
    config = ogpt.OpenAIGPTConfig(
        vocab_size=len(VOCAB), n_positions=16, n_embd=8, n_head=2, n_layer=1
    )
    config.tokenizer_fingerprint = tokenizer.fingerprint
    ogpt.OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path / "trained")
    tokenizer.save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


def through_transformers(trained: Path, out: Path, pad_token: str | None, eos: str | None) -> Path:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained)
    model = AutoModelForCausalLM.from_pretrained(trained)
    if pad_token is not None:
        tokenizer.add_special_tokens({"pad_token": pad_token})
        model.config.pad_token_id = tokenizer.pad_token_id
    if eos is not None:
        tokenizer.eos_token = eos
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


@pytest.mark.parametrize(
    ("pad", "eos", "told"),
    [("<pad>", None, ["'<pad>'"]), ("<unk>", None, []), (None, ".</w>", [])],
)
def test_a_model_that_passed_through_transformers(
    trained: Path, tmp_path: Path, pad: str | None, eos: str | None, told: list[str]
) -> None:
    pytest.importorskip("transformers")
    folder = through_transformers(trained, tmp_path / "there", pad, eos)
    with collecting() as notices:
        tokenizer, model = ogpt.load(folder)
        written = ogpt.generate(folder, "ab", max_new_tokens=2)[0]
        facts = ogpt.info(folder)
    grown = [notice.fields["tokens"] for notice in notices if notice.kind == "tokenizer-grown"]
    assert grown == told * 3
    assert len(written.ids) == 2
    assert "fault" not in facts["tokenizer"]
    text = "ab a. b"
    assert tokenizer.encode(text) == tokenizer_of_tests().encode(text)
    assert len(tokenizer) == model.config.vocab_size == len(VOCAB) + (pad == "<pad>")
    assert tokenizer.pad_token == pad
    assert tokenizer.eos_token == eos


def test_what_convert_writes_opens_without_a_notice(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = through_transformers(trained, tmp_path / "there", "<pad>", None)
    with collecting() as notices:
        made = ogpt.convert(folder, tmp_path / "converted")
    assert [notice.kind for notice in notices] == ["tokenizer-grown"]
    with collecting() as notices:
        tokenizer, _ = ogpt.load(made.folder)
    assert (tokenizer.pad_token, notices) == ("<pad>", [])


def test_a_new_end_token_inside_the_library(trained: Path, tmp_path: Path) -> None:
    tokenizer, model = ogpt.load(trained)
    tokenizer.eos_token = ".</w>"
    model.save_pretrained(tmp_path / "own")
    tokenizer.save_pretrained(tmp_path / "own")
    with collecting() as notices:
        again, _ = ogpt.load(tmp_path / "own")
    assert (again.eos_token, notices) == (".</w>", [])


def test_added_since() -> None:
    tokenizer = tokenizer_of_tests()
    first = tokenizer.fingerprint
    assert tokenizer.added_since(first) == []
    tokenizer.add_tokens(["ba"])
    second = tokenizer.fingerprint
    tokenizer.add_special_tokens({"pad_token": "<pad>", "cls_token": "<cls>"})
    assert len({first, second, tokenizer.fingerprint}) == 3
    assert tokenizer.added_since(first) == ["ba", "<pad>", "<cls>"]
    assert tokenizer.added_since(second) == ["<pad>", "<cls>"]
    assert tokenizer_of_tests().added_since(second) is None


def test_flags_that_change_ids_count() -> None:
    plain, stripping = tokenizer_of_tests(), tokenizer_of_tests()
    plain.add_tokens(["ba"])
    stripping.add_tokens([AddedToken("ba", lstrip=True)])
    assert plain.fingerprint != stripping.fingerprint


def test_an_entry_that_texts_have_changes_ids_as_a_special_token() -> None:
    tokenizer = tokenizer_of_tests()
    before = tokenizer.fingerprint
    tokenizer.add_special_tokens({"eos_token": "."})
    assert tokenizer.encode("ab.") != tokenizer_of_tests().encode("ab.")
    assert tokenizer.added_since(before) == ["."]


def swapped(folder: Path) -> None:
    """Put a tokenizer of the same size and of other ids into a model folder."""
    other = {**VOCAB, "a": 2, "b": 1}
    ogpt.OpenAIGPTTokenizerFast(vocab=other, merges=MERGES).save_pretrained(folder)


def test_info_answers_of_a_foreign_tokenizer(trained: Path) -> None:
    swapped(trained)
    with collecting() as notices:
        facts = ogpt.info(trained)
    assert "trained with another tokenizer" in facts["tokenizer"]["fault"]
    assert facts["tokenizer"]["entries"] == len(VOCAB)
    assert [notice.kind for notice in notices] == ["tokenizer-unfit"]


def test_convert_refuses_what_nothing_would_open(trained: Path, tmp_path: Path) -> None:
    swapped(trained)
    with pytest.raises(VocabularyMismatch, match="trained with another tokenizer") as caught:
        ogpt.convert(trained, tmp_path / "out")
    assert "delete tokenizer_fingerprint" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_the_way_out_of_the_hint(trained: Path) -> None:
    swapped(trained)
    values = json.loads((trained / "config.json").read_text("utf-8"))
    del values["tokenizer_fingerprint"]
    (trained / "config.json").write_text(json.dumps(values), "utf-8")
    assert len(ModelFolder.open(trained).tokenizer) == len(VOCAB)


def test_a_grown_tokenizer_needs_rows(trained: Path) -> None:
    tokenizer = tokenizer_of_tests()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(trained)
    with pytest.raises(VocabularyMismatch, match=r"has 9 entries; .* has 8 rows") as caught:
        ogpt.load(trained)
    assert "resize_token_embeddings" in caught.value.hint
