"""`ogpt pretrain`: a language model learns from running text (paper, section 3.1, eq. 1-2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ogpt.data.shards import Shards, TokenStream
from ogpt.errors import VocabularyMismatch
from ogpt.folders.model_card import training_facts, write_card
from ogpt.folders.model_folder import ModelFolder
from ogpt.folders.run_folder import RunFolder
from ogpt.generation.protocol import perplexity as units
from ogpt.reporting import Reporter, Several, silent
from ogpt.storage import only_writer, storage_error
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.training.loop import BestBy, Loop, Measures, Probes, ValidationSet
from ogpt.training.objective import LOSS, Totals
from ogpt.training.run_reports import reports
from ogpt.training.schedule import warmup_cosine
from ogpt.training.step import TrainStep
from ogpt.weights.shapes import parameter_count
from ogpt.workflows.pretrain_setup import (
    PretrainRequest,
    Setup,
    resolve_settings,
    set_up,
)
from ogpt.workflows.run_settings import opened_run
from ogpt.workflows.training_backend import make_pretrain_step, make_probes

TASK = "pretraining"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well a model predicts the validation text."""

    loss: float
    """Nats per token."""
    perplexity: float
    bits_per_byte: float
    """Per UTF-8 byte of the original text."""
    tokens: int
    """Tokens that were predicted."""


@dataclass(frozen=True, slots=True)
class PretrainResult:
    """How a run ended."""

    out: Path
    steps: int
    valid: Evaluation
    """On the whole validation text, after the last step."""


def pretrain(
    *,
    out: str | Path,
    preset: str | None = None,
    data: str | Path | Sequence[str | Path] = (),
    valid: str | Path | Sequence[str | Path] = (),
    tokenizer: str | Path | None = None,
    init: str | Path | ModelFolder | None = None,
    config: str | Path | None = None,
    overrides: str | Sequence[str] = (),
    resume: bool = False,
    probes: str | Path | None = None,
    backend: str | None = None,
    reporter: Reporter = silent,
) -> PretrainResult:
    """Train a language model on text; every checkpoint is a model folder that loads as it is.

    Args:
        out: Folder of the run.
        preset: Name of a preset (paper, small, tiny).
        data: Source or sources of text, or the one folder of shards that `prepare` made.
        valid: Source or sources of validation text. Without them, a share of the documents is held
            out.
        tokenizer: Folder of a tokenizer. Without it, the tokenizer of `init` or of the shards is
            used, or else one is trained.
        init: Model folder or run of the initial weights; its shape overrides the settings'.
        config: TOML file of settings.
        overrides: One `section.field=value` or several; they override preset and file.
        resume: Resume the run in `out` from its last checkpoint, with its own settings. A run that
            does not exist is started.
        probes: Folder with the sets of the paper's zero-shot probes (CoLA, SST-2, RACE, DPRD,
            Winograd), anywhere below it. They are measured at each evaluation; a resumed run
            keeps its own.
        backend: torch or tensorflow; None: as the settings say, and by default torch. Checkpoints
            serve both, so a run may resume with the other one.
        reporter: Receives all events (`ogpt.reporting`).

    Raises:
        ConfigError: invalid settings, or settings that differ from those of the run to resume.
        SourceNotFound: no set of the probes is in their folder.
        OutputExists: `out` holds a run and `resume` is off, or another process writes into it.
        DataError, TokenizerError, VocabularyMismatch, CheckpointError: inputs that cannot be used.
        TrainingDiverged, TrainingInterrupted, StorageError: see Loop.run.
    """
    request = PretrainRequest.of(
        out=out,
        preset=preset,
        data=data,
        valid=valid,
        tokenizer=tokenizer,
        init=init,
        config=config,
        overrides=overrides,
        resume=resume,
        probes=probes,
        backend=backend,
    )
    settings = resolve_settings(request)
    with only_writer(request.out):
        setup = set_up(request, settings, request.out, Several(progress=reporter))
        return _pretrain(setup, request.out, reporter)


def _pretrain(setup: Setup, out: Path, reporter: Reporter) -> PretrainResult:
    settings = setup.settings
    run = opened_run(out, settings, init=str(setup.init.path) if setup.init else None)
    _check_same_data(run, setup.shards)
    if run.facts.get("finished"):
        reporter("message", text=f"the run in {out} is finished; train its model with --init")
        return PretrainResult(out, run.facts["steps"], Evaluation(**run.facts["valid"]))
    run.facts["probes"] = str(setup.probes_folder) if setup.probes_folder else None
    run.save_facts()
    step = make_pretrain_step(setup.config, setup.init, settings.training, setup.run_tokens)
    state = run.load_last(step.load)
    done = 0 if state is None else int(state["step"])
    run.cut_metrics(done, evaluates=done == setup.total_steps)
    tokenizer = open_tokenizer(setup.tokenizer)
    tokenizer.model_max_length = setup.config.n_positions
    sources = [str(source["name"]) for source in setup.shards.manifest.inputs["data"]]
    about = training_facts(settings, setup.config.n_positions, sources, step.description)

    def add_files(folder: Path) -> None:
        tokenizer.save_pretrained(folder)
        write_card(folder, about)

    with reports(out, done, reporter) as report:
        report(
            "plan",
            task=TASK,
            step=done,
            parameters=parameter_count(setup.config),
            tokens_per_step=settings.training.batch_size * setup.config.n_positions,
            total_steps=setup.total_steps,
            train_unknown_tokens=setup.shards.train.n_unknown,
            valid_unknown_tokens=setup.shards.valid.n_unknown,
        )
        probes = make_probes(setup.probes, step, reporter)
        loop = _loop(setup, step, run, report, add_files, state, probes)
        try:
            found = Evaluation(**loop.run())  # type: ignore[arg-type]  # its tokens are whole
        except OSError as error:
            raise storage_error(out, error) from error
    measures = {
        "validation perplexity": f"{found.perplexity:.4g}",
        "validation bits per byte": f"{found.bits_per_byte:.4g}",
    }
    write_card(run.checkpoint(loop.step), about, evaluation=measures)
    run.facts.update(finished=True, steps=loop.step, valid=dataclasses.asdict(found))
    run.save_facts()
    return PretrainResult(out, loop.step, found)


def _loop(
    setup: Setup,
    step: TrainStep,
    run: RunFolder,
    report: Reporter,
    add_files: Callable[[Path], None],
    state: Mapping[str, Any] | None,
    probes: Probes,
) -> Loop:
    training = setup.settings.training
    return Loop(
        step,
        setup.train,
        ValidationSet(
            lambda: setup.valid.sequential(training.micro_batch_size),
            lambda totals, _: _text_measures(totals, setup.shards.valid),
        ),
        training,
        schedule=partial(
            warmup_cosine, warmup_steps=training.warmup_steps, total_steps=setup.total_steps
        ),
        best=BestBy(LOSS),
        task=TASK,
        run=run,
        reporter=report,
        add_files=add_files,
        state=state,
        probes=probes,
    )


def _text_measures(totals: Totals, text: TokenStream) -> Measures:
    """Perplexity and bits per byte of the validation text, or of the part that was scored."""
    loss, tokens = totals[LOSS].mean, totals[LOSS].count
    # the first token is not predicted; its bytes count, as it belongs to the text
    n_bytes = round(text.n_bytes * tokens / max(tokens, len(text) - 1))
    return {
        "perplexity": units.perplexity(loss),
        "bits_per_byte": units.bits_per_byte(loss, tokens, n_bytes),
        "tokens": tokens,
    }


def _check_same_data(run: RunFolder, shards: Shards) -> None:
    seen = {
        "tokenizer": shards.fingerprint,
        "train_tokens": len(shards.train),
        "shards": shards.manifest.content_sha256,
    }
    known = run.facts.setdefault("data", seen)
    if known != {name: seen.get(name) for name in known}:
        raise VocabularyMismatch(
            f"the run in {run.path} was trained on other shards: {known}, now {seen}",
            hint="resume with the same --data as the original run",
        )
    run.save_facts()
