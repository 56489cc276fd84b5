import pytest

from ogpt.weights.names import stored_names, unused_names

BARE = ["tokens_embed.weight", "positions_embed.weight", "h.0.ln_1.weight", "h.0.attn.c_attn.bias"]
PREFIXED = ["transformer." + name for name in BARE]


@pytest.mark.parametrize("stored", [BARE, PREFIXED])
@pytest.mark.parametrize("wanted", [BARE, PREFIXED])
def test_the_prefix_never_matters(stored: list[str], wanted: list[str]) -> None:
    found = stored_names([*stored, "score.weight"], [*wanted, "score.weight"])
    assert found == {**dict(zip(wanted, stored, strict=True)), "score.weight": "score.weight"}
    assert list(found) == [*wanted, "score.weight"]
    assert unused_names([*stored, "score.weight"], found) == []


@pytest.mark.parametrize(
    "old", [("ln_1.gamma", "ln_1.beta"), ("ln_1.g", "ln_1.b"), ("ln_1.w", "ln_1.b")]
)
def test_older_endings(old: tuple[str, str]) -> None:
    stored = [f"h.3.{name}" for name in old]
    wanted = ["transformer.h.3.ln_1.weight", "transformer.h.3.ln_1.bias"]
    assert stored_names(stored, wanted) == dict(zip(wanted, stored, strict=True))


def test_buffers_are_neither_found_nor_unused() -> None:
    old = ["h.0.attn.bias", "transformer.h.11.attn.masked_bias", "h.3.attn.b", "position_ids"]
    found = stored_names([*old, *BARE], [*BARE, "h.0.attn.bias"])
    assert list(found) == BARE
    assert unused_names([*old, *BARE], found) == []


def test_new_and_unused_are_what_is_left() -> None:
    stored = [*PREFIXED, "multiple_choice_head.summary.weight", "lm_head.weight"]
    wanted = [*PREFIXED, "score.weight"]
    found = stored_names(stored, wanted)
    assert set(wanted) - set(found) == {"score.weight"}
    assert unused_names(stored, found) == ["lm_head.weight", "multiple_choice_head.summary.weight"]


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_the_tied_head_and_the_embedding_stand_in_for_each_other(prefix: str) -> None:
    embedding = f"{prefix}tokens_embed.weight"
    assert stored_names(["lm_head.weight"], [embedding]) == {embedding: "lm_head.weight"}
    assert stored_names([embedding], ["lm_head.weight"]) == {"lm_head.weight": embedding}
    both = [embedding, "lm_head.weight"]
    assert stored_names(both, both) == {name: name for name in both}


def test_a_name_stored_as_it_is_wanted_goes_first() -> None:
    stored = ["transformer.h.0.ln_1.weight", "h.0.ln_1.gamma", "h.0.ln_1.weight"]
    assert stored_names(stored, ["h.0.ln_1.weight"]) == {"h.0.ln_1.weight": "h.0.ln_1.weight"}
    found = stored_names(stored, ["transformer.h.0.ln_1.weight"])
    assert unused_names(stored, found) == ["h.0.ln_1.gamma", "h.0.ln_1.weight"]


def test_a_stream_of_names_will_do() -> None:
    assert stored_names(iter(BARE), iter(PREFIXED)) == dict(zip(PREFIXED, BARE, strict=True))
