"""The paper's claim in small: pre-training helps. Write docs/results/paper-small.md.

    python -m benchmarks.paper_small [--runs DIR] [--steps 5000] [--only TASK] [--row ROW] [--smoke]

A GPT is pre-trained on the books of ../shared/data, about 55 minutes on one core. Then it is
fine-tuned on stand-ins for the paper's families, with and without pre-training, with and without
the auxiliary language loss, with 3 seeds each: about 2 hours on one core. The page is written anew
after each task. If interrupted, run it again: finished parts are kept. `--row` trains these rows
alone and writes no page, so that two processes can share the work. `--smoke` uses a few rows and
steps.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import ogpt
from benchmarks.books_small import RESULTS, ROOT, VOCAB_SIZE, books
from benchmarks.task_baselines import majority, tfidf
from ogpt import processor
from ogpt.evaluation.task_scores import measures
from ogpt.folders.model_folder import ModelFolder
from ogpt.folders.run_folder import RunFolder
from ogpt.notices import collecting
from ogpt.storage import whole_file, write_json
from ogpt.tasks.example import Example, Family
from ogpt.tasks.labels import label_array
from ogpt.tasks.task_data import TaskData, own_data
from ogpt.tasks.task_rows import read_examples
from ogpt.training.torch_task_predictor import TorchTaskPredictor
from ogpt.weights.shapes import parameter_count

TASKS_FOLDER = ROOT.parent / "shared" / "data" / "tasks"
SHAPE = ("n_layer=4", "n_head=4", "n_embd=256", "n_positions=256")
PRETRAINING = (
    *(f"model.{item}" for item in SHAPE),
    *("model.embd_pdrop=0.0", "model.attn_pdrop=0.0", "model.resid_pdrop=0.0"),
    *("training.epochs=3", "training.batch_size=8", "training.micro_batch_size=8"),
    *("training.learning_rate=1e-3", "training.warmup_steps=300", "training.weight_decay=0.1"),
    *("training.adam_beta2=0.98", "training.eval_every=1000", "training.eval_windows=256"),
    *("training.checkpoint_every=0", "training.checkpoint_minutes=5"),
)
RATES = (2e-4, 6e-4)
"""Peak learning rates; seed 0 chooses one with and one without pre-training, by the validation
score. The paper's 6.25e-5 is for a model twenty times as large."""
SEEDS = 3
TRAIN_ROWS = 3_000
"""Training examples of a set that are used, from the first, so that all runs fit the time."""
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Stand:
    """A data set that stands in for those of a family."""

    name: str
    family: Family
    train: str
    valid: str
    with_lm: bool
    """Whether it is also trained without the language loss."""
    tests: Sequence[str] = ()
    """Scored once, after all choices."""


STANDS = (
    Stand(
        "sentence_polarity",
        "classification",
        "classification/sentence_polarity_train",
        "classification/sentence_polarity_valid",
        True,
        ("classification/movie_reviews_test",),
    ),
    Stand(
        "stsb_captions",
        "similarity",
        "similarity/stsb_captions_train",
        "similarity/stsb_captions_dev",
        True,
    ),
    Stand(
        "copa",
        "multiple-choice",
        "multiple_choice/copa_balanced_train",
        "multiple_choice/copa_balanced_valid",
        False,
    ),
    Stand(
        "snli_cad",
        "entailment",
        "entailment/snli_cad_train",
        "entailment/snli_cad_dev",
        True,
        ("entailment/snli_test", "entailment/med_test"),
    ),
    Stand(
        "subjectivity",
        "classification",
        "classification/subjectivity_train",
        "classification/subjectivity_valid",
        False,
    ),
    Stand(
        "commonsenseqa",
        "multiple-choice",
        "multiple_choice/commonsenseqa_v1.0_train",
        "multiple_choice/commonsenseqa_v1.0_dev",
        True,
    ),
    Stand(
        "arc_easy",
        "multiple-choice",
        "multiple_choice/arc_easy_train",
        "multiple_choice/arc_easy_dev",
        False,
    ),
)

ROWS = {
    "no pre-training, no language loss": (False, False),
    "no pre-training": (False, True),
    "pre-trained, no language loss": (True, False),
    "pre-trained": (True, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "paper-small")
    parser.add_argument("--steps", type=int, default=5_000, help="of the pre-training")
    parser.add_argument("--only", action="append", help="this task; repeatable")
    parser.add_argument("--row", action="append", choices=ROWS, help="this row; repeatable")
    parser.add_argument("--smoke", action="store_true", help="a few rows and steps, to try it")
    parser.add_argument("--out", type=Path, default=RESULTS / "paper-small.md")
    options = parser.parse_args()
    runs: Path = options.runs
    runs.mkdir(parents=True, exist_ok=True)
    model = runs / "model"
    if not options.row:
        pretrained(runs, options.steps, smoke=options.smoke)
    found = {}
    for stand in STANDS:
        if options.only and stand.name not in options.only:
            continue
        rows = measured(
            stand, model, runs / stand.name, options.row or list(ROWS), smoke=options.smoke
        )
        if not options.row:
            found[stand.name] = rows
            write_page(found, model, options.out)


def pretrained(runs: Path, steps: int, *, smoke: bool) -> None:
    """Train or resume the language model."""
    run = runs / "model"
    train, valid = books("books_train_*"), books("books_valid*")
    overrides = [*PRETRAINING, f"training.max_steps={steps}"]
    size = VOCAB_SIZE
    if smoke:
        train, valid = ["builtin:python-docs"], []
        overrides += ["training.max_steps=2", "training.warmup_steps=1", "model.n_layer=1"]
        size = 600
    tokenizer = ogpt.train_tokenizer(train, size, runs / "tokenizer")
    shards = ogpt.prepare(train, tokenizer, runs / "shards", valid=valid)
    ogpt.pretrain(
        data=[str(shards.folder)], out=run, overrides=overrides, resume=RunFolder.is_run(run)
    )


def rows_file(name: str) -> Path:
    """The file of a split."""
    return TASKS_FOLDER / f"{name}.jsonl.gz"


def data_of(stand: Stand, *, smoke: bool) -> TaskData:
    """The examples of a data set."""
    with collecting():
        data = own_data(stand.family, rows_file(stand.train), rows_file(stand.valid))
        spec = data.spec
        tests = {
            Path(name).name: tuple(
                read_examples(rows_file(name), spec.family, spec.columns, spec.problem)[0]
            )
            for name in stand.tests
        }
    data = replace(data, train=data.train[:TRAIN_ROWS], test=tests)
    if not smoke:
        return data
    return replace(
        data,
        train=data.train[:64],
        valid={name: rows[:32] for name, rows in data.valid.items()},
        test={name: rows[:32] for name, rows in data.test.items()},
    )


def measured(
    stand: Stand, model: Path, folder: Path, wanted: Sequence[str], *, smoke: bool
) -> dict[str, Any]:
    """Results of one data set: those of finished runs are read back."""
    folder.mkdir(exist_ok=True)
    data = data_of(stand, smoke=smoke)
    rows: dict[str, Any] = {}
    for name, (pretraining, language_loss) in ROWS.items():
        if name in wanted and (language_loss or stand.with_lm):
            rows[name] = _row(data, model, folder, pretraining, language_loss, smoke)
    file = folder / "baselines.json"
    if not file.exists():
        write_json(file, {"majority": majority(data), "TF-IDF": tfidf(data)})
    return {"data": data, "rows": rows, "baselines": json.loads(file.read_text("utf-8"))}


def _row(
    data: TaskData, model: Path, folder: Path, pretraining: bool, lm: bool, smoke: bool
) -> dict[str, Any]:
    """One row: the learning rate by seed 0 with the language loss, then all seeds at that rate."""

    def one(seed: int, rate: float, with_lm: bool) -> dict[str, Any]:
        return _run(data, model, folder, pretraining, with_lm, seed, rate, smoke)

    scores = {rate: one(0, rate, True)["score"] for rate in RATES}
    best = max(scores, key=lambda rate: scores[rate])
    return {"rate": best, "seeds": [one(seed, best, lm) for seed in range(SEEDS)]}


def _run(
    data: TaskData,
    model: Path,
    folder: Path,
    pretraining: bool,
    lm: bool,
    seed: int,
    rate: float,
    smoke: bool,
) -> dict[str, Any]:
    """One fine-tuning; its predictions are kept, its weights are not."""
    name = f"{'pre' if pretraining else 'raw'}-{'lm' if lm else 'task'}-{rate:g}-{seed}"
    kept = folder / f"{name}.npz"
    if not kept.exists():
        begin = time.monotonic()
        out = folder / name
        with collecting():
            ogpt.finetune(
                model=model,
                out=out,
                source=replace(data, test={}),
                resume=RunFolder.is_run(out),
                overrides=[
                    f"finetune.seed={seed}",
                    f"finetune.learning_rate={rate}",
                    f"finetune.lm_coef={0.5 if lm else 0.0}",
                    *([] if pretraining else ["finetune.n_transfer=-1"]),
                    *(["finetune.max_steps=2"] if smoke else []),
                ],
            )
            arrays = {"valid": _logits(out, next(iter(data.valid.values())))}
            for split, examples in data.test.items() if lm else ():
                arrays[split] = _logits(out, examples)
        with whole_file(kept) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, seconds=time.monotonic() - begin, **arrays)
        shutil.rmtree(out)
    with np.load(kept) as arrays:
        found: dict[str, Any] = {key: arrays[key] for key in arrays.files}
    examples = next(iter(data.valid.values()))
    labels = label_array(examples, data.spec)
    assert labels is not None
    with collecting():
        scores = measures(data.spec, found["valid"], labels)
    value = scores[data.spec.metrics[0]]
    print(f"{folder.name} {name}: {value:.4f}, {found['seconds']:.0f} s", flush=True)
    return {"score": -math.inf if math.isnan(value) else value, **found}


def _logits(run: Path, examples: Sequence[Example]) -> Any:
    """Predictions of the best checkpoint of a run."""
    return TorchTaskPredictor(ModelFolder.open(run)).predict(examples).logits


def interval_of_gain(
    data: TaskData, ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]
) -> tuple[float, float, float]:
    """How much better the first seeds are than the second: mean, and 95 % of resampled examples.

    Both are scored on the same examples, which are resampled; seeds are resampled too.
    """
    examples = next(iter(data.valid.values()))
    labels = label_array(examples, data.spec)
    assert labels is not None
    metric = data.spec.metrics[0]
    spec = replace(data.spec, metrics=(metric,))
    random = np.random.default_rng(0)
    gains = []
    with collecting():
        mean = _mean_score(spec, ours, labels, None) - _mean_score(spec, theirs, labels, None)
        for _ in range(RESAMPLES):
            rows = random.integers(0, len(labels), len(labels))
            sides = [
                _mean_score(
                    spec, [side[i] for i in random.integers(0, len(side), len(side))], labels, rows
                )
                for side in (ours, theirs)
            ]
            gains.append(sides[0] - sides[1])
    low, high = np.nanquantile(gains, [0.025, 0.975])
    return mean, float(low), float(high)


def _mean_score(spec: Any, seeds: Sequence[dict[str, Any]], labels: Any, rows: Any) -> float:
    chosen = slice(None) if rows is None else rows
    values = [
        measures(spec, seed["valid"][chosen], labels[chosen])[spec.metrics[0]] for seed in seeds
    ]
    return float(np.mean(values))


def write_page(found: dict[str, Any], model: Path, out: Path) -> None:
    """The table, the picture and the gains of pre-training."""
    config = ModelFolder.open(model).config
    facts = RunFolder.open(model).facts
    lines, gains, seconds = [], {}, 0.0
    for name, one in found.items():
        rows, data = one["rows"], one["data"]
        gains[name] = interval_of_gain(
            data, rows["pre-trained"]["seeds"], rows["no pre-training"]["seeds"]
        )
        cells = [_cell(rows.get(row)) for row in ROWS]
        alone = "-"
        if "no pre-training, no language loss" in rows:
            plain = rows["no pre-training, no language loss"]["seeds"]
            alone = _gain(interval_of_gain(data, rows["pre-trained"]["seeds"], plain))
        base = one["baselines"]
        lines.append(
            f"| {name} | {len(data.train):,} | {data.spec.metrics[0]} "
            f"| {base['majority']:.3f} | {base['TF-IDF']:.3f} | "
            + " | ".join(cells)
            + f" | {_gain(gains[name])} | {alone} |"
        )
        seconds += sum(seed["seconds"] for row in rows.values() for seed in row["seeds"])
    picture = out.with_suffix(".png")
    _draw(found, picture)
    helped = [name for name, (_, low, _) in gains.items() if low > 0]
    left = ", ".join(stand.name for stand in STANDS if stand.name not in found)
    missing = f"\nNot run yet: {left}. The same command continues with them.\n" if left else ""
    header = " | ".join(ROWS)
    page = f"""# Pre-training helps: the paper's claim in small

`python -m benchmarks.paper_small` repeats these runs. They can be interrupted and resumed. The data
is not part of the project; the script expects it in `shared/data`, beside the project.

A GPT of {parameter_count(config) / 1e6:.1f} million parameters ({config.n_layer} layers,
{config.n_embd} channels) was pre-trained on the books for {facts["steps"]:,} steps (validation
perplexity {facts["valid"]["perplexity"]:.1f}), then fine-tuned by the recipe `paper`: 3 epochs,
batch 32, {SEEDS} seeds. The learning rate is {" or ".join(f"{rate:g}" for rate in RATES)}, by the
validation score of seed 0. One core for a run, beside other work ({processor.name()}),
ogpt {ogpt.__version__}; the fine-tunings shown took {seconds / 60:.0f} minutes.

Scores on the validation or dev set, which also chose the checkpoint: mean of the seeds, and in
brackets the lowest and highest. The gain is "pre-trained" less "no pre-training", with the 95 %
interval over resampled examples and seeds; "of both" is "pre-trained" less the row with neither
pre-training nor language loss: the language loss alone hurts a model that is not pre-trained.
Examples are those trained on: the first {TRAIN_ROWS:,} of a set that has more.

| task | examples | score | majority | TF-IDF | {header} | gain of pre-training | of both |
|---|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}

![Scores by task]({picture.name})

Pre-training helps beyond the interval on {len(helped)} of {len(gains)} tasks:
{", ".join(helped) or "none"}.
{missing}{_tests(found)}"""
    with whole_file(out) as temporary:
        temporary.write_text(page, "utf-8")


def _gain(found: tuple[float, float, float]) -> str:
    mean, low, high = found
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    values = [seed["score"] for seed in row["seeds"]]
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _tests(found: dict[str, Any]) -> str:
    """The final figures on test sets, which chose nothing."""
    lines = []
    for name, one in found.items():
        for split, examples in one["data"].test.items():
            labels = label_array(examples, one["data"].spec)
            for row in ("no pre-training", "pre-trained"):
                seeds = one["rows"][row]["seeds"]
                values = [
                    measures(one["data"].spec, seed[split], labels)[one["data"].spec.metrics[0]]
                    for seed in seeds
                ]
                lines.append(
                    f"| {name} | {split} | {row} | {len(labels):,} | {np.mean(values):.3f} |"
                )
    if not lines:
        return ""
    header = (
        "| task | test set | model | examples | score, mean of seeds |\n|---|---|---|---|---|\n"
    )
    return "\n## Test sets, scored once\n\n" + header + "\n".join(lines) + "\n"


def _draw(found: dict[str, Any], file: Path) -> None:
    """A dot for each seed, in a column for each row of the table."""
    from matplotlib.figure import Figure

    colours = ("#c9ced6", "#9aa3b2", "#7fb0e0", "#0b5cad")
    figure = Figure(figsize=(9.5, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(found.values()):
        for number, (row, colour) in enumerate(zip(ROWS, colours, strict=True)):
            if row not in one["rows"]:
                continue
            values = [seed["score"] for seed in one["rows"][row]["seeds"]]
            x = place + (number - 1.5) * 0.18
            axes.bar(x, np.mean(values), width=0.16, color=colour, label=row if not place else None)
            axes.scatter([x] * len(values), values, s=10, color="#1d2129", zorder=3)
        for value, style in (
            (one["baselines"]["TF-IDF"], "-"),
            (one["baselines"]["majority"], ":"),
        ):
            axes.hlines(value, place - 0.4, place + 0.4, color="#b3501b", linestyle=style)
    axes.set_xticks(range(len(found)), list(found), rotation=20, ha="right")
    axes.set_ylabel("score")
    axes.set_ylim(0, 1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, ncols=4, loc="outside lower center", fontsize=8)
    axes.set_title("Line: TF-IDF and a linear model; dotted: majority class", fontsize=9)
    figure.savefig(file)


if __name__ == "__main__":
    main()
