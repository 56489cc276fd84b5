"""The integration with transformers beside our own class: one network, two doors.

    python -m benchmarks.transformers_types [--layers 12]

Both have the same weights at GPT-1's width. The forward pass is without gradients; a step is one of
transformers' Trainer, with AdamW. The integration may cost 3 %.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from benchmarks.measuring import Result, Table, arguments, interleave, save, spread, timed
from ogpt.integrations import transformers as integration
from ogpt.model.heads import OpenAIGPTLMHeadModel

OURS, THEIRS = "ogpt's class", "integration"
COST = 0.03
ROWS, TOKENS = 2, 256
SMOKE_SHAPE = {"vocab_size": 300, "n_layer": 2, "n_head": 2, "n_embd": 32}


def steps(model: Any, ids: torch.Tensor, out: str) -> Callable[[], Any]:
    """A call that takes 3 steps of Trainer; the first call prepares it."""
    rows = [{"input_ids": row, "labels": row} for row in ids]
    settings = TrainingArguments(
        output_dir=out,
        per_device_train_batch_size=ROWS,
        max_steps=3,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    return Trainer(model, settings, train_dataset=rows * 3).train


def forward(model: Any, ids: torch.Tensor) -> None:
    with torch.inference_mode():
        model.eval()(ids)


def main() -> None:
    given = arguments(__doc__, 9, layers=12)
    torch.set_num_threads(given.threads)
    shape = SMOKE_SHAPE if given.smoke else {"n_layer": given.layers}
    config = integration.OpenAIGPTConfig(**shape)
    made: dict[str, Any] = {}
    for name in (OURS, THEIRS):
        torch.manual_seed(0)
        own = name == OURS
        made[name] = (
            OpenAIGPTLMHeadModel(config.own) if own else integration.OpenAIGPTLMHeadModel(config)
        )
    ids = torch.randint(config.vocab_size, (ROWS, TOKENS))
    with torch.inference_mode():
        found = [model.eval()(ids).logits for model in made.values()]
    if not torch.equal(*found):
        raise SystemExit("the logits of the two classes differ")
    with TemporaryDirectory() as out:
        work: dict[str, Callable[[], Any]] = {}
        for name, model in made.items():
            work[f"forward, {name}"] = partial(forward, model, ids)
            work[f"3 steps of Trainer, {name}"] = steps(model, ids, out)
        for each in work.values():
            each()
        samples = interleave({n: partial(timed, each) for n, each in work.items()}, given.rounds)
    rows = [[name, spread(seconds, 3)] for name, seconds in samples.items()]
    table = Table([f"{ROWS} rows of {TOKENS} tokens", "s, median (lowest to highest)"], rows)
    settings = {"shape": shape, "rows": ROWS, "tokens": TOKENS}
    result = Result(
        "transformers_types", "The integration with transformers", settings, samples, tables=[table]
    )
    for what in ("forward", "3 steps of Trainer"):
        ratio = result.compare(f"{what}, {THEIRS}", f"{what}, {OURS}")
        result.target(f"{what}: {THEIRS} / {OURS}", ratio, at_least=1 - COST)
    result.add_pairs()
    save(result, given)


if __name__ == "__main__":
    main()
