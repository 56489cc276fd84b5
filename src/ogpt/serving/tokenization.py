"""The tokenizer of a model: /tokenize, /detokenize and /tokenizer_info, with vLLM's fields."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol.slots import check_ids
from ogpt.generation.texts.request import check_unicode
from ogpt.serving.prompt_fields import check_characters, check_total, naming_fields
from ogpt.serving.request_scope import listen
from ogpt.serving.schemas import ERRORS, ApiRequest, ApiResponse, TokenIds
from ogpt.serving.served_models import ServedModels
from ogpt.tokens.surface import Surface

router = APIRouter(tags=["tokenizer"], responses=ERRORS)


class TokenizeRequest(ApiRequest):
    """A text to tokenize."""

    prompt: str = Field(description="Text to tokenize.")
    add_special_tokens: bool = Field(
        default=False,
        description="Add the special tokens of the tokenizer; /v1/completions adds none.",
    )
    return_token_strs: bool = Field(False, description="Return the tokens too.")


class TokenizeResponse(ApiResponse):
    """Token ids of a text."""

    count: int = Field(description="Number of tokens.")
    max_model_len: int = Field(description="Context length of the model.")
    tokens: list[int] = Field(description="Token ids.")
    token_strs: list[str] | None = Field(
        default=None, description="Entries of the vocabulary; one that ends a word ends with </w>."
    )


class DetokenizeRequest(ApiRequest):
    """Token ids to decode."""

    tokens: TokenIds = Field(description="Token ids.")
    surface: Surface = Field(
        default="raw",
        description="Text as the tokenizer decodes it (raw), or with the spaces and capitals of "
        "English (readable).",
    )


class DetokenizeResponse(ApiResponse):
    """Text of token ids."""

    prompt: str = Field(description="The text.")


class TokenizerInfo(BaseModel):
    """Facts of a tokenizer; a special token that it does not have is null."""

    tokenizer_class: str
    pre_tokenizer: str = Field(description="How text is split into words.")
    model_max_length: int = Field(description="Context length of the model.")
    vocab_size: int
    bos_token: str | None
    eos_token: str | None
    pad_token: str | None
    unk_token: str | None


@router.post("/tokenize")
async def tokenize(body: TokenizeRequest, request: Request) -> TokenizeResponse:
    """Token ids of a text, as /v1/completions computes them."""
    with listen(request, body) as warnings:
        with naming_fields("prompt"):
            check_unicode("prompt", body.prompt)
        folder = _folder(request, body.model)
        tokenizer, settings = folder.tokenizer, request.app.state.settings
        check_characters("prompt", [body.prompt], tokenizer, settings)
        ids = await asyncio.to_thread(
            tokenizer.encode, body.prompt, add_special_tokens=body.add_special_tokens
        )
    named = tokenizer.convert_ids_to_tokens(ids) if body.return_token_strs else None
    return TokenizeResponse(
        count=len(ids),
        max_model_len=folder.config.n_positions,
        tokens=ids,
        token_strs=named,
        warnings=warnings,
    )


@router.post("/detokenize")
async def detokenize(body: DetokenizeRequest, request: Request) -> DetokenizeResponse:
    """Text of token ids."""
    with listen(request, body) as warnings:
        folder = _folder(request, body.model)
        check_total("tokens", len(body.tokens), request.app.state.settings)
        with naming_fields("tokens"):
            ids = check_ids(body.tokens, folder.config.vocab_size) if body.tokens else []
        text = await asyncio.to_thread(
            folder.tokenizer.decode,
            ids,
            clean_up_tokenization_spaces=False,
            surface=body.surface,
        )
    return DetokenizeResponse(prompt=text, warnings=warnings)


@router.get("/tokenizer_info")
async def tokenizer_info(request: Request, model: str | None = None) -> TokenizerInfo:
    """Special tokens of a model's tokenizer, which lm-evaluation-harness asks for."""
    folder = _folder(request, model)
    tokenizer = folder.tokenizer
    return TokenizerInfo(
        tokenizer_class=type(tokenizer).__name__,
        pre_tokenizer=tokenizer.pre_tokenizer,
        model_max_length=folder.config.n_positions,
        vocab_size=len(tokenizer),
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
        unk_token=tokenizer.unk_token,
    )


def _folder(request: Request, model: str | None) -> ModelFolder:
    """The folder of a model, which need not be open to tokenize.

    Raises:
        UnknownModel: there is no such model.
    """
    models: ServedModels = request.app.state.models
    return models.folders[models.name_of(model)]
