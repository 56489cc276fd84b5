"""Baselines in PyTorch: OpenAIGPT and GPT2 of transformers, and GPT-1 in plain PyTorch.

These run in the project's own environment. The variant is a maker and a dtype: `gpt2 bfloat16`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.contenders import fill
from benchmarks.peers.gpt2_weights import draw
from benchmarks.peers.protocol import Engine, Setup, serve
from benchmarks.plain_gpt import PlainGPT


class Transformers:
    """An Engine that calls `generate` of a transformers model."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def generate(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        """See Engine."""
        ids = torch.tensor(prompts)
        written = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=new,
            max_new_tokens=new,
        )
        return written[:, ids.shape[1] :].tolist()

    @torch.inference_mode()
    def read(self, prompts: list[list[int]]) -> list[int]:
        """See Engine."""
        logits = self._model(torch.tensor(prompts), logits_to_keep=1).logits
        return logits[:, -1].argmax(-1).tolist()


class Plain:
    """An Engine in eager PyTorch, with a static KV cache."""

    def __init__(self, model: PlainGPT, shape: dict[str, int], dtype: torch.dtype) -> None:
        self._model, self._shape, self._dtype = model, shape, dtype
        self._cache = torch.empty(0)

    @torch.inference_mode()
    def generate(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        """See Engine."""
        self._set_aside(len(prompts))
        ids = self._next(torch.tensor(prompts), 0)
        found = [ids]
        for position in range(len(prompts[0]), len(prompts[0]) + new - 1):
            ids = self._next(ids[:, None], position)
            found.append(ids)
        return torch.stack(found, 1).tolist()

    @torch.inference_mode()
    def read(self, prompts: list[list[int]]) -> list[int]:
        """See Engine."""
        self._set_aside(len(prompts))
        return self._next(torch.tensor(prompts), 0).tolist()

    def _set_aside(self, batch: int) -> None:
        heads, width = self._shape["n_head"], self._shape["n_embd"]
        size = (self._shape["n_layer"], 2, batch, heads, self._shape["n_positions"], width // heads)
        if self._cache.shape != size:
            self._cache = torch.empty(size, dtype=self._dtype)

    def _next(self, ids: Tensor, start: int) -> Tensor:
        """Append ids (B, T) at position `start`; return the top ids (B,) after them."""
        parts = self._model.transformer
        x = parts.tokens_embed(ids) + parts.positions_embed.weight[start : start + ids.shape[1]]
        for cache, block in zip(self._cache, parts.h, strict=True):
            n = block.ln_1(x + self._attention(block.attn, cache, x, start))
            x = block.ln_2(n + block.mlp(n))
        return self._model.lm_head(x[:, -1]).argmax(-1)

    def _attention(self, attn: nn.Module, cache: Tensor, x: Tensor, start: int) -> Tensor:
        B, T, C = x.shape
        heads = (B, T, attn.n_head, C // attn.n_head)
        q, k, v = (part.view(heads).transpose(1, 2) for part in attn.c_attn(x).split(C, dim=2))
        cache[0, :, :, start : start + T], cache[1, :, :, start : start + T] = k, v
        keys, values = cache[:, :, :, : start + T]
        # several ids come at position 0 only, so the causal mask is square
        y = F.scaled_dot_product_attention(q, keys, values, is_causal=T > 1)
        return attn.c_proj(y.transpose(1, 2).reshape(B, T, C))


def openai_gpt(shape: dict[str, int], dtype: torch.dtype) -> Engine:
    """GPT-1 of transformers, which has no KV cache."""
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**shape))
    fill(model)
    return Transformers(model.to(dtype).eval())


def gpt2(shape: dict[str, int], dtype: torch.dtype) -> Engine:
    """GPT-2 of transformers, which has a KV cache."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=None, eos_token_id=None))
    weights = {f"transformer.{name}": torch.from_numpy(w) for name, w in draw(shape).items()}
    left_out = model.load_state_dict(weights, strict=False)
    assert left_out.missing_keys == ["lm_head.weight"]  # tied
    assert not left_out.unexpected_keys
    return Transformers(model.to(dtype).eval())


def plain(shape: dict[str, int], dtype: torch.dtype) -> Engine:
    """GPT-1 in plain PyTorch."""
    model = PlainGPT(**shape, pdrop=0.0)
    fill(model)
    return Plain(model.to(dtype).eval(), shape, dtype)


MAKERS: dict[str, Callable[[dict[str, int], torch.dtype], Engine]] = {
    "openai-gpt": openai_gpt,
    "gpt2": gpt2,
    "plain": plain,
}


def open_engine(setup: Setup) -> Engine:
    """Open the engine of the variant."""
    torch.set_num_threads(setup.threads)
    maker, dtype = setup.variant.split()
    return MAKERS[maker](setup.shape, getattr(torch, dtype))


if __name__ == "__main__":
    serve(("torch", "transformers"), open_engine)
