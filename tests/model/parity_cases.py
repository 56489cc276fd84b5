"""Random calls of the four models, in the forms in which ours and transformers' take them.

transformers wants masks, positions and embeddings of choices laid flat, so those are given to it
so; left-padded rows get their positions by hand there, because it does not count them by the mask.
"""

import random
from typing import Any

import torch
from torch import Tensor

from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from tests.model.parity import Case, random_model


def sizes(draw: random.Random) -> dict[str, Any]:
    """4 channels or more: a norm over two is nearly a step, and amplifies rounding."""
    n_head = draw.choice([1, 2, 3, 4])
    return {
        "n_head": n_head,
        "n_embd": n_head * draw.choice([4, 8, 12]),
        "n_positions": draw.randint(4, 24),
        "vocab_size": draw.randint(12, 80),
        "layer_norm_epsilon": draw.choice([1e-5, 1e-3]),
        "afn": draw.choice(["gelu", "relu", "silu", "swish"]),
    }


def padding(draw: random.Random, count: int, length: int) -> tuple[str, Tensor]:
    """A mask (count, length): nothing, right, left or with holes; each row keeps a token."""
    kind = draw.choice(["none", "right", "left", "holes"])
    lengths = torch.tensor([[draw.randint(1, length)] for _ in range(count)])
    places = torch.arange(length)[None]
    if kind == "right":
        return kind, places < lengths
    if kind == "left":
        return kind, places >= length - lengths
    mask = torch.ones(count, length, dtype=torch.bool)
    if kind == "holes":
        mask = torch.tensor([[draw.random() < 0.7 for _ in range(length)] for _ in range(count)])
        mask[:, draw.randrange(length)] = True
    return kind, mask


def inputs(draw: random.Random, model: Any, leading: tuple[int, ...]) -> Case:
    """What all four models take: ids or embeddings, mask, token types, positions."""
    config = model.config
    T = draw.randint(1, config.n_positions)
    N = int(torch.tensor(leading).prod())
    shape = (*leading, T)
    ids = torch.randint(0, config.vocab_size, shape)
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    if draw.random() < 0.25:
        embeds = torch.randn(*shape, config.n_embd, dtype=model.dtype)
        ours["inputs_embeds"] = embeds
        theirs["inputs_embeds"] = embeds.reshape(N, T, -1)
    else:
        ours["input_ids"] = theirs["input_ids"] = ids
    kind, mask = padding(draw, N, T)
    counted = mask
    if kind != "none":
        form = draw.choice([torch.int64, torch.float32, torch.bool])
        ours["attention_mask"] = mask.reshape(shape).to(form)
        theirs["attention_mask"] = mask.to(form)
    places = draw.choice(["default", "given", "row"])
    if places == "given":
        positions = torch.randint(0, config.n_positions, (N, T))
        ours["position_ids"] = positions.reshape(shape)
        theirs["position_ids"] = positions
    elif places == "row":
        ours["position_ids"] = theirs["position_ids"] = torch.arange(T).flip(0)
    elif kind in ("left", "holes"):
        theirs["position_ids"] = (mask.long().cumsum(-1) - 1).clamp(min=0)
    if places != "default":  # then padding is the same, too, unless it sees nothing at all
        counted = mask.long().cumsum(-1) > 0
    if draw.random() < 0.4:
        types = torch.randint(0, config.vocab_size, shape)
        ours["token_type_ids"] = types
        theirs["token_type_ids"] = types.reshape(N, T)
    for name in ("output_hidden_states", "output_attentions"):
        if draw.random() < 0.5:  # without attentions ours takes torch's fused kernel
            ours[name] = theirs[name] = True
    return Case(model, ours, theirs, counted)


def labels_of(draw: random.Random, case: Case, shape: tuple[int, ...]) -> Tensor:
    """Labels (*shape,) of which those count that a counted token predicts; one counts at least."""
    labels = torch.randint(0, case.model.config.vocab_size, shape)
    flat = labels.view(case.counted.shape)
    flat[torch.rand(flat.shape) < draw.choice([0.0, 0.3])] = -100
    flat[:, 1:][~case.counted[:, :-1]] = -100
    return labels


def has_label(labels: Tensor) -> bool:
    """Whether a label is left after the shift; with none transformers gives NaN, ours zero."""
    return bool((labels[..., 1:] != -100).any())


def base_case(seed: int, **changes: Any) -> Case:
    draw = random.Random(f"base {seed}")
    model = random_model(seed, OpenAIGPTModel, **{**sizes(draw), **changes})
    leading = draw.choice([(draw.randint(1, 4),), (2, draw.randint(1, 3))])
    return inputs(draw, model, leading)


def lm_case(seed: int, **changes: Any) -> Case:
    draw = random.Random(f"lm {seed}")
    tied = {"tie_word_embeddings": draw.random() < 0.8}
    model = random_model(seed, OpenAIGPTLMHeadModel, **{**sizes(draw), **tied, **changes})
    leading = draw.choice([(1,), (4,), (2, draw.randint(1, 3))])
    case = inputs(draw, model, leading)
    T = case.counted.shape[1]
    labels = labels_of(draw, case, (*leading, T))
    forms = ["labels", "shift_labels", "num_items_in_batch", "ignore_index"]
    if case.counted.all() and len(leading) == 1:  # padding may be among those kept
        forms += [0, 1, T, "index", "indices", "marks"]
    form = draw.choice(forms if has_label(labels) else forms[4:] or [None])
    given: dict[str, Any] = {"labels": labels}
    if form == "shift_labels":
        shifted = labels.roll(-1, -1)
        shifted[..., -1] = -100
        given = {"labels": torch.zeros_like(labels), "shift_labels": shifted}
    elif form == "num_items_in_batch":
        given[form] = draw.choice([7, torch.tensor(11)])
    elif form == "ignore_index":
        given = {"labels": labels.where(labels != -100, -7), form: -7}
    elif form == "index":
        given = {"logits_to_keep": torch.tensor([0, T - 1])}
    elif form == "indices":
        given = {"logits_to_keep": torch.randint(0, T, (len(labels), 3))}
    elif form == "marks":
        given = {"logits_to_keep": torch.rand(labels.shape) < 0.6}
    elif form != "labels":
        given = {} if form is None else {"logits_to_keep": form}
    case.ours.update(given)
    flat = "inputs_embeds" in case.ours
    case.theirs.update(
        {k: v.view(case.counted.shape) if flat and "labels" in k else v for k, v in given.items()}
    )
    return case


def double_case(seed: int, **changes: Any) -> Case:
    """Choices (B, K, T) with the summary that is right there, or rows (B, T) with any."""
    draw = random.Random(f"double {seed}")
    choices = draw.random() < 0.65
    summary = {
        "summary_type": "cls_index"
        if choices
        else draw.choice(["last", "first", "mean", "cls_index"]),
        "summary_use_proj": draw.random() < 0.8,
        "summary_proj_to_labels": draw.random() < 0.8,
        "summary_activation": draw.choice(
            [None, "tanh", "relu", "gelu", "gelu_new", "sigmoid", "silu", "swish"]
        ),
        "summary_first_dropout": draw.choice([0.0, 0.3]),
        "summary_last_dropout": draw.choice([0.0, 0.2]),
    }
    model = random_model(seed, OpenAIGPTDoubleHeadsModel, **{**sizes(draw), **summary, **changes})
    B, K = draw.randint(1, 3), draw.randint(1, 4)
    leading = (B, K) if choices else (B,)
    case = inputs(draw, model, leading)
    flat = "inputs_embeds" in case.ours
    masked = "attention_mask" in case.ours
    if masked and model.config.summary_type != "cls_index":  # there padding counts, with us not
        case = case._replace(counted=torch.ones_like(case.counted))
        for arguments in (case.ours, case.theirs):
            arguments.pop("attention_mask")
            arguments.pop("position_ids", None)
    if masked or draw.random() < 0.7:
        places = torch.stack(
            [row.nonzero()[draw.randrange(int(row.sum()))] for row in case.counted]
        )
        case.ours["mc_token_ids"] = places.reshape(leading)
        case.theirs["mc_token_ids"] = places.flatten() if flat else places.reshape(leading)
    labels = labels_of(draw, case, (*leading, case.counted.shape[1]))
    if has_label(labels) and draw.random() < 0.7:
        case.ours["labels"] = labels
        case.theirs["labels"] = labels.view(case.counted.shape) if flat else labels
    scored = model.config.summary_use_proj and model.config.summary_proj_to_labels
    if scored and (B == 1 or not flat or not choices) and draw.random() < 0.7:
        rows = B if choices else 1
        case.ours["mc_labels"] = torch.randint(0, K if choices else B, (rows,))
        case.theirs["mc_labels"] = case.ours["mc_labels"]
    return case


def classifier_case(seed: int, **changes: Any) -> Case:
    draw = random.Random(f"classifier {seed}")
    n_labels = draw.choice([1, 2, 5])
    problems = [None, "regression", "multi_label_classification"]
    problems += ["single_label_classification"] * (n_labels > 1)
    pad = draw.choice([0, 3])
    settings = {
        "num_labels": n_labels,
        "problem_type": draw.choice(problems),
        "pad_token_id": pad,
    }
    model = random_model(
        seed, OpenAIGPTForSequenceClassification, **{**sizes(draw), **settings, **changes}
    )
    leading = draw.choice([(1,), (draw.randint(2, 4),), (2, 2)])
    case = inputs(draw, model, leading)
    N, T = case.counted.shape
    ids = case.ours.get("input_ids")
    if ids is None:  # transformers takes the last position then, whatever the mask says
        for arguments in (case.ours, case.theirs):
            arguments.pop("attention_mask", None)
            arguments.pop("position_ids", None)
        case = case._replace(counted=torch.ones_like(case.counted))
    elif "attention_mask" in case.ours:  # ours reads the mask, theirs the ids: let them agree
        ids[ids == pad] = pad + 1
        ids[case.ours["attention_mask"] == 0] = pad
    if ids is not None:
        case.theirs["input_ids"] = ids.reshape(N, T)
    problem = model.config.problem_type
    if problem is None:
        problem = draw.choice(["single_label_classification", "multi_label_classification"])
        problem = "regression" if n_labels == 1 else problem
    if problem == "single_label_classification":
        labels: Tensor = torch.randint(0, n_labels, (N,))
    elif problem == "regression":
        labels = torch.randn(N, n_labels, dtype=model.dtype)
    else:
        labels = torch.randint(0, 2, (N, n_labels)).to(model.dtype)
    if draw.random() < 0.85:
        case.ours["labels"] = case.theirs["labels"] = labels
    return case


CASES = {
    "base": base_case,
    "lm": lm_case,
    "double": double_case,
    "classifier": classifier_case,
}
