"""ModelOutput: what the outputs of all models have in common, in every framework."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any


class ModelOutput:
    """Base of the outputs: `out.logits`, `out["logits"]`, `out[0]` and `out.to_tuple()`.

    As in Hugging Face it is also a mapping: `"loss" in out`, `out.keys()`, `dict(out)`. A field
    that is None does not count, so that `out[0]` is the loss exactly if there were labels.
    """

    def to_tuple(self) -> tuple[Any, ...]:
        """The values of the fields that are not None, in order."""
        return tuple(value for _, value in self.items())

    def items(self) -> list[tuple[str, Any]]:
        """Names and values of the fields that are not None, in order."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]  # each subclass is a dataclass
        return [(name, value) for name, value in pairs if value is not None]

    def keys(self) -> list[str]:
        """Names of the fields that are not None, in order."""
        return [name for name, _ in self.items()]

    def values(self) -> list[Any]:
        """The values of the fields that are not None, in order."""
        return [value for _, value in self.items()]

    def get(self, key: str, default: Any = None) -> Any:
        """A field by name, or `default` if it is None."""
        return dict(self.items()).get(key, default)

    def __getitem__(self, key: str | int | slice) -> Any:
        """A field by name, or by its index among the fields that are not None."""
        return dict(self.items())[key] if isinstance(key, str) else self.to_tuple()[key]

    def __iter__(self) -> Iterator[str]:
        """The names of the fields, as in a mapping."""
        return iter(self.keys())

    def __len__(self) -> int:
        """Number of fields that are not None."""
        return len(self.items())

    def __contains__(self, key: object) -> bool:
        """Whether a field of this name is not None."""
        return key in self.keys()
