"""The choice of decoder, dtype and threads for a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from ogpt import processor
from ogpt.bundle import resolve
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import BackendMissing, ConfigError
from ogpt.generation.decoder import Decoder

DecoderName = Literal["auto", "torch"]
DtypeName = Literal["auto", "float32", "bfloat16"]


def open_decoder(
    model: str | Path,
    *,
    config: OpenAIGPTConfig | None = None,
    decoder: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
    slots: int = 1,
) -> Decoder:
    """Load a model folder or run into a decoder.

    Args:
        model: Model folder, or a run (its best, else last, checkpoint).
        config: Of the model, where it was read already.
        decoder: auto or torch.
        dtype: Of weights and cache; auto: bfloat16 on a GPU, otherwise as stored.
        threads: CPU threads; 0: all cores.
        slots: Sequences held at once, 1 or more.

    Raises:
        ConfigError: a value outside its range.
        BackendMissing: the decoder's framework is not installed.
        CheckpointError, WeightsError: the folder is no model, or is damaged.
    """
    for name, value, allowed in (
        ("decoder", decoder, get_args(DecoderName)),
        ("dtype", dtype, get_args(DtypeName)),
    ):
        if value not in allowed:
            raise ConfigError(
                f"{name} is {value!r}; allowed: {', '.join(allowed)}", hint="choose one of these"
            )
    for name, number, least in (("threads", threads, 0), ("slots", slots, 1)):
        if number < least:
            raise ConfigError(
                f"{name} is {number}; allowed: {least} or more", hint="leave it at its default"
            )
    folder = resolve(model)
    try:
        import torch
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"generating needs PyTorch: {error}", hint="pip install 'ogpt[torch]'"
        ) from error
    from ogpt.model.heads import OpenAIGPTLMHeadModel
    from ogpt.model.packing import pack_weights
    from ogpt.model.torch_decoder import TorchDecoder

    torch.set_num_threads(threads or processor.cores())
    on_gpu = torch.cuda.is_available()
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(dtype)
    if kind is None and on_gpu:
        kind = torch.bfloat16
    device = "cuda" if on_gpu else "cpu"
    loaded = OpenAIGPTLMHeadModel.from_pretrained(folder, config=config, dtype=kind, device=device)
    return TorchDecoder(pack_weights(loaded), slots)
