"""Build the API reference from the docstrings: `make docs`, or `python docs/api/build.py OUT`."""

from __future__ import annotations

import inspect
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Unpack, get_args, get_origin

import pdoc
import pdoc.docstrings
import pdoc.render
from markupsafe import Markup

import ogpt

MODULES = (
    "ogpt",  # every public name
    "ogpt.config.saved",  # bases, arguments and results of the public classes
    "ogpt.config.parity",
    "ogpt.config.pretrain_settings",
    "ogpt.config.loader",
    "ogpt.tokens.special_tokens",
    "ogpt.tokens.ids_to_text",
    "ogpt.tokens.id_inputs",
    "ogpt.tokens.tokenizer_base",
    "ogpt.tokens.chat_tokenizer",
    "ogpt.tokens.saved_tokenizer",
    "ogpt.tokens.bpe_tokenizer",
    "ogpt.tokens.batch_encoding",
    "ogpt.generation.choosing.settings",
    "ogpt.model.base",
    "ogpt.model.cache",
    "ogpt.model.generate.entry",
    "ogpt.model.heads",
    "ogpt.model.language_model",
    "ogpt.model.model_facts",
    "ogpt.model.outputs",
    "ogpt.model.pretrained",
    "ogpt.folders.model_folder",
    "ogpt.workflows.convert",
    "ogpt.workflows.evaluate",
    "ogpt.workflows.finetune",
    "ogpt.workflows.finetune_plan",
    "ogpt.workflows.finetune_sweep",
    "ogpt.workflows.generate",
    "ogpt.hub",
    "ogpt.pipelines.base_pipeline",
    "ogpt.pipelines.text_generation",
    "ogpt.pipelines.text_classification",
    "ogpt.pipelines.feature_extraction",
    "ogpt.workflows.plan",
    "ogpt.workflows.pretrain",
    "ogpt.reporting",
)


def build(out: Path) -> None:
    """Write the reference to the folder `out`. The first page is index.html."""
    pdoc.render.configure(
        docformat="google", show_source=False, template_directory=Path(__file__).parent
    )
    if "Args of a call" not in pdoc.docstrings.GOOGLE_LIST_SECTIONS:  # those of pipelines
        pdoc.docstrings.GOOGLE_LIST_SECTIONS.append("Args of a call")
    pdoc.render.env.filters["format_signature"] = _signature
    if find_spec("tensorflow") is None:  # pdoc loads whatever it describes
        ogpt.__all__ = [name for name in ogpt.__all__ if not name.startswith("TF")]
    pdoc.pdoc(*MODULES, output_directory=out)


def _signature(signature: inspect.Signature, colon: bool) -> Markup:
    """Format a signature as pdoc does, with `Unpack[Options]` as `Options`."""
    shown = [
        parameter.replace(annotation=get_args(parameter.annotation)[0])
        if get_origin(parameter.annotation) is Unpack
        else parameter
        for parameter in signature.parameters.values()
    ]
    return pdoc.render.format_signature(signature.replace(parameters=shown), colon)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
