"""BPETokenizer: what both tokenizers of GPT-1 share (vocabulary, merges, added tokens, files)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizers import AddedToken, Tokenizer

from ogpt.errors import TokenizerError
from ogpt.layout import MERGES_FILE, VOCAB_FILE
from ogpt.reporting import Reporter, silent
from ogpt.tokens import shaping
from ogpt.tokens.fingerprints import fingerprints
from ogpt.tokens.merge_learning import learn_byte_merges, learn_merges
from ogpt.tokens.rust_bpe import bert_normalizer, bert_pipeline
from ogpt.tokens.texts import as_texts
from ogpt.tokens.tokenizer_base import TokenizerBase
from ogpt.tokens.tokenizer_folder import (
    TokenizerFolder,
    read_folder,
    read_tokenizer_file,
    tokenizer_folder,
    write_folder,
)
from ogpt.tokens.vocabulary import (
    END_OF_WORD,
    UNK_TOKEN,
    Vocabulary,
    check_word_ends,
    read_vocabulary,
    write_vocabulary,
)

PathLike = str | Path
_SIDES = ("padding_side", "truncation_side")
_SETTINGS = ("model_max_length", *_SIDES, "clean_up_tokenization_spaces")


class BPETokenizer(TokenizerBase):
    """GPT-1's byte-pair encoding of words; subclasses split text into words.

    Args:
        vocab_file: JSON file of token -> id (vocab.json or encoder_bpe_40000.json).
        merges_file: File of merges (merges.txt or vocab_40000.bpe).
        tokenizer_file: A tokenizer.json instead of these two files.
        vocab: The vocabulary itself instead of a file.
        merges: The merges themselves instead of a file.
        unk_token: Token for unknown characters. It must be in the vocabulary; None with byte-level
            pieces, which spell any text.
        model_max_length: Default maximum length in tokens for truncation and padding="max_length".
        padding_side: "right" or "left".
        truncation_side: "right" or "left", the side that is removed.
        clean_up_tokenization_spaces: Default of the argument of that name of decode.
        added_tokens_decoder: Tokens beyond the vocabulary, by id.
        special_tokens: `pad_token` and so on. Missing ones are added to the vocabulary.

    Raises:
        TokenizerError: a file is missing or damaged, or the files do not belong together.
    """

    def __init__(
        self,
        vocab_file: PathLike | None = None,
        merges_file: PathLike | None = None,
        tokenizer_file: PathLike | None = None,
        *,
        vocab: Mapping[str, int] | None = None,
        merges: Sequence[tuple[str, str]] | None = None,
        unk_token: str | None = UNK_TOKEN,
        model_max_length: int = 512,
        padding_side: shaping.Side = "right",
        truncation_side: shaping.Side = "right",
        clean_up_tokenization_spaces: bool = False,
        added_tokens_decoder: Mapping[int, AddedToken] | None = None,
        **special_tokens: Any,
    ) -> None:
        added = dict(added_tokens_decoder or {})
        if vocab is not None and merges is not None:
            self._vocabulary = Vocabulary(dict(vocab), list(merges))
        elif vocab_file is not None and merges_file is not None:
            self._vocabulary = read_vocabulary(Path(vocab_file), Path(merges_file))
            if self.pre_tokenizer != "bytes":
                check_word_ends(self._vocabulary, Path(vocab_file))
        elif tokenizer_file is not None:
            content = read_tokenizer_file(Path(tokenizer_file))
            self._vocabulary = content.vocabulary
            added = {**content.added, **added}
        else:
            raise TokenizerError(
                "a tokenizer needs vocab_file and merges_file, or tokenizer_file",
                hint=f"use {type(self).__name__}.from_pretrained(folder), which finds them",
            )
        spells_all = unk_token is None and self.pre_tokenizer == "bytes"
        if not spells_all and unk_token not in self._vocabulary.vocab:
            raise TokenizerError(
                f"unk_token {unk_token!r} is not in the vocabulary",
                hint="pass the token for unknown characters of this vocabulary as unk_token",
            )
        self._pipeline = self._make_pipeline(self._vocabulary, unk_token)
        self._special_tokens = {} if unk_token is None else {"unk_token": unk_token}
        unknown = {
            self._vocabulary.vocab[token]: AddedToken(token, special=True, normalized=False)
            for token in self._special_tokens.values()
        }
        self._restore_added({**unknown, **added})
        self.additional_special_tokens = []
        shaping.check_length("model_max_length", model_max_length)
        self.model_max_length = model_max_length
        self.padding_side = shaping.side("padding_side", padding_side)
        self.truncation_side = shaping.side("truncation_side", truncation_side)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.add_special_tokens(special_tokens)
        self._added_changed()

    # ---- what a subclass provides

    _own_arguments: tuple[str, ...] = ()
    """Attributes that are arguments of the subclass only."""

    @abstractmethod
    def _make_pipeline(self, vocabulary: Vocabulary, unk_token: str | None) -> Tokenizer:
        """Make the Rust tokenizer, without added tokens."""

    @abstractmethod
    def _count_words(self, texts: Iterable[str]) -> dict[str, int]:
        """Count the words of texts."""

    @abstractmethod
    def _added_changed(self) -> None:
        """Update whatever depends on the added tokens; called after each change of them."""

    def _restore_added(self, added: Mapping[int, AddedToken]) -> None:
        for index, token in sorted(added.items()):
            self._pipeline.add_tokens([token])
            if self._id_of(token.content) != index:
                raise TokenizerError(
                    f"the added token {token.content!r} has the id {index}; allowed: "
                    f"{self._id_of(token.content)}",
                    hint="number added tokens from the end of the vocabulary, without gaps",
                )

    # ---- vocabulary

    @property
    def vocab_size(self) -> int:
        """Number of entries in the vocabulary, without added tokens."""
        return len(self._vocabulary.vocab)

    def __len__(self) -> int:
        """Number of entries with added tokens: the rows that the embedding of a model needs."""
        return self._pipeline.get_vocab_size()

    def get_vocab(self) -> dict[str, int]:
        """Return the vocabulary, token -> id, including added tokens."""
        return self._pipeline.get_vocab()

    @property
    def merges(self) -> list[tuple[str, str]]:
        """The merges in order of rank."""
        return list(self._vocabulary.merges)

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The Rust tokenizer. Modify it only through this class."""
        return self._pipeline

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of everything that determines the ids: equal means equal ids."""
        return self._fingerprints()[-1]

    def added_since(self, fingerprint: str) -> list[str] | None:
        """Return the added tokens without which this tokenizer has the fingerprint.

        Text without these tokens has the same ids as before. An empty list means that nothing was
        added; None means that it is another tokenizer.
        """
        known = self._fingerprints()
        if fingerprint not in known:
            return None
        tokens = [token.content for _, token in self._matched_in_text()]
        return tokens[known.index(fingerprint) :]

    def _fingerprints(self) -> list[str]:
        base = [self._vocabulary.digest, self.pre_tokenizer, self.unk_token]
        return fingerprints(base, self._matched_in_text())

    def _matched_in_text(self) -> list[tuple[int, AddedToken]]:
        """Return the added tokens that change the ids of text which has them, in order of id.

        An entry of the vocabulary that ends a word, such as `.</w>` as eos_token, is no such token:
        texts have no `</w>`.
        """
        added = sorted(self._pipeline.get_added_tokens_decoder().items())
        return [
            (index, token)
            for index, token in added
            if index >= self.vocab_size
            or (token.content != self.unk_token and not token.content.endswith(END_OF_WORD))
        ]

    def add_tokens(
        self,
        new_tokens: str | AddedToken | Sequence[str | AddedToken],
        special_tokens: bool = False,
    ) -> int:
        """Add tokens that are never split.

        The model needs one more embedding for each new token (resize_token_embeddings).

        Args:
            new_tokens: One token or several.
            special_tokens: Whether they match only in their exact case; others match in any case,
                except between byte-level pieces.

        Returns:
            The number of tokens that were not in the vocabulary yet.

        Raises:
            TokenizerError: two tokens match the same text.
        """
        tokens = [new_tokens] if isinstance(new_tokens, str | AddedToken) else list(new_tokens)
        before = len(self)
        self._check_apart(tokens if not special_tokens else [])
        if special_tokens:
            self._pipeline.add_special_tokens(tokens)
        else:
            self._pipeline.add_tokens(tokens)
        self._added_changed()
        return len(self) - before

    def _check_apart(self, tokens: Sequence[str | AddedToken]) -> None:
        """Check that no text matches two tokens: which of them it became would be arbitrary."""
        held = [
            t.content for t in self._pipeline.get_added_tokens_decoder().values() if t.normalized
        ]
        given = [t if isinstance(t, str) else t.content for t in tokens]
        spelled: dict[str, str] = {}
        for content in dict.fromkeys([*held, *given]):
            form = self._form(content)
            other = spelled.setdefault(form, content)
            if other != content:
                raise TokenizerError(
                    f"the added tokens {other!r} and {content!r} match the same text, {form!r}",
                    hint="add only one of them, or use special tokens, which keep their case",
                )

    def _form(self, content: str) -> str:
        """Return what text must be, after normalization, to match an added token."""
        return bert_normalizer().normalize_str(content)

    # ---- training

    def train_new_from_iterator(
        self, texts: Iterable[str | Sequence[str]], vocab_size: int, reporter: Reporter = silent
    ) -> Self:
        """Train a tokenizer of the same kind and settings on other text.

        Args:
            texts: Texts, or lists of texts.
            vocab_size: Number of vocabulary entries, without added tokens.
            reporter: Receives `progress` events.

        Raises:
            TokenizerError: vocab_size is too small for the characters of the text.
        """
        parts = [texts] if isinstance(texts, str) else texts
        each = (one for part in parts for one in as_texts(part))
        learn = learn_byte_merges if self.pre_tokenizer == "bytes" else learn_merges
        vocab, merges = learn(self._count_words(each), vocab_size, reporter)
        unk_token = self.unk_token or UNK_TOKEN
        arguments: dict[str, Any] = {
            **{name: getattr(self, name) for name in (*_SETTINGS, *self._own_arguments)},
            **self._special_tokens,
            "additional_special_tokens": self.additional_special_tokens,
            "vocab": {unk_token if token == UNK_TOKEN else token: i for token, i in vocab.items()},
            "merges": merges,
        }
        return type(self)(**arguments)

    # ---- ids to text

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens to text, with a space after each word."""
        listed = [tokens] if isinstance(tokens, str) else list(tokens)
        return str(self._pipeline.decoder.decode(listed))

    def _id_of(self, token: str) -> int | None:
        return self._pipeline.token_to_id(token)

    def _token_of(self, token_id: int) -> str:
        if token_id >= self.vocab_size:  # the pipeline would return its normalized form
            return self._pipeline.get_added_tokens_decoder()[token_id].content
        return str(self._pipeline.id_to_token(token_id))

    def _text_of(self, ids: list[int]) -> str:
        return self._pipeline.decode(ids, skip_special_tokens=False)

    # ---- files

    @classmethod
    def from_pretrained(cls, folder: PathLike, **overrides: Any) -> Self:
        """Load the tokenizer of a model folder.

        Args:
            folder: A model folder, OpenAI's `model` folder, or a Hub id.
            overrides: Arguments of the class that override the settings of the folder; for a Hub
                id also the arguments of `ogpt.hub.model_folder`: revision, cache_dir, token,
                local_files_only, force_download, subfolder.

        Raises:
            TokenizerError: the folder is missing or damaged, or was made with a pre-tokenization
                that this class does not have.
            BackendMissing: a package that its pre-tokenization needs is not installed.
            HubError: the download failed.
        """
        folder = tokenizer_folder(folder, overrides)
        content = read_folder(folder, overrides.get("pre_tokenizer"))
        arguments: dict[str, Any] = {
            "vocab": content.vocabulary.vocab,
            "merges": content.vocabulary.merges,
            "added_tokens_decoder": content.added,
            **{name: content.settings[name] for name in _SETTINGS if name in content.settings},
            **content.special,
            "additional_special_tokens": content.additional,
            **cls._choose(folder, content.settings, overrides),
        }
        tokenizer = cls(**{**arguments, **overrides})
        tokenizer.template = content.template
        return tokenizer

    def save_pretrained(self, folder: PathLike) -> tuple[str, ...]:
        """Write vocab.json, merges.txt, tokenizer.json and tokenizer_config.json.

        `from_pretrained` and transformers' AutoTokenizer load them, and transformers'
        OpenAIGPTTokenizer unless the tokens are byte-level. In a model folder, model_max_length is
        the model's n_positions.

        Returns:
            The paths of the files.
        """
        content = TokenizerFolder(
            vocabulary=self._vocabulary,
            added=self._pipeline.get_added_tokens_decoder(),
            special=self._special_tokens,
            additional=self.additional_special_tokens,
            settings={
                **self._for_transformers(),
                "pre_tokenizer": self.pre_tokenizer,
                **self._versions(),
                **{name: getattr(self, name) for name in _SETTINGS},
            },
            template=self.template,
        )
        return tuple(map(str, write_folder(Path(folder), content, self._hugging_face_file())))

    def _hugging_face_file(self) -> str:
        """Return the content of tokenizer.json; the format has no rules of spaCy, but BERT's."""
        pipeline = Tokenizer.from_str(self._pipeline.to_str())
        if self.pre_tokenizer not in ("bert", "bytes"):
            added = self._pipeline.get_added_tokens_decoder()
            pipeline = bert_pipeline(self._vocabulary, self.unk_token, added)
        if self.template is not None:
            pipeline.post_processor = self.template.post_processor(self._id_of)
        return pipeline.to_str()

    def _for_transformers(self) -> dict[str, Any]:
        """Return the class of transformers that gives equal ids, and equal inputs of a model."""
        if self.pre_tokenizer != "bytes" and self.template is None:
            return {"tokenizer_class": "OpenAIGPTTokenizer"}  # which adds no tokens
        # version 4 would add token_type_ids, whose embeddings GPT-1 adds to those of the tokens
        names = list(self.model_input_names)
        return {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": names}

    @classmethod
    @abstractmethod
    def _choose(
        cls, folder: Path, settings: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments for the pre-tokenization that a folder was saved with."""

    @abstractmethod
    def _versions(self) -> dict[str, str]:
        """Return the versions of the packages that split text into words, to save them."""

    def save_vocabulary(
        self, folder: PathLike, filename_prefix: str | None = None
    ) -> tuple[str, str]:
        """Write `[prefix-]vocab.json` and `[prefix-]merges.txt` to an existing folder.

        Returns:
            The two paths.
        """
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        vocab_file, merges_file = (Path(folder) / (prefix + n) for n in (VOCAB_FILE, MERGES_FILE))
        write_vocabulary(self._vocabulary, vocab_file, merges_file)
        return str(vocab_file), str(merges_file)
