"""The error tree: every error that ogpt raises on purpose, and nothing else.

    OgptError
    ├── ConfigError (ValueError)          a setting or model configuration that cannot be
    │   └── UnknownSetting                a name that no setting has
    ├── DataError (ValueError)            text or shards that cannot be read
    │   ├── SourceNotFound (FileNotFoundError)   a path, glob or built-in source without text
    │   └── DamagedData                   a file cut short, or not what its name says
    ├── TokenizerError (ValueError)       vocabulary or merges that cannot be
    │   └── VocabularyMismatch            tokenizer, model and shards do not belong together
    ├── UnknownArgument (TypeError)       an argument that a model does not take
    ├── TokenOutOfRange (ValueError, IndexError)   a token id outside the vocabulary
    ├── ContextTooLong (ValueError)       more tokens than the model has positions
    ├── WeightsError (ValueError)         a weights file that cannot be read or does not fit
    ├── CheckpointError (ValueError)      a model or run folder that is damaged or incomplete
    │   └── HubError                      a model that the Hub did not give or take
    ├── OutputExists (FileExistsError)    an output folder that holds something else
    ├── StorageError (OSError)            a write that failed; what was there is still whole
    ├── TrainingDiverged (ArithmeticError)  a loss that is not a finite number
    ├── TrainingInterrupted (KeyboardInterrupt)   Ctrl-C, after the run was saved
    ├── SamplingError (ValueError)        a prompt or decoding setting that cannot be
    ├── DecoderError (ValueError)         a decoder used against its protocol
    ├── BackendMissing (ImportError)      an optional package that is not installed
    └── StrictNotice                      a notice, under --strict

Every message says what was wrong, the value seen and the value allowed; `hint` says what to do.
"""

from __future__ import annotations


class OgptError(Exception):
    """Base of all errors of ogpt. `hint` is one sentence on how to mend it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(OgptError, ValueError):
    """A setting or model configuration that cannot be."""


class UnknownSetting(ConfigError):
    """A name that no setting has; the hint gives the nearest one."""


class UnknownArgument(OgptError, TypeError):
    """An argument that a model does not take; the hint gives the nearest one."""


class DataError(OgptError, ValueError):
    """Text or shards that cannot be used."""


class SourceNotFound(DataError, FileNotFoundError):
    """A path, glob or built-in source that matches nothing."""

    def __str__(self) -> str:  # OSError would show only its errno form
        return str(self.args[0])


class DamagedData(DataError):
    """A data file that is cut short, altered, or not what its name says."""


class TokenizerError(OgptError, ValueError):
    """A vocabulary, merges file or tokenizer setting that cannot be."""


class VocabularyMismatch(TokenizerError):
    """Tokenizer, model and shards that do not belong together."""


class TokenOutOfRange(OgptError, ValueError, IndexError):
    """A token id outside the vocabulary."""


class ContextTooLong(OgptError, ValueError):
    """More tokens than the model has positions."""


class WeightsError(OgptError, ValueError):
    """A weights file that cannot be read, or that does not fit the model."""


class CheckpointError(OgptError, ValueError):
    """A model or run folder that is damaged or incomplete."""


class HubError(CheckpointError):
    """A model that could not be fetched from the Hugging Face Hub, or pushed to it."""


class OutputExists(OgptError, FileExistsError):
    """An output folder that holds something this command must not overwrite."""

    def __str__(self) -> str:
        return str(self.args[0])


class StorageError(OgptError, OSError):
    """A write that failed (full disk, no permission); what was there before is still whole."""

    def __str__(self) -> str:
        return str(self.args[0])


class TrainingDiverged(OgptError, ArithmeticError):
    """A loss or gradient that is not a finite number."""


class TrainingInterrupted(OgptError, KeyboardInterrupt):
    """Ctrl-C or SIGTERM during training, after the run was saved."""


class SamplingError(OgptError, ValueError):
    """A prompt or decoding setting that cannot be."""


class DecoderError(OgptError, ValueError):
    """A decoder used against its protocol, such as a slot that is not there."""


class BackendMissing(OgptError, ImportError):
    """An optional package that is not installed; the hint is the command that installs it."""


class StrictNotice(OgptError):
    """What would have been a notice, turned into an error by --strict."""
