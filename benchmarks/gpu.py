"""On a CUDA device: the training step and decoding, beside plain PyTorch and transformers.

The size is that of the preset `paper`. MFU is relative to the best measured matrix multiplication
and, where the data sheet is listed here, to the card's peak. Without a device it prints a message
and ends; `--smoke` runs everything at tiny size on any machine.
"""

from __future__ import annotations

import statistics
from dataclasses import replace

import torch

from benchmarks import gpu_decoding, training_step
from benchmarks.contenders import Setup
from benchmarks.measuring import Table, arguments, save
from benchmarks.training_step import GPT1, MODELS, SMOKE

DATA_SHEET = {"H200": 989.5e12, "H100 80GB HBM3": 989.5e12, "A100": 312e12}
"""Dense bf16 operations per second, by a part of the card's name (NVIDIA's data sheets)."""


def main() -> None:
    given = arguments(__doc__, 11, batch=64, new_tokens=256)
    if not (given.smoke or torch.cuda.is_available()):
        print("gpu: skipped, as PyTorch sees no CUDA device")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    card = torch.cuda.get_device_name() if device == "cuda" else "no card"
    setup = Setup(GPT1, given.batch, 0.1, given.threads, compiled=True, device=device)
    if given.smoke:
        setup = replace(setup, shape=SMOKE, batch=2, compiled=False)

    trained = training_step.measure(
        setup, given.rounds, "gpu_training_step", f"Training step on a GPU ({card})"
    )
    peak = next((found for name, found in DATA_SHEET.items() if name in card), None)
    if peak is not None:
        tokens = {name: setup.tokens / statistics.median(trained.samples[name]) for name in MODELS}
        flops = trained.figures["flops_per_token"]
        rows = [[name, f"{tokens[name] * flops / peak:.1%}"] for name in MODELS]
        header = ["contender", f"MFU, relative to the data sheet's {peak / 1e12:,.0f} TFLOP/s"]
        trained.tables.append(Table(header, rows))
    save(trained, given)

    decoded = gpu_decoding.run(given.smoke, given.rounds, given.new_tokens)
    save(decoded, given)


if __name__ == "__main__":
    main()
