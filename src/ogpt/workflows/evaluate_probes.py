"""`ogpt evaluate --probes`: the paper's zero-shot probes of a language model (figure 2, right)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogpt.config.described import check_names
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.options import DecoderOptions
from ogpt.evaluation.probe_source import ProbeSource
from ogpt.evaluation.zero_shot_probes import ProbeScore, ZeroShotProbes
from ogpt.evaluation.zero_shot_sets import open_zero_shot_sets
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol.likelihood import decoder_scorer
from ogpt.reporting import Reporter, silent
from ogpt.storage import path_of


@dataclass(frozen=True, slots=True)
class ProbesResult:
    """How well a model does on tasks that it was not fine-tuned on."""

    probes: Mapping[str, ProbeScore]
    """By name of the set: cola, sst2, race, dprd, winograd."""


def evaluate_probes(
    model: str | Path | ModelFolder,
    probes: str | Path,
    *,
    probe_rows: int = 0,
    reporter: Reporter = silent,
    options: DecoderOptions | None = None,
    **named: Any,
) -> ProbesResult:
    """Measure the paper's zero-shot probes of a language model, as `pretrain(probes=...)` does.

    Args:
        model: A model folder, a run, or an id of the Hub.
        probes: Folder with CoLA, SST-2, RACE, DPRD or Winograd, anywhere below it.
        probe_rows: Rows of each set to use, chosen with a fixed seed; 0 uses all.
        reporter: Receives progress events.
        options: Which decoder scores, and how it runs.
        **named: Fields of DecoderOptions (decoder, dtype, threads, ...), in place of those in
            `options`.

    Raises:
        SourceNotFound: no set is in the folder.
        DataError: a set that cannot be read.
        ConfigError: a number of rows or an option outside its range.
        UnknownArgument: a name that is no field of DecoderOptions.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
    """
    check_names(evaluate_probes, named, DecoderOptions)
    below = path_of(probes, "probes")
    source = ProbeSource(probes=below, probe_rows=probe_rows)
    sets = open_zero_shot_sets(below, source.probe_rows)
    folder = ModelFolder.open(model)
    encoded = ZeroShotProbes(sets, folder.tokenizer, folder.config.n_positions)
    with closing(open_decoder(folder, options, **named)) as opened:
        found = encoded.measure(decoder_scorer(opened), reporter)
    return ProbesResult({score.name: score for score in found})
