"""Match the arrays of a file to the weights of a model, and check them before writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import WeightsError
from ogpt.notices import tell
from ogpt.weights.arrays import Array
from ogpt.weights.names import PREFIX, stored_names, unused_names
from ogpt.weights.precision import DTYPES, cast, is_finite
from ogpt.weights.shapes import BARE, Shapes, architecture_of, weight_shapes

_HEAD = "lm_head.weight"
_EMBEDDING = "tokens_embed.weight"


class MatchedWeights(NamedTuple):
    """The weights of a model, and the stored array of each."""

    architecture: str
    shapes: Shapes
    homes: dict[str, str]
    """Name of a weight -> name of its array in the source file."""
    dropped: list[str]
    """Arrays that are not weights of the model, or are copies of one."""
    added: list[str]
    """Weights that are copies of the array of another weight."""

    def check(
        self,
        arrays: Mapping[str, Array],
        dtype: str | None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[str]:
        """Read every array once and check it.

        Args:
            arrays: Arrays of the source file.
            dtype: The dtype to convert to; None keeps the stored ones.
            progress: Called with the number of arrays done.

        Returns:
            The dtypes that will be written.

        Raises:
            WeightsError: an array has the wrong shape, is not floating-point, is not finite, or has
                numbers that are too large for `dtype`.
        """
        dtypes = set()
        for done, (name, home) in enumerate(self.homes.items(), 1):
            array = arrays[home]
            if array.data.shape != self.shapes[name]:
                raise WeightsError(
                    f"{home} has shape {array.data.shape}; the configuration requires "
                    f"{self.shapes[name]}",
                    hint="check that config.json and the weights belong together",
                )
            if array.dtype not in DTYPES:
                raise WeightsError(
                    f"{home} has the dtype {array.dtype}; allowed: {', '.join(DTYPES)}",
                    hint="use the model that it was quantized from",
                )
            if not is_finite(array):
                raise WeightsError(
                    f"{home} contains NaN or infinity; allowed: finite numbers",
                    hint="use another file: the training diverged, or the file is damaged",
                )
            dtypes.add(cast(home, array, dtype).dtype)
            progress(done)
        return sorted(dtypes)


def match_weights(
    arrays: Mapping[str, Array], config: OpenAIGPTConfig, *, bare: bool = False
) -> MatchedWeights:
    """Find the array of each weight.

    Args:
        arrays: Arrays of the source file. A head among them determines the architecture; otherwise
            the configuration does.
        config: Configuration of the model.
        bare: Omit the heads, with the notice `weights-left-out`.

    Raises:
        WeightsError: weights are missing, or arrays are left over.
    """
    architecture = _architecture(arrays, config)
    shapes = weight_shapes(config, architecture)
    homes = stored_names(arrays, shapes)
    missing = [name for name in shapes if name not in homes]
    unused = unused_names(arrays, homes)
    if unused == [_HEAD] and not missing:
        _check_copy(arrays, homes)
    elif missing or unused:
        raise WeightsError(
            f"the weights do not match a {architecture} of this configuration: missing "
            f"{_some(missing)}; left over {_some(unused)}",
            hint="check that config.json and the weights belong together",
        )
    dropped = sorted(set(arrays) - set(homes.values()))
    if bare:
        left = [name for name in shapes if name in homes and not _is_inside(name)]
        if left:
            tell("weights-left-out", format="OpenAI's layout", names=", ".join(left))
        dropped += [homes[name] for name in left]
        homes = {n.removeprefix(f"{PREFIX}."): h for n, h in homes.items() if _is_inside(n)}
        shapes = {n.removeprefix(f"{PREFIX}."): s for n, s in shapes.items() if _is_inside(n)}
        architecture = "OpenAIGPTModel" if _HEAD in left else "OpenAIGPTLMHeadModel"
    names = list(homes)
    added = [name for i, name in enumerate(names) if homes[name] in {homes[n] for n in names[:i]}]
    return MatchedWeights(architecture, shapes, homes, dropped, added)


def _architecture(arrays: Mapping[str, Array], config: OpenAIGPTConfig) -> str:
    """Return the class of the weights: by a head in the file, otherwise by the configuration."""
    if any(name.startswith("multiple_choice_head.") for name in arrays):
        return "OpenAIGPTDoubleHeadsModel"
    if any(name.startswith("score.") for name in arrays):
        return "OpenAIGPTForSequenceClassification"
    named = architecture_of(config)
    return "OpenAIGPTLMHeadModel" if named in BARE and _HEAD in arrays else named


def _is_inside(name: str) -> bool:
    """Return whether a weight belongs to the transformer, not to a head."""
    return name.startswith((f"{PREFIX}.", "tokens_embed.", "positions_embed.", "h."))


def _check_copy(arrays: Mapping[str, Array], homes: Mapping[str, str]) -> None:
    """Check that a stored head can be dropped because it is a copy of the embedding.

    Raises:
        WeightsError: it is another matrix.
    """
    embedding = next(home for name, home in homes.items() if name.endswith(_EMBEDDING))
    if not np.array_equal(arrays[embedding].data, arrays[_HEAD].data):
        raise WeightsError(
            f"{_HEAD} and {embedding} differ; the configuration ties them",
            hint="set tie_word_embeddings to false in config.json to keep both",
        )


def _some(names: list[str], most: int = 6) -> str:
    """Join the first few of many names."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + rest
