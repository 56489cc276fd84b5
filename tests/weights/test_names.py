from ogpt.weights.names import normalise


def test_prefix_is_added_or_taken_away() -> None:
    bare = {"h.0.ln_1.weight": 1, "tokens_embed.weight": 2}
    prefixed = {"transformer.h.0.ln_1.weight": 1, "transformer.tokens_embed.weight": 2}
    assert normalise(bare, has_prefix=True) == prefixed
    assert normalise(prefixed, has_prefix=True) == prefixed
    assert normalise(prefixed, has_prefix=False) == bare


def test_buffers_of_old_files_are_left_out() -> None:
    old = {
        "h.0.attn.bias": 0,
        "h.11.attn.masked_bias": 0,
        "position_ids": 0,
        "h.0.attn.c_attn.bias": 1,
        "tokens_embed.weight": 2,
    }
    assert set(normalise(old, has_prefix=False)) == {"h.0.attn.c_attn.bias", "tokens_embed.weight"}


def test_the_tied_head_stands_in_for_a_missing_embedding() -> None:
    assert normalise({"lm_head.weight": 7}, has_prefix=True) == {
        "transformer.tokens_embed.weight": 7
    }
    both = {"lm_head.weight": 7, "transformer.tokens_embed.weight": 8}
    assert normalise(both, has_prefix=True) == {"transformer.tokens_embed.weight": 8}
