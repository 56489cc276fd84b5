"""GenerationConfig: default arguments of generate() with the methods of transformers' class."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Set
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from ogpt.errors import CheckpointError, SamplingError, UnknownArgument
from ogpt.generation.choosing.arguments import CHECKED, KNOWN, OF_CALL, read_arguments
from ogpt.generation.choosing.effects import tell_without_effect
from ogpt.generation.choosing.watermarking_config import BaseWatermarkingConfig, Watermarks
from ogpt.hub import model_folder, push_folder
from ogpt.layout import GENERATION_FILE
from ogpt.notices import collecting
from ogpt.reading import parse_json, unreadable
from ogpt.storage import path_of, storage_error, whole_file

_METADATA = ("transformers_version",)


class GenerationMode(StrEnum):
    """The search that arguments of generate() select, by transformers' names."""

    CONTRASTIVE_SEARCH = "contrastive_search"
    GREEDY_SEARCH = "greedy_search"
    SAMPLE = "sample"
    ASSISTED_GENERATION = "assisted_generation"
    BEAM_SEARCH = "beam_search"
    BEAM_SAMPLE = "beam_sample"
    GROUP_BEAM_SEARCH = "group_beam_search"


class GenerationConfig:
    """Default arguments of `generate`, as attributes; one that is not set is None.

    As in transformers 5, an argument that is not set has the default of `generate`. Names that
    `generate` does not know are kept, and refused by it.

    >>> import ogpt
    >>> config = ogpt.GenerationConfig(num_beams=4, max_new_tokens=20)
    >>> config.num_beams, config.top_k, config.get_generation_mode().value
    (4, None, 'beam_search')

    Args:
        **kwargs: Arguments by name.

    Raises:
        SamplingError: a value outside its range.
        UnknownArgument: an argument of the call itself, such as a streamer.
    """

    extra_output_flags: ClassVar = (
        *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
    )

    def __init__(self, **kwargs: Any) -> None:
        values = _public(kwargs)
        if isinstance(values.get("watermarking_config"), Mapping):
            values["watermarking_config"] = Watermarks().keep(values["watermarking_config"])
        self.__dict__.update(values)
        self.validate()

    @classmethod
    def unchecked(cls, values: Mapping[str, Any]) -> Self:
        """A configuration as a file has it: what is wrong with it is an error of generate alone."""
        config = cls.__new__(cls)
        config.__dict__.update(_public(values))
        return config

    def __getattr__(self, name: str) -> Any:
        if name in KNOWN and name not in OF_CALL:
            return None
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenerationConfig) and _compared(self) == _compared(other)

    def __hash__(self) -> int:
        return hash(_compared(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string(ignore_metadata=True)}"

    def validate(self, strict: bool = False, user_set_attributes: Set[str] | None = None) -> None:
        """Check the values.

        Lengths are compared with the prompt, and arguments that ogpt does not have are refused, by
        `generate` alone.

        Args:
            strict: Raise an error for an argument without effect, in place of a notice by generate.
            user_set_attributes: With strict, the arguments to check for an effect; None: all.

        Raises:
            SamplingError: a value outside its range, or one without effect, if strict.
            UnknownArgument: an argument of the call itself, such as a streamer.
        """
        for name in OF_CALL:
            if name in self.__dict__:
                raise UnknownArgument(
                    f"GenerationConfig has no argument {name}; allowed: default arguments",
                    hint=f"pass {name} to generate itself",
                )
        with collecting() as told:
            tell_without_effect(read_arguments(self._checkable(), 0).settings)
        for notice in told:
            name = str(notice.fields["setting"])
            if strict and (user_set_attributes is None or name in user_set_attributes):
                raise SamplingError(
                    f"GenerationConfig is not valid: {notice.message}",
                    hint=f"leave {name} out, or set what it needs",
                )

    def _checkable(self) -> dict[str, Any]:
        """The arguments that can be checked without a prompt."""
        names = set(CHECKED) if self.max_new_tokens is not None else CHECKED - {"min_new_tokens"}
        return {name: value for name, value in self.to_diff_dict().items() if name in names}

    def get_generation_mode(self, assistant_model: object = None) -> GenerationMode:
        """The search that the arguments select.

        Args:
            assistant_model: As passed to generate.
        """
        sampling = self.do_sample is True
        if self.num_beams in (None, 1):
            contrastive = (self.penalty_alpha or 0) > 0 and (self.top_k or 0) > 1
            if contrastive and not sampling:
                return GenerationMode.CONTRASTIVE_SEARCH
            if assistant_model is not None or self.prompt_lookup_num_tokens is not None:
                return GenerationMode.ASSISTED_GENERATION
            return GenerationMode.SAMPLE if sampling else GenerationMode.GREEDY_SEARCH
        if (self.num_beam_groups or 1) > 1:
            return GenerationMode.GROUP_BEAM_SEARCH
        return GenerationMode.BEAM_SAMPLE if sampling else GenerationMode.BEAM_SEARCH

    def update(
        self, defaults_only: bool = False, allow_custom_entries: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Set arguments.

        Args:
            defaults_only: Only those that are not set.
            allow_custom_entries: Also names that generate does not know.
            **kwargs: Arguments by name.

        Returns:
            Those that were not used.

        Raises:
            SamplingError: a value outside its range. Nothing is changed then.
        """
        taken = {}
        for name, value in kwargs.items():
            known = hasattr(self, name)
            free = not known or not defaults_only or getattr(self, name) is None
            if free and (known or allow_custom_entries):
                taken[name] = value
        checked = type(self)(**{**self.__dict__, **taken})
        self.__dict__.update(checked.__dict__)
        return {name: value for name, value in kwargs.items() if name not in taken}

    def to_dict(self) -> dict[str, Any]:
        """All arguments by name; those that are not set are None."""
        names = [name for name in KNOWN if name not in OF_CALL]
        return {**dict.fromkeys(names), **copy.deepcopy(_public(self.__dict__))}

    def to_diff_dict(self) -> dict[str, Any]:
        """The arguments that are set."""
        return {name: value for name, value in self.to_dict().items() if value is not None}

    def to_json_string(
        self,
        use_diff: bool = True,
        ignore_metadata: bool = False,
        keys_to_pop: list[str] | None = None,
    ) -> str:
        """A JSON object.

        Args:
            use_diff: Only arguments that are set.
            ignore_metadata: Without the version of transformers that wrote the file.
            keys_to_pop: Names to leave out.

        Raises:
            SamplingError: a value that JSON cannot represent.
        """
        omitted = (*(keys_to_pop or ()), *(_METADATA if ignore_metadata else ()))
        values = self.to_diff_dict() if use_diff else self.to_dict()
        written = {n: _for_json(value) for n, value in values.items() if n not in omitted}
        try:
            return json.dumps(written, indent=2, sort_keys=True) + "\n"
        except TypeError as error:
            raise SamplingError(
                f"the generation configuration cannot be written as JSON: {error}",
                hint="use numbers, texts, true, false, and lists and dictionaries of these",
            ) from error

    def to_json_file(
        self,
        json_file_path: str | Path,
        use_diff: bool = True,
        keys_to_pop: list[str] | None = None,
    ) -> None:
        """Write to_json_string to a file, atomically.

        Raises:
            StorageError: the write failed.
        """
        text = self.to_json_string(use_diff, keys_to_pop=keys_to_pop)
        with whole_file(path_of(json_file_path, "json_file_path")) as temporary:
            temporary.write_text(text, "utf-8")

    def save_pretrained(
        self,
        save_directory: str | Path,
        config_file_name: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write generation_config.json into a folder, which is created.

        Args:
            save_directory: The folder.
            config_file_name: Another name of the file.
            push_to_hub: Push the folder's model to the Hub too.
            **kwargs: Of `push_to_hub`; repo_id is by default the name of the folder.

        Raises:
            SamplingError: a value outside its range.
            StorageError: the write failed.
            HubError: the push failed.
        """
        self.validate()
        folder = path_of(save_directory, "save_directory")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(folder, error) from error
        self.to_json_file(folder / (config_file_name or GENERATION_FILE))
        if push_to_hub:
            self.push_to_hub(**{"repo_id": folder.name, **kwargs})

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Push generation_config.json to the Hub; return the URL of the commit.

        Args:
            repo_id: `name` or `owner/name`; created if missing.
            **options: private, token, revision and commit_message.

        Raises:
            HubError: the push failed.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return push_folder(folder, repo_id, **{"tokenizer_only": True, **options})

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | Path,
        config_file_name: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Read the generation_config.json of a model folder or Hub id.

        Args:
            pretrained_model_name: The folder or Hub id.
            config_file_name: Another name of the file, inside the folder.
            cache_dir: Cache folder; None uses that of huggingface_hub.
            force_download: Download files again that are in the cache.
            local_files_only: Use only the cache.
            token: Access token for private and gated models.
            revision: Branch, tag or commit.
            **kwargs: subfolder; return_unused_kwargs=True to get the arguments that were not used
                as a second result; arguments of generate, which have priority over the file.

        Raises:
            CheckpointError: there is no such file, or it is damaged.
            SamplingError: a value outside its range.
        """
        folder = model_folder(
            pretrained_model_name,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            force_download=force_download,
            subfolder=kwargs.pop("subfolder", ""),
            tokenizer_only=True,
        )
        return cls.from_dict(read_values(folder / (config_file_name or GENERATION_FILE)), **kwargs)

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """A configuration from arguments by name; those in `kwargs` have priority.

        Args:
            config_dict: Arguments.
            **kwargs: More of them, of known names; return_unused_kwargs=True to get the others as a
                second result.

        Raises:
            SamplingError: a value outside its range.
        """
        both = kwargs.pop("return_unused_kwargs", False)
        config = cls(**config_dict)
        unused = config.update(**kwargs)
        return (config, unused) if both else config

    @classmethod
    def from_model_config(cls, model_config: Any) -> Self:
        """The arguments of generate that an older model configuration holds.

        Args:
            model_config: The configuration of a model, or its values.
        """
        values = model_config if isinstance(model_config, Mapping) else model_config.to_dict()
        found = cls(**{name: values.get(name) for name in KNOWN if name not in OF_CALL})
        if any(getattr(found, name) for name in cls.extra_output_flags):
            found.update(return_dict_in_generate=True)
        return found


def by_name(configured: Any) -> dict[str, Any]:
    """The arguments that a generation configuration sets, without those that are None.

    Raises:
        SamplingError: it is neither a dict nor an object with to_dict().
    """
    if configured is not None and not isinstance(configured, Mapping):
        to_dict = getattr(configured, "to_diff_dict", None) or getattr(configured, "to_dict", None)
        if to_dict is None:
            raise SamplingError(
                f"generation_config is {type(configured).__name__}; allowed: a dict, or an object "
                "with to_dict()",
                hint="pass the arguments by name",
            )
        configured = to_dict()
    return _public(configured or {})


def read_values(file: Path) -> dict[str, Any]:
    """The values of a generation_config.json.

    Raises:
        CheckpointError: it cannot be read, or is damaged.
    """
    try:
        return _public(parse_json(file.read_text("utf-8")))
    except OSError as error:
        raise unreadable(file, error, CheckpointError) from error
    except (ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{file} is damaged: {error!r}",
            hint="restore it from a copy of the model, or delete it: it only holds defaults",
        ) from error


def _public(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is set, without private names, which are of one process."""
    return {n: value for n, value in values.items() if value is not None and not n.startswith("_")}


def _compared(config: GenerationConfig) -> str:
    return config.to_json_string(use_diff=False, ignore_metadata=True)


def _for_json(value: Any) -> Any:
    if isinstance(value, BaseWatermarkingConfig):
        return value.to_dict()
    if isinstance(value, Mapping) and any(isinstance(key, tuple) for key in value):
        return [[list(key), item] for key, item in value.items()]  # JSON has no tuples for keys
    return value.tolist() if hasattr(value, "tolist") else value
