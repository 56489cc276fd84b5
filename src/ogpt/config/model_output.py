"""ModelOutput: what the outputs of all models have in common, in every framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, ClassVar, Self


class ModelOutput(dict[str, Any]):
    """Base of the outputs: `out.logits`, `out["logits"]`, `out[0]` and `out.to_tuple()`.

    As in Hugging Face an output is also a dict of its fields. A field that is None does not count,
    so that `out[0]` is the loss exactly if there were labels. An output can be built from a mapping
    or from pairs of names and values too, as tools do that gather outputs from several devices.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]  # each subclass is a dataclass

    def __post_init__(self) -> None:
        """Read a mapping or pairs that were passed in place of the fields."""
        first, *others = self.__dataclass_fields__
        found = getattr(self, first)
        if isinstance(found, Mapping | Iterator | list | tuple) and not any(
            getattr(self, name) is not None for name in others
        ):
            pairs = list(found.items() if isinstance(found, Mapping) else found)
            if all(_is_pair(each) for each in pairs):
                setattr(self, first, None)
                self.update(pairs)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, as attribute and as key; other names are attributes alone."""
        super().__setattr__(name, value)
        if name in self.__dataclass_fields__ or name in self:
            self._store(name, value)

    def __setitem__(self, key: str | int, value: Any) -> None:
        """Set a field by name, or by its index among the fields that are not None.

        Any other name is kept too, after the fields.
        """
        name = key if isinstance(key, str) else list(self)[key]
        super().__setattr__(name, value)
        self._store(name, value)

    def _store(self, name: str, value: Any) -> None:
        """Keep a value in the dict, which has the order of the fields."""
        if value is None:
            super().pop(name, None)
        elif name in self:
            super().__setitem__(name, value)
        else:
            kept = {**self, name: value}
            super().clear()
            for each in (*self.__dataclass_fields__, *kept):
                if each in kept:
                    super().__setitem__(each, kept[each])

    def __delitem__(self, key: str | int) -> None:
        """Set a field to None."""
        self[key]  # an error if there is none
        self[key] = None

    def __getitem__(self, key: str | int | slice) -> Any:
        """A field by name, or by its index among the fields that are not None."""
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]  # it takes what update does
        """Set the fields of another output or mapping."""
        self.update(other)
        return self

    def pop(self, key: str | int, *default: Any) -> Any:
        """Set a field to None and return its value; `default` if it is None already."""
        if default and key not in self:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def to_tuple(self) -> tuple[Any, ...]:
        """The values of the fields that are not None, in order."""
        return tuple(self.values())

    # those of dict would not set the attributes
    clear = MutableMapping.clear
    popitem = MutableMapping.popitem
    setdefault = MutableMapping.setdefault
    update = MutableMapping.update


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[0], str)
