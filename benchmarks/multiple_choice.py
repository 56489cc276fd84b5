"""Multiple choice at GPT-1 size: what all choices begin with is computed once, or for each.

    python -m benchmarks.multiple_choice [--rows 128]

Both contenders predict the same rows of CosmosQA's validation file with the same model, from text
to logits, in batches sorted by length. The weights are random: their values do not affect the time.
The logits of both must agree, or the benchmark ends with an error.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.measuring import Result, Table, arguments, interleave, rates, save, spread, timed
from ogpt.config.model import OpenAIGPTConfig
from ogpt.folders.model_folder import ModelFolder
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.notices import collecting
from ogpt.tasks.example import Example
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tasks.task_tokens import add_task_tokens
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.merge_learning import learn_merges
from ogpt.tokens.word_counting import count_words
from ogpt.training.torch_task_predictor import TorchTaskPredictor

FILE = Path(__file__).parents[2] / "shared/data/tasks/multiple_choice/cosmosqa_valid.jsonl.gz"
ONCE, ALONE = "common prefix once", "each choice alone"
TARGET = 1.7
VOCAB_SIZE = 20_000
SMOKE_SHAPE = {"n_layer": 2, "n_head": 2, "n_embd": 16}


def questions(rows: int, *, smoke: bool) -> list[Example]:
    """Rows of the validation file, evenly spaced; made up ones for a smoke run."""
    if smoke:
        context, question = "the old man looked at the sea for a long time .", "what did he see ?"
        return [Example((context, question, "the sea", f"{n} ships"), place="") for n in range(9)]
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        read = [json.loads(line) for line in file]
    chosen = np.linspace(0, len(read), rows, endpoint=False).astype(int).tolist()
    return [
        Example((row["context"], row["question"], *row["choices"]), place=row["id"])
        for row in (read[index] for index in chosen)
    ]


def make_folder(path: Path, examples: Sequence[Example], *, smoke: bool) -> ModelFolder:
    """A multiple-choice model of GPT-1's shape, with a tokenizer learned from the examples."""
    with collecting():  # few texts have fewer merges than were asked for
        words = count_words([text for example in examples for text in example.texts])
        vocab, merges = learn_merges(words, 120 if smoke else VOCAB_SIZE)
    tokenizer = OpenAIGPTTokenizerFast(vocab=vocab, merges=merges)
    add_task_tokens(tokenizer)
    shape = SMOKE_SHAPE if smoke else {}
    config = OpenAIGPTConfig(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **shape
    )
    TaskSpec(family="multiple-choice").write_to(config)
    torch.manual_seed(0)
    OpenAIGPTDoubleHeadsModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return ModelFolder.open(path)


def main() -> None:
    given = arguments(__doc__, 5, rows=128)
    examples = questions(given.rows, smoke=given.smoke)
    with TemporaryDirectory() as folder, collecting():
        model = make_folder(Path(folder), examples, smoke=given.smoke)
        predictor = TorchTaskPredictor(model, given.threads)
        once = predictor.predict(examples)
        alone = predictor.predict(examples, common_prefix=False)
        if not np.allclose(once.logits, alone.logits, rtol=1e-3, atol=1e-4):
            raise SystemExit("the logits of the contenders differ")
        contenders = {
            name: partial(timed, partial(predictor.predict, examples, common_prefix=name == ONCE))
            for name in (ONCE, ALONE)
        }
        samples = interleave(contenders, given.rounds)
    tokens = [sum(map(len, ids)) for ids in once.encoded.sequences]
    settings = {
        "examples": len(examples),
        "choices": once.logits.shape[1],
        "tokens_alone": sum(tokens),
        "shape": "smoke" if given.smoke else "GPT-1, float32",
        "cut": once.encoded.too_long,
    }
    rows = [[name, spread(rates(len(examples), each))] for name, each in samples.items()]
    table = Table(["CosmosQA, GPT-1 size", "examples/s, median (lowest to highest)"], rows)
    result = Result("multiple_choice", "Multiple choice", settings, samples, tables=[table])
    found = result.compare(ONCE, ALONE)
    result.add_pairs()
    result.target(f"{ONCE} / {ALONE}", found, at_least=TARGET)
    save(result, given)


if __name__ == "__main__":
    main()
