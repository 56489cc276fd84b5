"""SavedTokenizer: load a tokenizer from a folder or the Hub, and save it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from tokenizers import AddedToken, Tokenizer

from ogpt.errors import TokenizerError
from ogpt.hub import push_folder
from ogpt.layout import MERGES_FILE, TOKENIZER_FILE, VOCAB_FILE
from ogpt.notices import tell
from ogpt.tokens.chat_tokenizer import ChatTokenizer
from ogpt.tokens.rust_bpe import bert_pipeline
from ogpt.tokens.tokenizer_folder import (
    TokenizerFolder,
    read_folder,
    tokenizer_folder,
    write_folder,
)
from ogpt.tokens.vocabulary import Vocabulary, write_vocabulary

PathLike = str | Path
SETTINGS = (
    "model_max_length",
    "padding_side",
    "truncation_side",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
)
"""Attributes that are arguments of the class, and are saved in tokenizer_config.json."""
_LOADED = (*SETTINGS, "model_input_names")


class SavedTokenizer(ChatTokenizer):
    """The part of a tokenizer that reads and writes its files."""

    vocab_files_names: ClassVar = {
        "vocab_file": VOCAB_FILE,
        "merges_file": MERGES_FILE,
        "tokenizer_file": TOKENIZER_FILE,
    }
    can_save_slow_tokenizer = True
    name_or_path: str
    _vocabulary: Vocabulary
    _pipeline: Tokenizer

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, "
            f"pre_tokenizer={self.pre_tokenizer!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, special_tokens={self.special_tokens_map})"
        )

    # ---- what a subclass provides

    @classmethod
    @abstractmethod
    def _choose(
        cls, folder: Path, settings: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments for the pre-tokenization that a folder was saved with."""

    @abstractmethod
    def _versions(self) -> dict[str, str]:
        """Return the versions of the packages that split text into words, to save them."""

    # ---- files

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: PathLike, *init_inputs: Any, **overrides: Any
    ) -> Self:
        """Load the tokenizer of a model folder.

        Args:
            pretrained_model_name_or_path: A model folder, OpenAI's `model` folder, or a Hub id.
            init_inputs: Positional arguments of the class.
            overrides: Arguments of the class that override the settings of the folder; for a Hub
                id also the arguments of `ogpt.hub.model_folder`: revision, cache_dir, token,
                local_files_only, force_download, subfolder. use_fast, do_lower_case,
                strip_accents and trust_remote_code are accepted; one that asks for something else
                than the class does has no effect, with a notice.

        Raises:
            TokenizerError: the folder is missing or damaged, or was made with a pre-tokenization
                that this class does not have.
            BackendMissing: a package that its pre-tokenization needs is not installed.
            HubError: the download failed.
        """
        asked = {name: overrides.pop(name) for name in _ACCEPTED if name in overrides}
        if "max_len" in overrides:  # of transformers 2
            overrides["model_max_length"] = overrides.pop("max_len")
        folder = tokenizer_folder(pretrained_model_name_or_path, overrides)
        content = read_folder(folder, overrides.get("pre_tokenizer"))
        arguments: dict[str, Any] = {
            "vocab": content.vocabulary.vocab,
            "merges": content.vocabulary.merges,
            "added_tokens_decoder": content.added,
            "name_or_path": str(pretrained_model_name_or_path),
            "chat_template": content.chat_template,
            **{name: content.settings[name] for name in _LOADED if name in content.settings},
            **{name: content.flagged(token) for name, token in content.special.items()},
            "additional_special_tokens": list(map(content.flagged, content.additional)),
            "extra_special_tokens": {n: content.flagged(t) for n, t in content.own.items()},
            **cls._choose(folder, content.settings, overrides),
        }
        tokenizer = cls(*init_inputs, **{**arguments, **overrides})
        tokenizer.template = content.template
        tokenizer._tell_without_effect({**content.settings, **asked})
        return tokenizer

    def _tell_without_effect(self, settings: Mapping[str, Any]) -> None:
        """Emit a notice for each setting of transformers that this tokenizer does not follow."""
        lowers = self.pre_tokenizer != "bytes"
        strips = self.pre_tokenizer == "bert"
        accents = "removed from letters" if strips else "kept"
        followed: dict[str, tuple[Any, str]] = {
            "do_lower_case": (
                lowers,
                f"text {'becomes lower-case' if lowers else 'keeps its case'}",
            ),
            "strip_accents": (strips, f"accents are {accents}"),
            "use_fast": (self.is_fast, "the class and its pre_tokenizer decide how text is split"),
            "trust_remote_code": (False, "no code of a folder or the Hub is ever run"),
            "add_bos_token": (False, "only a template puts tokens around texts"),
            "add_eos_token": (False, "only a template puts tokens around texts"),
        }
        for name, (value, reason) in followed.items():
            if settings.get(name) is not None and bool(settings[name]) != value:
                setting = f"{name}={settings[name]}"
                tell("setting-without-effect", setting=setting, reason=reason)

    def save_pretrained(
        self,
        save_directory: PathLike,
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **hub: Any,
    ) -> tuple[str, ...]:
        """Write vocab.json, merges.txt, tokenizer.json and tokenizer_config.json.

        `from_pretrained` and transformers' AutoTokenizer load them, and transformers'
        OpenAIGPTTokenizer unless the tokens are byte-level. In a model folder, model_max_length is
        the model's n_positions.

        Args:
            save_directory: Created if missing.
            legacy_format: Has no effect, with a notice: the files of both formats are written.
            filename_prefix: Must be None: a folder is loaded by the names of its files.
            push_to_hub: Upload the files too.
            hub: Arguments of push_to_hub; repo_id is the name of the folder by default.

        Returns:
            The paths of the files.

        Raises:
            TokenizerError: there is a filename_prefix.
            StorageError: the write fails.
            HubError: the upload fails.
        """
        if filename_prefix:
            raise TokenizerError(
                f"filename_prefix is {filename_prefix!r}; allowed: None",
                hint="use another folder, or save_vocabulary, which names its files so",
            )
        if legacy_format is not None:
            reason = "the files of both formats are written"
            tell("setting-without-effect", setting=f"legacy_format={legacy_format}", reason=reason)
        content = TokenizerFolder(
            vocabulary=self._vocabulary,
            added=self._pipeline.get_added_tokens_decoder(),
            special={n: t for n, t in self._special_tokens.items() if n in self._names()},
            own={n: t for n, t in self._special_tokens.items() if n not in self._names()},
            additional=self._additional,
            settings={
                **self._for_transformers(),
                "pre_tokenizer": self.pre_tokenizer,
                **self._versions(),
                **{name: getattr(self, name) for name in SETTINGS if self._is_saved(name)},
            },
            template=self.template,
            chat_template=self.chat_template,
        )
        written = write_folder(Path(save_directory), content, self._hugging_face_file())
        if push_to_hub:
            self.push_to_hub(**{"repo_id": Path(save_directory).absolute().name, **hub})
        return tuple(map(str, written))

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the tokenizer to the Hugging Face Hub.

        Args:
            repo_id: `owner/name`.
            **options: private, token, revision, commit_message (ogpt.hub.push_folder).

        Returns:
            The address of the upload.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            named = {"commit_message": "Upload a GPT-1 tokenizer", **options}
            return push_folder(folder, repo_id, tokenizer_only=True, **named)

    def save_vocabulary(
        self, save_directory: PathLike, filename_prefix: str | None = None
    ) -> tuple[str, str]:
        """Write `[prefix-]vocab.json` and `[prefix-]merges.txt` to an existing folder.

        Returns:
            The two paths.
        """
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        files = [Path(save_directory) / (prefix + name) for name in (VOCAB_FILE, MERGES_FILE)]
        write_vocabulary(self._vocabulary, *files)
        return str(files[0]), str(files[1])

    def _names(self) -> list[str]:
        return self.SPECIAL_TOKENS_ATTRIBUTES

    def _is_saved(self, name: str) -> bool:
        """Return whether to write a setting; one is written only where it is not the default."""
        return name != "split_special_tokens" or self.split_special_tokens

    def _hugging_face_file(self) -> str:
        """Return the content of tokenizer.json; the format has no rules of spaCy, but BERT's."""
        pipeline = Tokenizer.from_str(self._pipeline.to_str())
        if self.pre_tokenizer not in ("bert", "bytes"):
            added: dict[int, AddedToken] = self._pipeline.get_added_tokens_decoder()
            pipeline = bert_pipeline(self._vocabulary, self.unk_token, added)
        if self.template is not None:
            pipeline.post_processor = self.template.post_processor(self._id_of)
        return pipeline.to_str()

    def _for_transformers(self) -> dict[str, Any]:
        """Return the class of transformers that gives equal ids, and equal inputs of a model."""
        names = {"model_input_names": list(self.model_input_names)}
        if self.pre_tokenizer != "bytes" and self.template is None:  # a class that adds no tokens
            default = self.model_input_names == type(self).model_input_names
            return {"tokenizer_class": "OpenAIGPTTokenizer", **({} if default else names)}
        # version 4 would add token_type_ids, whose embeddings GPT-1 adds to those of the tokens
        return {"tokenizer_class": "PreTrainedTokenizerFast", **names}


_ACCEPTED = ("use_fast", "do_lower_case", "strip_accents", "trust_remote_code")
