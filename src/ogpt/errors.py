"""The error tree: every error that ogpt raises on purpose.

    OgptError
    ├── ConfigError (ValueError)          an invalid setting or model configuration
    │   └── UnknownSetting                the name of no setting
    ├── DataError (ValueError)            text or shards that cannot be read
    │   ├── SourceNotFound (FileNotFoundError)   a path, glob or source that matches nothing
    │   └── DamagedData                   a file that is incomplete or of another format
    ├── TokenizerError (ValueError)       an invalid vocabulary, merges file or tokenizer setting
    │   ├── TokenizerNotFound (FileNotFoundError)   a folder without tokenizer files
    │   └── VocabularyMismatch            tokenizer, model and shards do not belong together
    ├── UnknownArgument (TypeError)       an argument that a model does not accept
    ├── TokenOutOfRange (ValueError, IndexError)   a token id outside the vocabulary
    ├── ContextTooLong (ValueError)       more tokens than the context length
    ├── WeightsError (ValueError, RuntimeError)   a weights file, unreadable or of another model
    │   └── WeightsNotFound (FileNotFoundError)   a folder without weights
    ├── CheckpointError (ValueError, OSError)   a model or run folder, missing or damaged
    │   └── HubError                      a failed download from the Hub or push to it
    ├── OutputExists (FileExistsError)    an output folder that holds other files
    ├── StorageError (OSError)            a failed write; the previous content is unchanged
    │   └── DocumentsUnavailable          a database of documents that cannot be reached or used
    ├── TrainingDiverged (ArithmeticError)  a loss that is not a finite number
    ├── TrainingInterrupted (KeyboardInterrupt)   Ctrl-C, after the run was saved
    ├── SamplingError (ValueError)        an invalid prompt or decoding setting
    ├── DecoderError (ValueError)         a call that breaks the decoder protocol
    ├── RequestError (ValueError)         a field of an HTTP request that cannot be served
    ├── EngineError (RuntimeError)        a request that the serving engine could not finish
    │   ├── DeadlineExceeded (TimeoutError)   a request that did not end in its time
    │   ├── EngineUnavailable             an engine that restarts, drains or is closed
    │   └── QueueFull                     too many requests wait; retry_after says when to try again
    ├── UnknownModel (LookupError)        the name of no model of a server
    ├── UnknownDocument (LookupError)     a document, edit key or share link that a server lacks
    ├── RevisionConflict                  a change of a document that was changed meanwhile
    ├── RequestRefused                    an HTTP request that no route of the server sees
    │   ├── HeadRefused                   a request line and headers that are too long
    │   ├── HostRefused                   a host name that is not of this server
    │   │   └── HostInvalid               a request without a host, or with several
    │   ├── OriginRefused                 a page of another site
    │   ├── KeyRefused                    no API key, or a wrong one
    │   ├── RateExceeded                  too many requests; retry_after says when to try again
    │   └── BodyRefused                   a body that is too large
    │       └── BodyTimeout               a body that does not arrive in time
    ├── BackendMissing (ImportError)      an optional package that is not installed
    └── StrictNotice                      a notice, under --strict

Every message states what was wrong, the value seen and the values allowed; `hint` says what to do.
Each class also inherits Python's own error of that kind, so that `except ValueError` works too.
"""

from __future__ import annotations


class OgptError(Exception):
    """Base of all errors of ogpt. `hint` is one sentence on how to fix it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(OgptError, ValueError):
    """An invalid setting or model configuration."""


class UnknownSetting(ConfigError):
    """The name of no setting; the hint suggests the closest one."""


class UnknownArgument(OgptError, TypeError):
    """An argument that a model does not accept; the hint suggests the closest one."""


class DataError(OgptError, ValueError):
    """Text or shards that cannot be used."""


class SourceNotFound(DataError, FileNotFoundError):
    """A path, glob or built-in source that matches nothing."""

    def __str__(self) -> str:  # OSError would show only its errno form
        return str(self.args[0])


class DamagedData(DataError):
    """A data file that is incomplete, altered, or of another format than its name says."""


class TokenizerError(OgptError, ValueError):
    """An invalid vocabulary, merges file or tokenizer setting."""


class TokenizerNotFound(TokenizerError, FileNotFoundError):
    """A folder without tokenizer files."""

    def __str__(self) -> str:  # as in SourceNotFound
        return str(self.args[0])


class VocabularyMismatch(TokenizerError):
    """Tokenizer, model and shards that do not belong together."""


class TokenOutOfRange(OgptError, ValueError, IndexError):
    """A token id outside the vocabulary."""


class ContextTooLong(OgptError, ValueError):
    """More tokens than the context length of the model."""


class WeightsError(OgptError, ValueError, RuntimeError):
    """A weights file that is unreadable or does not match the model."""


class WeightsNotFound(WeightsError, FileNotFoundError):
    """A folder without weights."""

    def __str__(self) -> str:  # as in SourceNotFound
        return str(self.args[0])


class CheckpointError(OgptError, ValueError, OSError):
    """A model or run folder that is missing, damaged or incomplete."""

    def __str__(self) -> str:  # as in SourceNotFound
        return str(self.args[0])


class HubError(CheckpointError):
    """A failed download from the Hugging Face Hub, or a failed push to it."""


class OutputExists(OgptError, FileExistsError):
    """An output folder with files that this command must not overwrite."""

    def __str__(self) -> str:  # as in SourceNotFound
        return str(self.args[0])


class StorageError(OgptError, OSError):
    """A failed write (full disk, no permission); the previous content is unchanged."""

    def __str__(self) -> str:  # as in SourceNotFound
        return str(self.args[0])


class DocumentsUnavailable(StorageError):
    """A database of documents that cannot be reached or used; nothing was written."""


class TrainingDiverged(OgptError, ArithmeticError):
    """A loss or gradient that is not a finite number."""


class TrainingInterrupted(OgptError, KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP during training, raised after the run was saved."""


class SamplingError(OgptError, ValueError):
    """An invalid prompt or decoding setting."""


class DecoderError(OgptError, ValueError):
    """A call that breaks the decoder protocol, such as a slot that does not exist."""


class RequestError(OgptError, ValueError):
    """A field of an HTTP request that cannot be served. `param` is its name."""

    param: str | None = None

    @classmethod
    def of_field(cls, message: str, *, hint: str, param: str) -> RequestError:
        """The error of a field."""
        error = cls(message, hint=hint)
        error.param = param
        return error


class EngineError(OgptError, RuntimeError):
    """A request that the serving engine could not finish; other requests continue."""


class DeadlineExceeded(EngineError, TimeoutError):
    """A request that did not end in its time, and of which a part is of no use."""

    def __str__(self) -> str:  # as in SourceNotFound
        return str(self.args[0])


class EngineUnavailable(EngineError):
    """An engine that restarts, drains or is closed accepts no requests.

    `retry_after`: whole seconds until it may, or until a balancer knows of another one.
    """

    retry_after: int = 5


class QueueFull(EngineError):
    """Too many requests wait. `retry_after`: whole seconds until one may be accepted."""

    retry_after: int = 1


class UnknownModel(OgptError, LookupError):
    """The name of no model of a server; the hint lists the models there are."""


class UnknownDocument(OgptError, LookupError):
    """A document, edit key or share link that a server does not have."""


class RevisionConflict(OgptError):
    """A change of an old revision of a document. `current`: the document as it is now."""

    current: object = None


class RequestRefused(OgptError):
    """An HTTP request that the server refuses before a route sees it."""


class HeadRefused(RequestRefused):
    """A request line and headers that are too long."""


class HostRefused(RequestRefused):
    """A host name that is not of this server, as in DNS rebinding."""


class HostInvalid(HostRefused):
    """A request without a host, or with several."""


class OriginRefused(RequestRefused):
    """A page of another site that may not use the server."""


class KeyRefused(RequestRefused):
    """A request without an API key, or with a wrong one."""


class RateExceeded(RequestRefused):
    """Too many requests of one client. `retry_after`: whole seconds until the next is accepted."""

    retry_after: int = 1


class BodyRefused(RequestRefused):
    """A body that is too large."""


class BodyTimeout(BodyRefused):
    """A body that does not arrive in time."""


class BackendMissing(OgptError, ImportError):
    """An optional package that is not installed; the hint is the command that installs it."""


class StrictNotice(OgptError):
    """A notice that --strict turned into an error."""
