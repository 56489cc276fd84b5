"""BPETokenizer: what both tokenizers of GPT-1 share: vocabulary, merges, added tokens, training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizers import AddedToken, Tokenizer

from ogpt.errors import TokenizerError
from ogpt.reporting import Reporter, silent
from ogpt.tokens import shaping
from ogpt.tokens.added_tokens import check_apart, flags_of, restore_added, special_token
from ogpt.tokens.chunk_encoder import Ids
from ogpt.tokens.fingerprints import fingerprints
from ogpt.tokens.merge_learning import learn_byte_merges, learn_merges
from ogpt.tokens.rust_bpe import bert_normalizer
from ogpt.tokens.saved_tokenizer import SETTINGS, PathLike, SavedTokenizer
from ogpt.tokens.special_tokens import LISTS, NAMES
from ogpt.tokens.texts import as_texts
from ogpt.tokens.tokenizer_folder import read_tokenizer_file
from ogpt.tokens.vocabulary import (
    END_OF_WORD,
    UNK_TOKEN,
    Vocabulary,
    check_word_ends,
    pairs_of,
    read_vocabulary,
)

EncodesTexts = Callable[[Sequence[str]], list[Ids]]


class BPETokenizer(SavedTokenizer):
    """GPT-1's byte-pair encoding of words; subclasses split text into words.

    Args:
        vocab_file: JSON file of token -> id (vocab.json or encoder_bpe_40000.json), or the
            vocabulary itself.
        merges_file: File of merges (merges.txt or vocab_40000.bpe), or the merges themselves.
        tokenizer_file: A tokenizer.json instead of these two files.
        vocab: The vocabulary itself instead of a file.
        merges: The merges themselves instead of a file, as pairs or as "left right".
        unk_token: Token for unknown characters. It must be in the vocabulary; None with byte-level
            pieces, which spell any text.
        model_max_length: Default maximum length in tokens for truncation and padding="max_length".
        padding_side: "right" or "left".
        truncation_side: "right" or "left", the side that is removed.
        clean_up_tokenization_spaces: Default of the argument of that name of decode.
        split_special_tokens: Default of the argument of that name of calling the tokenizer.
        model_input_names: Which model inputs calling the tokenizer makes by default.
        chat_template: A template in Jinja for conversations, or several by name.
        name_or_path: Where the tokenizer was loaded from.
        added_tokens_decoder: Tokens beyond the vocabulary, by id.
        special_tokens: `pad_token` and so on. Missing ones are added to the vocabulary.
            `extra_special_tokens` may be a dict of names of your own, such as `image_token`.

    Raises:
        TokenizerError: a file is missing or damaged, or the files do not belong together.
    """

    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012  # replaced

    def __init__(
        self,
        vocab_file: PathLike | Mapping[str, int] | None = None,
        merges_file: PathLike | Sequence[Any] | None = None,
        tokenizer_file: PathLike | None = None,
        *,
        vocab: PathLike | Mapping[str, int] | None = None,
        merges: PathLike | Sequence[Any] | None = None,
        unk_token: str | AddedToken | None = UNK_TOKEN,
        model_max_length: int = 512,
        padding_side: shaping.Side = "right",
        truncation_side: shaping.Side = "right",
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        model_input_names: Sequence[str] | None = None,
        chat_template: str | dict[str, str] | None = None,
        name_or_path: str = "",
        added_tokens_decoder: Mapping[int, AddedToken] | None = None,
        **special_tokens: Any,
    ) -> None:
        added = dict(added_tokens_decoder or {})
        entries = vocab_file if vocab is None else vocab
        rules = merges_file if merges is None else merges
        if isinstance(entries, Mapping) and rules is not None and not isinstance(rules, PathLike):
            self._vocabulary = Vocabulary(dict(entries), pairs_of(rules))
        elif isinstance(entries, PathLike) and isinstance(rules, PathLike):
            self._vocabulary = read_vocabulary(Path(entries), Path(rules))
            if self.pre_tokenizer != "bytes":
                check_word_ends(self._vocabulary, Path(entries))
        elif tokenizer_file is not None:
            content = read_tokenizer_file(Path(tokenizer_file))
            self._vocabulary = content.vocabulary
            added = {**content.added, **added}
        else:
            raise TokenizerError(
                "a tokenizer needs vocab_file and merges_file, or tokenizer_file",
                hint=f"use {type(self).__name__}.from_pretrained(folder), which finds them",
            )
        unknown = None if unk_token is None else str(unk_token)
        spells_all = unknown is None and self.pre_tokenizer == "bytes"
        if not spells_all and unknown not in self._vocabulary.vocab:
            raise TokenizerError(
                f"unk_token {unknown!r} is not in the vocabulary",
                hint="pass the token for unknown characters of this vocabulary as unk_token",
            )
        self._pipeline = self._make_pipeline(self._vocabulary, unknown)
        self._split_pipeline: Tokenizer | None = None
        self._split_encoder: EncodesTexts | None = None
        self._special_tokens = {}
        self._additional = []
        if unk_token is not None:
            self._special_tokens = {"unk_token": str(unk_token)}
            flagged = unk_token if isinstance(unk_token, AddedToken) else special_token(unk_token)
            added.setdefault(self._vocabulary.vocab[str(unk_token)], flagged)
        restore_added(self._pipeline, added)
        shaping.check_length("model_max_length", model_max_length)
        self.model_max_length = model_max_length
        self.padding_side = shaping.side("padding_side", padding_side)
        self.truncation_side = shaping.side("truncation_side", truncation_side)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.split_special_tokens = split_special_tokens
        self.model_input_names = list(model_input_names or type(self).model_input_names)
        self.chat_template = chat_template
        self.name_or_path = name_or_path
        self._add_given(special_tokens, {token.content: token for token in added.values()})
        self._added_changed()

    def _add_given(self, special: dict[str, Any], added: Mapping[str, AddedToken]) -> None:
        """Add the special tokens that the class was called with; `added` have their flags."""

        def flagged(token: Any) -> Any:
            return added.get(token, token) if isinstance(token, str) else token

        own = special.pop(LISTS[1]) if isinstance(special.get(LISTS[1]), Mapping) else {}
        self.add_tokens(list(map(flagged, own.values())), special_tokens=True)
        self._special_tokens |= {name: str(token) for name, token in own.items()}
        in_order = dict.fromkeys([*NAMES, *special])  # so that ids are those of transformers
        given = {name: special[name] for name in in_order if special.get(name) is not None}
        for name, value in given.items():
            many = isinstance(value, list | tuple)
            given[name] = list(map(flagged, value)) if many else flagged(value)
        self.add_special_tokens(given)

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
    def _make_encoder(self, pipeline: Tokenizer) -> EncodesTexts:
        """Make what encodes texts to arrays."""

    def _added_changed(self) -> None:
        """Update whatever depends on the added tokens; called after each change of them."""
        self._encode_plain = self._make_encoder(self._pipeline)
        self._split_pipeline, self._split_encoder = None, None

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

    vocab = property(get_vocab, doc="The vocabulary, token -> id, including added tokens.")

    @property
    def merges(self) -> list[tuple[str, str]]:
        """The merges in order of rank."""
        return list(self._vocabulary.merges)

    @property
    def do_lower_case(self) -> bool:
        """Whether text becomes lower-case: always, but for byte-level pieces."""
        return self.pre_tokenizer != "bytes"

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The Rust tokenizer. Modify it only through this class."""
        return self._pipeline

    @property
    def decoder(self) -> Any:
        """What joins tokens in the Rust tokenizer."""
        return self._pipeline.decoder

    # ---- added tokens

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens with their flags, by id: also special tokens inside the vocabulary."""
        return dict(sorted(self._pipeline.get_added_tokens_decoder().items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of added tokens, also of special tokens inside the vocabulary."""
        return {token.content: index for index, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """Return the ids of added tokens, also of special tokens inside the vocabulary."""
        return self.added_tokens_encoder

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
        base += ["split_special_tokens"] if self.split_special_tokens else []
        return fingerprints(base, self._matched_in_text())

    def _matched_in_text(self) -> list[tuple[int, AddedToken]]:
        """Return the added tokens that change the ids of text which has them, in order of id.

        An entry of the vocabulary that ends a word, such as `.</w>` as eos_token, is no such token:
        texts have no `</w>`.
        """
        added = self.added_tokens_decoder.items()
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
            new_tokens: One token or several; an AddedToken keeps its flags.
            special_tokens: Whether they match only in their exact case; others match in any case,
                except between byte-level pieces.

        Returns:
            The number of tokens that were not in the vocabulary yet.

        Raises:
            TokenizerError: two tokens match the same text.
        """
        tokens = [new_tokens] if isinstance(new_tokens, str | AddedToken) else list(new_tokens)
        before = len(self)
        if special_tokens:
            self._pipeline.add_special_tokens(tokens)
        else:
            check_apart(self.added_tokens_decoder.values(), tokens, self._form)
            self._pipeline.add_tokens(tokens)
        self._added_changed()
        return len(self) - before

    def _form(self, content: str) -> str:
        """Return what text must be, after normalization, to match an added token."""
        return bert_normalizer().normalize_str(content)

    def _pipeline_for(self, split_special: bool) -> Tokenizer:
        """Return the Rust tokenizer; one that finds no special tokens in a text is made once."""
        if not split_special:
            return self._pipeline
        if self._split_pipeline is None:
            self._split_pipeline = Tokenizer.from_str(self._pipeline.to_str())
            self._split_pipeline.encode_special_tokens = True
        return self._split_pipeline

    def _encoder(self, split_special: bool) -> EncodesTexts:
        """Return what encodes texts to arrays; one that finds no special tokens is made once."""
        if not split_special:
            return self._encode_plain
        if self._split_encoder is None:
            self._split_encoder = self._make_encoder(self._pipeline_for(True))
        return self._split_encoder

    def __getstate__(self) -> dict[str, Any]:  # a copy of the pipeline would lose its switch
        return {**self.__dict__, "_split_pipeline": None, "_split_encoder": None}

    # ---- training

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[str | Sequence[str]],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Sequence[str | AddedToken] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        *,
        reporter: Reporter = silent,
    ) -> Self:
        """Train a tokenizer of the same kind and settings on other text.

        Args:
            text_iterator: Texts, or lists of texts.
            vocab_size: Number of vocabulary entries, without added tokens.
            length: Has no effect: the number of texts is not needed.
            new_special_tokens: Further special tokens without a name.
            special_tokens_map: New texts of special tokens, by the old ones.
            reporter: Receives `progress` events.

        Raises:
            TokenizerError: vocab_size is too small for the characters of the text.
        """
        parts = [text_iterator] if isinstance(text_iterator, str) else text_iterator
        each = (one for part in parts for one in as_texts(part))
        learn = learn_byte_merges if self.pre_tokenizer == "bytes" else learn_merges
        vocab, merges = learn(self._count_words(each), vocab_size, reporter)
        renamed, flagged = dict(special_tokens_map or {}), self._flagged()

        def new(token: str) -> AddedToken:
            held = flagged.get(token, special_token(token))
            return AddedToken(renamed.get(token, token), **flags_of(held))

        named = {name: new(token) for name, token in self._special_tokens.items()}
        unknown = str(named.get("unk_token", UNK_TOKEN))
        own = {name: token for name, token in named.items() if name not in NAMES}
        arguments: dict[str, Any] = {
            **{name: getattr(self, name) for name in (*SETTINGS, *self._own_arguments)},
            "model_input_names": self.model_input_names,
            "chat_template": self.chat_template,
            **{name: token for name, token in named.items() if name in NAMES},
            **({LISTS[1]: own} if own else {}),
            LISTS[0]: [*map(new, self._additional), *(new_special_tokens or ())],
            "vocab": {unknown if token == UNK_TOKEN else token: i for token, i in vocab.items()},
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
