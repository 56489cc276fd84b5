"""CTranslate2: GPT-2 in its own specification, without the frameworks of its converters."""

from __future__ import annotations

import shutil
from pathlib import Path

import ctranslate2
from ctranslate2.specs.common_spec import Activation
from ctranslate2.specs.transformer_spec import TransformerDecoderModelSpec

from benchmarks.peers.gpt2_weights import draw
from benchmarks.peers.protocol import Setup, serve


def write_model(shape: dict[str, int], folder: Path, variant: str) -> None:
    """Write a model folder with float32 or int8 weights."""
    spec = TransformerDecoderModelSpec.from_config(
        shape["n_layer"], shape["n_head"], activation=Activation.GELUTanh
    )
    decoder, weights = spec.decoder, draw(shape)
    decoder.scale_embeddings = False
    decoder.embeddings.weight = weights["wte.weight"]
    decoder.position_encodings.encodings = weights["wpe.weight"]
    decoder.projection.weight = weights["wte.weight"]
    norms = {"ln_f": decoder.layer_norm}
    for number, layer in enumerate(decoder.layer):
        name = f"h.{number}"
        norms[f"{name}.ln_1"] = layer.self_attention.layer_norm
        norms[f"{name}.ln_2"] = layer.ffn.layer_norm
        for part, linear in (
            ("attn.c_attn", layer.self_attention.linear[0]),
            ("attn.c_proj", layer.self_attention.linear[1]),
            ("mlp.c_fc", layer.ffn.linear_0),
            ("mlp.c_proj", layer.ffn.linear_1),
        ):
            linear.weight = weights[f"{name}.{part}.weight"].T
            linear.bias = weights[f"{name}.{part}.bias"]
    for name, norm in norms.items():
        norm.gamma, norm.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]
    # tokens are strings; none of them is special or ends a text
    spec.register_vocabulary([str(number) for number in range(shape["vocab_size"])])
    spec.config.unk_token = spec.config.bos_token = spec.config.eos_token = "0"
    spec.validate()
    spec.optimize(quantization=variant)
    part = folder.with_suffix(".part")  # renamed when complete
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    spec.save(str(part))
    part.rename(folder)


class CTranslate2:
    """An Engine."""

    def __init__(self, setup: Setup) -> None:
        folder = setup.folder / f"ctranslate2-{setup.variant}"
        if not folder.exists():
            write_model(setup.shape, folder, setup.variant)
        self._generator = ctranslate2.Generator(
            str(folder), compute_type=setup.variant, intra_threads=setup.threads
        )

    def generate(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        """See Engine."""
        found = self._generator.generate_batch(
            [[str(token) for token in prompt] for prompt in prompts],
            min_length=new,
            max_length=new,
            include_prompt_in_result=False,
        )
        return [[int(token) for token in each.sequences[0]] for each in found]

    def read(self, prompts: list[list[int]]) -> list[int]:
        """See Engine."""
        return [ids[0] for ids in self.generate(prompts, 1)]


if __name__ == "__main__":
    serve(("ctranslate2",), CTranslate2)
