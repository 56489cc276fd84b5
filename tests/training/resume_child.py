"""Run as a child that a test may kill: pre-train with dropout, or resume.

Usage: python resume_child.py OUT TEXT COMPILE THREADS
"""

import sys
import warnings
from pathlib import Path

from ogpt.workflows.pretrain import pretrain


def main(out: str, text: str, compiled: str, threads: str) -> None:
    settings = {
        "model.n_layer": 2,
        "model.n_head": 2,
        "model.n_embd": 32,
        "model.n_positions": 32,
        "model.embd_pdrop": 0.1,
        "model.attn_pdrop": 0.1,
        "model.resid_pdrop": 0.1,
        "tokenizer.vocab_size": 300,
        "training.epochs": 2.5,  # the run crosses two borders between epochs
        "training.batch_size": 8,
        "training.micro_batch_size": 4,
        "training.warmup_steps": 4,
        "training.threads": threads,
        "training.eval_every": 7,
        "training.checkpoint_every": 6,
        "training.log_every": 1,
        "training.compile": compiled,
        "training.precision": "auto",  # bfloat16 where it has instructions, else it takes minutes
    }
    overrides = [f"{name}={value}" for name, value in settings.items()]
    pretrain(preset="tiny", data=[text], out=Path(out), overrides=overrides, resume=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
