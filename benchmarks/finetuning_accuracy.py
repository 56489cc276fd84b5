"""Accuracy after a whole fine-tuning: ogpt beside transformers' Trainer.

    python -m benchmarks.finetuning_accuracy MODEL [--epochs 3] [--learning-rate 2e-4]

Both start from the same weights (a pre-trained MODEL and one new head), and learn sentence_polarity
of ../shared/data with the settings of `finetuning.py`, the paper's schedule and the same number of
epochs; the order of examples and the dropout masks are their own.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import ogpt
from benchmarks.finetuning import BATCH, DATA, ours, sentence_polarity, start_folder, trainer
from benchmarks.measuring import RESULTS, Result, Table, note_start, save
from ogpt.evaluation.task_scores import TaskScore, scores
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import collecting
from ogpt.tasks.labels import label_array
from ogpt.tasks.task_data import TaskData
from ogpt.training.torch_task_predictor import TorchTaskPredictor

WARMUP = 0.002
DECAY = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a pre-trained model or run")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.smoke = False
    note_start(given)
    if not DATA.is_dir():
        raise SystemExit(f"there is no {DATA}: the comparison needs sentence_polarity")
    torch.set_num_threads(given.threads)
    data, seconds, found = sentence_polarity(), {}, {}
    for name, side in (("ogpt", our_logits), ("Trainer", their_logits)):
        with TemporaryDirectory() as folder:
            begin = time.perf_counter()
            logits = side(given.model, data, Path(folder), given.epochs, given.learning_rate)
            seconds[name] = [time.perf_counter() - begin]
        labels = label_array(data.valid["valid"], data.spec)
        assert labels is not None
        found[name] = scores(data.spec, logits, labels)["accuracy"]
    result = Result(
        name="finetuning_accuracy",
        title="Accuracy after fine-tuning",
        settings={"batch": BATCH, "epochs": given.epochs, "learning_rate": given.learning_rate},
        samples=seconds,
        figures={"accuracy": found},
        tables=[
            Table(
                ["sentence_polarity, validation", "accuracy (95 % interval)"],
                [[name, cell(score)] for name, score in found.items()],
            )
        ],
    )
    result.notes.append(
        f"From {ogpt.info(given.model)['parameters'] / 1e6:.1f} million pre-trained parameters; "
        f"{len(data.train):,} training and {len(data.valid['valid']):,} validation examples."
    )
    save(result, given)


def cell(score: TaskScore) -> str:
    """An accuracy with its interval."""
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def our_logits(
    model: Path, data: TaskData, folder: Path, epochs: int, rate: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Validation logits of the last checkpoint of `ogpt finetune`."""
    with collecting():
        ogpt.finetune(
            model=model,
            out=folder / "run",
            source=data,
            overrides=[
                f"finetune.epochs={epochs}",
                f"finetune.learning_rate={rate}",
                f"finetune.batch_size={BATCH}",
                f"finetune.warmup_fraction={WARMUP}",
            ],
        )
    last = ModelFolder.open(max((folder / "run" / "checkpoints").glob("step-*")))
    return TorchTaskPredictor(last).predict(data.valid["valid"]).logits


def their_logits(
    model: Path, data: TaskData, folder: Path, epochs: int, rate: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Validation logits of the Trainer after its last step."""
    with collecting():
        step, _ = ours(model, data, folder / "run", compiled=False)
    side = trainer(
        start_folder(step, model, folder / "start"),
        data,
        folder / "trainer",
        padded=False,
        num_train_epochs=epochs,
        learning_rate=rate,
        warmup_steps=WARMUP,  # below 1: a share of the steps
        weight_decay=DECAY,
        seed=0,
    )
    side.train()
    return side.predict(side.eval_dataset).predictions


if __name__ == "__main__":
    main()
