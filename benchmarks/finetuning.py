"""Fine-tuning at GPT-1 size: examples per second, ogpt beside transformers' Trainer.

Both learn a classifier with the language loss beside it, weight 0.5, on sentence_polarity of
../shared/data with GPT-1's vocabulary, in batches of 32, bf16, with dropout 0.1 and AdamW. The
Trainer pads to 128 tokens, as its text-classification example does, or to the longest of a batch.
Without that data, and in a smoke run, docstrings are classified with a small vocabulary.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
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
from ogpt.data.builtin import library_folder
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import collecting
from ogpt.recipes.package_task import package_task
from ogpt.tasks.example import Example
from ogpt.tasks.task_data import TaskData, own_data
from ogpt.tasks.task_tokens import add_task_tokens
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
    """The contenders: each takes some optimizer steps; and the loss of each on one batch."""

    steps: dict[str, Callable[[], float]]
    losses: dict[str, float]


def inputs(folder: Path, *, smoke: bool) -> tuple[str, TaskData, Path]:
    """What is learned: its name, the examples, and the folder of a vocabulary."""
    if not smoke and DATA.is_dir() and VOCABULARY.is_dir():
        return "sentence_polarity", sentence_polarity(), VOCABULARY
    docstrings = folder / "docstrings.txt"
    task = package_task(library_folder())
    docstrings.write_text("\n".join(example.texts[0] for example in task.train), "utf-8")
    size = 300 if smoke else 8_000
    ogpt.train_tokenizer([str(docstrings)], size, folder / "vocabulary")
    return "package of a docstring", task, folder / "vocabulary"


def sentence_polarity() -> TaskData:
    """The examples of ../shared/data."""
    with collecting():
        return own_data(
            "classification",
            DATA / "sentence_polarity_train.jsonl.gz",
            DATA / "sentence_polarity_valid.jsonl.gz",
        )


def model_folder(folder: Path, shape: dict[str, int], vocabulary: Path) -> Path:
    """A language model with random weights, in which both start."""
    with collecting():
        tokenizer = open_tokenizer(vocabulary)
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


def trainer(folder: Path, data: TaskData, out: Path, padded: bool, **options: Any) -> Any:
    """Transformers' Trainer on the same folder, with a subclass that adds the language loss.

    Args:
        folder: Model folder of a classifier, with its task tokens.
        data: The examples.
        out: Folder for the Trainer.
        padded: To 128 tokens; else to the longest of a batch.
        **options: Of TrainingArguments.
    """
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
            loss = F.cross_entropy(logits.float(), labels) + 0.5 * language
            return {"loss": loss, "logits": logits}

    tokenizer = AutoTokenizer.from_pretrained(folder)
    padding = {"padding": "max_length", "max_length": 128} if padded else {}

    def rows(examples: Sequence[Example]) -> list[dict[str, Any]]:
        encoded = tokenizer([each.texts[0] for each in examples], truncation=True, **padding)
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": data.spec.labels.index(label)}
            for ids, mask, label in zip(
                encoded["input_ids"],
                encoded["attention_mask"],
                [str(each.label) for each in examples],
                strict=True,
            )
        ]

    given = TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=BATCH,
        bf16=True,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        optim="adamw_torch_fused",
        **options,
    )
    model = WithLanguageLoss.from_pretrained(folder)
    return Trainer(
        model=model,
        args=given,
        train_dataset=rows(data.train),
        eval_dataset=rows(data.valid["valid"]),
        data_collator=DataCollatorWithPadding(tokenizer),
    )


def start_folder(step: Any, model: Path, out: Path) -> Path:
    """What a fine-tuning starts from, with its new head and tokens, in the Trainer's form."""
    step.model.save_pretrained(out)
    tokenizer = ModelFolder.open(model).tokenizer
    with collecting():
        add_task_tokens(tokenizer)
    tokenizer.save_pretrained(out)
    return out


def started(model: Path, data: TaskData, folder: Path, count: int, compiled: bool) -> Sides:
    """Both sides on the same weights, to take `count` steps a round."""
    with collecting():
        step, batches = ours(model, data, folder / "run", compiled)
    start = start_folder(step, model, folder / "start")
    at = 0

    def our_steps() -> float:
        nonlocal at
        begin = time.perf_counter()
        for _ in range(count):
            step.train([batches.batch(at * BATCH, BATCH)], at, 1e-9)
            at += 1
        return time.perf_counter() - begin

    def their_steps(padded: bool) -> Callable[[], float]:
        side = trainer(
            start, data, folder / "trainer", padded, max_steps=count, learning_rate=6.25e-5
        )

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
    count = 2 if given.smoke else STEPS
    with TemporaryDirectory() as name:
        folder = Path(name)
        what, data, vocabulary = inputs(folder, smoke=given.smoke)
        model = model_folder(folder / "model", shape, vocabulary)
        sides = started(model, data, folder, count, compiled=not given.smoke)
        for each in sides.steps.values():
            each()  # compiles, and touches all memory once
        samples = interleave(sides.steps, given.rounds)
    result = Result(
        name="finetuning",
        title="Fine-tuning",
        settings={"shape": shape, "batch": BATCH, "steps": count},
        samples=samples,
        figures={"losses_of_one_batch": sides.losses},
    )
    work = BATCH * count
    rows = [
        [name, spread(rates(work, seconds), 1), f"{np.median(seconds) / count:.2f}"]
        for name, seconds in samples.items()
    ]
    header = [what, "examples/s, median (lowest to highest)", "s per step"]
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
