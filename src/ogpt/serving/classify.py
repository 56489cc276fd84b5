"""/v1/classify: labels of texts by a fine-tuned model, as `ogpt predict`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ogpt.errors import DataError, RequestError
from ogpt.serving.prompt_fields import MAX_TEXTS, check_characters, check_count, check_total
from ogpt.serving.request_scope import Scope, listen, unless_gone
from ogpt.serving.schemas import ERRORS, ApiRequest, ApiResponse, Usage
from ogpt.serving.served_models import ServedModel, ServedModels
from ogpt.serving.task_head import TaskHead, has_task

router = APIRouter(tags=["labels"], responses=ERRORS)

Row = str | dict[str, Any]
"""A text, or the columns of an example, as `ogpt predict` reads them."""


class ClassifyRequest(ApiRequest):
    """Examples of the task that a model was fine-tuned on."""

    input: Row | Annotated[list[Row], Field(fail_fast=True, min_length=1)] = Field(
        description="A text, or an object with the columns of the task: premise and hypothesis; "
        "sentence1 and sentence2; context, question and choices. Or a list of these."
    )


class LabelledExample(BaseModel):
    """What a model predicts for one example."""

    index: int = Field(description="Number of the example, from 0.")
    label: str | list[str] | int | float = Field(
        description="Name of the class, names of all that apply, number of the choice from 0, or "
        "the score of a regression."
    )
    scores: dict[str, float] | list[float] | None = Field(
        description="Probability by name of the class, or of each choice in order; null for a "
        "regression."
    )


class ClassifyResponse(ApiResponse):
    """Labels of examples, in the order of the request."""

    object: Literal["list"] = "list"
    model: str
    data: list[LabelledExample]
    usage: Usage


@router.post("/v1/classify")
async def classify(body: ClassifyRequest, request: Request, scope: Scope) -> ClassifyResponse:
    """Labels of texts by a model that `ogpt finetune` wrote."""
    with listen(request, body) as warnings:
        served = await scope.enter_async_context(request.app.state.models.using(body.model))
        head = _head(served, request.app.state.models)
        rows = body.input if isinstance(body.input, list) else [body.input]
        check_count("input", len(rows), MAX_TEXTS)
        try:
            examples = head.examples(rows)
            texts = [text for example in examples for text in example.texts]
            check_characters("input", texts, served.tokenizer, request.app.state.settings)
            sequences = await asyncio.to_thread(head.sequences, examples)
        except DataError as error:
            raise RequestError.of_field(str(error), hint=error.hint, param="input") from error
        tokens = sum(len(ids) for each in sequences for ids in each)
        check_total("input", tokens, request.app.state.settings)
        stream = scope.enter_context(served.engine.run(head.logits(sequences)))
        found = await unless_gone(request, stream.gather())
    predictions = head.predictions(examples, found)
    return ClassifyResponse(
        model=served.name,
        data=[
            LabelledExample(index=index, label=one.label, scores=one.scores)
            for index, one in enumerate(predictions)
        ],
        usage=Usage.of_prompt(tokens),
        warnings=warnings,
    )


def _head(served: ServedModel, models: ServedModels) -> TaskHead:
    """The head of a model.

    Raises:
        RequestError: it has none.
    """
    if served.head is None:
        others = [repr(name) for name, folder in models.folders.items() if has_task(folder)]
        raise RequestError.of_field(
            f"the model {served.name!r} has no classification head; allowed: "
            f"{', '.join(others) or 'none of this server'}",
            hint="name a model that was trained to classify",
            param="model",
        )
    return served.head
