"""Fine-tuning at GPT-1 size: examples per second, ogpt beside transformers' Trainer.

Both learn a classifier with the language loss beside it, weight 0.5, on sentence_polarity of
../shared/data with GPT-1's vocabulary, in batches of 32, bf16, with dropout 0.1 and AdamW. The
Trainer pads to 128 tokens, as its text-classification example does, or to the longest of a batch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import ogpt
from benchmarks.measuring import Result, Table, arguments, interleave, rates, save, spread
from benchmarks.training_step import GPT1, SMOKE
from ogpt.config.finetune_settings import FinetuneSection, FinetuneSettings
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import collecting
from ogpt.tasks.task_data import TaskData, own_data
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.workflows.finetune_setup import FinetuneRequest, make_finetune_step, set_up_finetune

SHARED = Path(__file__).parents[2] / "shared" / "data"
DATA = SHARED / "tasks" / "classification"
VOCABULARY = SHARED / "gpt1_vocab"
BATCH = 32
STEPS = 10
"""Optimizer steps of a round."""
PADDED, DYNAMIC = "Trainer, padded to 128", "Trainer, dynamic padding"


@dataclass(frozen=True)
class Sides:
    """The contenders: each takes STEPS steps; and the loss of each on one batch."""

    steps: dict[str, Callable[[], float]]
    losses: dict[str, float]


def model_folder(folder: Path, shape: dict[str, int]) -> Path:
    """A language model with random weights and GPT-1's vocabulary, in which both start."""
    with collecting():
        tokenizer = open_tokenizer(VOCABULARY)
    fast = ogpt.OpenAIGPTTokenizerFast(
        vocab=dict(sorted(tokenizer._vocabulary.vocab.items(), key=lambda item: item[1])),
        merges=tokenizer.merges,
    )
    torch.manual_seed(0)
    config = ogpt.OpenAIGPTConfig(**{**shape, "vocab_size": len(fast)})
    ogpt.OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def ours(model: Path, data: TaskData, out: Path, compiled: bool) -> tuple[Any, Any]:
    """The product's own step and batches."""
    section = FinetuneSection(batch_size=BATCH, compile="on" if compiled else "off")
    request = FinetuneRequest(model=ModelFolder.open(model), out=out, source=data)
    setup = set_up_finetune(request, FinetuneSettings(finetune=section))
    return make_finetune_step(setup), setup.train


def trainer(folder: Path, data: TaskData, out: Path, padded: bool) -> Any:
    """Transformers' Trainer on the same folder, with a subclass that adds the language loss."""
    from transformers import (
        AutoTokenizer,
        DataCollatorWithPadding,
        OpenAIGPTForSequenceClassification,
        Trainer,
        TrainingArguments,
    )

    class WithLanguageLoss(OpenAIGPTForSequenceClassification):  # type: ignore[misc]  # untyped
        def forward(self, input_ids: Any, attention_mask: Any, labels: Any) -> Any:
            hidden = self.transformer(input_ids, attention_mask=attention_mask)[0]
            last = attention_mask.sum(-1) - 1
            logits = self.score(hidden[torch.arange(len(last)), last])
            tokens = hidden[:, :-1] @ self.transformer.tokens_embed.weight.T
            targets = input_ids[:, 1:].masked_fill(attention_mask[:, 1:] == 0, -100)
            language = F.cross_entropy(tokens.flatten(0, 1).float(), targets.flatten())
            return {"loss": F.cross_entropy(logits.float(), labels) + 0.5 * language}

    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [example.texts[0] for example in data.train]
    padding = {"padding": "max_length", "max_length": 128} if padded else {}
    encoded = tokenizer(texts, truncation=True, **padding)
    labels = [int(example.label == data.spec.labels[1]) for example in data.train]
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(
            encoded["input_ids"], encoded["attention_mask"], labels, strict=True
        )
    ]
    given = TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=BATCH,
        max_steps=STEPS,
        learning_rate=6.25e-5,
        bf16=True,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        optim="adamw_torch_fused",
    )
    model = WithLanguageLoss.from_pretrained(folder)
    return Trainer(
        model=model,
        args=given,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
    )


def started(folder: Path, shape: dict[str, int], compiled: bool) -> Sides:
    """Both sides on the same weights."""
    with collecting():
        data = own_data(
            "classification",
            DATA / "sentence_polarity_train.jsonl.gz",
            DATA / "sentence_polarity_valid.jsonl.gz",
        )
        step, batches = ours(model_folder(folder / "model", shape), data, folder / "run", compiled)
    start = folder / "start"
    start.mkdir()
    step.model.save_pretrained(start)
    tokenizer = ModelFolder.open(folder / "model").tokenizer
    with collecting():
        from ogpt.tasks.task_tokens import add_task_tokens

        add_task_tokens(tokenizer)
    tokenizer.save_pretrained(start)
    at = 0

    def our_steps() -> float:
        nonlocal at
        begin = time.perf_counter()
        for _ in range(STEPS):
            step.train([batches.batch(at * BATCH, BATCH)], at, 1e-9)
            at += 1
        return time.perf_counter() - begin

    def their_steps(padded: bool) -> Callable[[], float]:
        side = trainer(start, data, folder / "trainer", padded)

        def run() -> float:
            begin = time.perf_counter()
            side.train()
            return time.perf_counter() - begin

        return run

    steps = {"ogpt": our_steps, PADDED: their_steps(True), DYNAMIC: their_steps(False)}
    return Sides(steps, same_loss(step, batches, start))


def same_loss(step: Any, batches: Any, start: Path) -> dict[str, float]:
    """Loss of one batch without dropout, on both sides.

    Raises:
        SystemExit: they differ by more than bfloat16 rounding.
    """
    from transformers import OpenAIGPTForSequenceClassification

    batch = batches.batch(0, BATCH)
    result = step.evaluate(batch)
    mine = result.totals["task_loss"].mean + 0.5 * result.totals["lm_loss"].mean
    model = OpenAIGPTForSequenceClassification.from_pretrained(start).eval()
    ids = torch.from_numpy(batch.ids[:, 0])
    mask = torch.from_numpy(batch.attention_mask[:, 0])
    with torch.no_grad():
        hidden = model.transformer(ids, attention_mask=mask.long())[0]
        logits = model.score(hidden[torch.arange(len(ids)), mask.sum(-1) - 1])
        tokens = hidden[:, :-1] @ model.transformer.tokens_embed.weight.T
        targets = ids[:, 1:].masked_fill(~mask[:, 1:], -100)
        language = F.cross_entropy(tokens.flatten(0, 1), targets.flatten())
        theirs = F.cross_entropy(logits, torch.from_numpy(batch.labels)) + 0.5 * language
    if abs(mine / theirs.item() - 1) > 2.0**-7:
        raise SystemExit(f"the sides do not compute the same loss: {mine} and {theirs.item()}")
    return {"ogpt": float(mine), "transformers": theirs.item()}


def main() -> None:
    given = arguments(__doc__, 5)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(given.threads)
    shape = dict(SMOKE, n_positions=128) if given.smoke else dict(GPT1)
    with TemporaryDirectory() as folder:
        sides = started(Path(folder), shape, compiled=not given.smoke)
        for each in sides.steps.values():
            each()  # compiles, and touches all memory once
        samples = interleave(sides.steps, given.rounds)
    result = Result(
        name="finetuning",
        title="Fine-tuning",
        settings={"shape": shape, "batch": BATCH, "steps": STEPS},
        samples=samples,
        figures={"losses_of_one_batch": sides.losses},
    )
    work = BATCH * STEPS
    rows = [
        [name, spread(rates(work, seconds), 1), f"{np.median(seconds) / STEPS:.2f}"]
        for name, seconds in samples.items()
    ]
    header = ["sentence_polarity", "examples/s, median (lowest to highest)", "s per step"]
    result.tables.append(Table(header, rows))
    times = {peer: result.compare("ogpt", peer) for peer in (PADDED, DYNAMIC)}
    result.add_pairs()
    result.target("times Trainer, padded to 128", times[PADDED], at_least=3)
    result.target("times Trainer, dynamic padding", times[DYNAMIC], at_least=1.5)
    result.notes.append(
        "Trainer time includes what Trainer.train does before its first step. Losses of one batch "
        "without dropout agree."
    )
    save(result, given)


if __name__ == "__main__":
    main()
