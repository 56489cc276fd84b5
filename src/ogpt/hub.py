"""Download models from the Hugging Face Hub, and push model folders to it.

Only the files that ogpt reads are downloaded, with the weights in one format. huggingface_hub shows
progress, resumes interrupted downloads and manages the cache.
"""

from __future__ import annotations

import logging
import re
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ogpt.errors import CheckpointError, HubError
from ogpt.layout import (
    CARD_FILE,
    CONFIG_FILE,
    TOKENIZER_FILES,
    model_files,
    weights_files,
)
from ogpt.notices import tell
from ogpt.storage import path_of
from ogpt.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi

OLD_IDS = {"openai-gpt": "openai-community/openai-gpt"}
"""Ids from before models had owners; transformers and the Hub still accept them."""

_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_LOOK_UP_SECONDS = 10.0  # then the cache is used: without a network, a load must not hang
_PASS_A_FOLDER = "pass a model folder (config.json, model.safetensors) or a run folder"
_OFFLINE = (
    "without a network, download the model on another machine and pass its folder, or copy the "
    "cache of huggingface_hub (HF_HOME) to this machine"
)
_log = logging.getLogger(__name__)


class HubOptions(TypedDict, total=False):
    """The keyword arguments of `model_folder`, for functions that pass them on."""

    revision: str | None
    cache_dir: str | Path | None
    token: str | bool | None
    local_files_only: bool
    force_download: bool
    subfolder: str
    variant: str | None


def is_hub_id(path_or_id: str | PathLike[str]) -> bool:
    """Return whether this is `name` or `owner/name`, and no file or folder has that name."""
    name = path_or_id if isinstance(path_or_id, str) else Path(path_or_id).as_posix()
    return _ID.fullmatch(name) is not None and not Path(path_or_id).exists()


def check_hub_id(path_or_id: str | PathLike[str]) -> None:
    """Refuse the path of a folder that does not exist.

    Args:
        path_or_id: No existing path.

    Raises:
        CheckpointError: it cannot be a Hub id.
    """
    if not is_hub_id(path_or_id):
        raise CheckpointError(f"there is no folder {path_or_id}", hint=_PASS_A_FOLDER)


def model_folder(
    path_or_id: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    subfolder: str = "",
    variant: str | None = None,
    tokenizer_only: bool = False,
) -> Path:
    """Find the folder of a model, downloading it first if it is a Hub id.

    An existing folder has priority over a Hub id of the same name. If the Hub cannot be reached,
    the cached copy is used, with the notice `hub-not-reached`. The commit is logged at level info.

    Args:
        path_or_id: A folder, or `name` or `owner/name` on the Hub.
        revision: Branch, tag or commit; None uses the newest commit of `main`.
        cache_dir: Cache folder; None uses that of huggingface_hub.
        token: Access token for private and gated models; None uses the one that `hf auth login`
            saved.
        local_files_only: Use only the cache, as HF_HUB_OFFLINE=1 does.
        force_download: Download files again that are in the cache.
        subfolder: Folder of the model inside the path or repository.
        variant: Of the weights, such as fp16 for model.fp16.safetensors; None: the plain ones.
        tokenizer_only: Do not download weights.

    Returns:
        The folder, on disk.

    Raises:
        ConfigError: the path is empty.
        CheckpointError: the path is a file, or neither a folder nor a possible Hub id.
        HubError: the download failed, and the cache does not hold the model.
    """
    if not isinstance(path_or_id, str | PathLike):
        raise CheckpointError(
            f"the model is {path_or_id!r}; allowed: a folder, or a Hub id", hint=_PASS_A_FOLDER
        )
    path_of(path_or_id, "the model")
    path = Path(path_or_id)
    if path.is_dir():
        return path / subfolder
    if path.exists():
        raise CheckpointError(
            f"{path_or_id} is a file, not a model folder",
            hint="pass the folder that contains it; for a weights file alone, create a model "
            "folder with ogpt convert FILE OUT --config config.json",
        )
    check_hub_id(path_or_id)
    name = path.as_posix()
    wanted = _Wanted(OLD_IDS.get(name, name), revision, subfolder, variant, tokenizer_only)
    folder = wanted.fetch(cache_dir, token, local_files_only, force_download)
    _log.info("%s is commit %s in %s", name, folder.name, folder)
    return folder / subfolder


class _Wanted:
    """A model on the Hub, and which of its files to download."""

    def __init__(
        self,
        repo_id: str,
        revision: str | None,
        subfolder: str,
        variant: str | None,
        tokenizer_only: bool,
    ) -> None:
        self.repo_id = repo_id
        self.revision = revision
        self.prefix = f"{subfolder.strip('/')}/" if subfolder else ""
        self.variant = variant
        self.tokenizer_only = tokenizer_only
        self.named = repo_id + (f" at revision {revision}" if revision else "")

    def fetch(
        self,
        cache_dir: str | Path | None,
        token: str | bool | None,
        local_files_only: bool,
        force_download: bool,
    ) -> Path:
        """Return the snapshot folder in the cache, updated from the Hub if possible."""
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import HFValidationError

        def snapshot(files: list[str], *, cached: bool) -> Path:
            return Path(
                snapshot_download(
                    self.repo_id,
                    revision=self.revision,
                    cache_dir=cache_dir,
                    token=token,
                    local_files_only=cached,
                    force_download=force_download and not cached,
                    allow_patterns=[self.prefix + name for name in files],
                    library_name="ogpt",
                    library_version=__version__,
                )
            )

        offline = local_files_only or constants.HF_HUB_OFFLINE
        problem = "downloads are disabled"
        try:
            if not offline:
                return snapshot(self._files(self._names(token)), cached=False)
        except HubError:  # it is an OSError, but no failure of the network
            raise
        except HFValidationError as error:
            raise HubError(
                f"{self.repo_id!r} is neither an existing folder nor a Hub id", hint=_PASS_A_FOLDER
            ) from error
        except _transport_errors() as error:
            if (refusal := _refusal(error, self.named)) is not None:
                raise refusal from error
            problem = _first_line(error)
        try:
            folder = snapshot([CONFIG_FILE], cached=True)
        except OSError as error:
            raise HubError(
                f"{self.named} is neither an existing folder nor in the Hub cache; {problem}",
                hint=_OFFLINE,
            ) from error
        if not self._is_whole(folder):
            raise HubError(
                f"the cache holds only part of {self.named}, in {folder}; {problem}",
                hint=_OFFLINE,
            )
        if not offline:
            tell("hub-not-reached", repo_id=self.repo_id, reason=problem, commit=folder.name)
        return folder

    def _names(self, token: str | bool | None) -> list[str]:
        """List the files of the repository, below the subfolder."""
        found = _api(token).model_info(
            self.repo_id, revision=self.revision, timeout=_LOOK_UP_SECONDS
        )
        names = [file.rfilename for file in found.siblings or ()]
        return [name.removeprefix(self.prefix) for name in names if name.startswith(self.prefix)]

    def _files(self, names: list[str]) -> list[str]:
        """Select the files to download.

        Raises:
            HubError: the repository has no weights that ogpt reads.
        """
        files = model_files(names, self.variant)
        if self.tokenizer_only:
            files = [name for name in files if name in (CONFIG_FILE, *TOKENIZER_FILES)]
        elif not weights_files(names, self.variant).files:
            raise HubError(
                f"{self.named} on the Hub has no weights that ogpt reads"
                + (f" in {self.prefix}" if self.prefix else "")
                + (f" of the variant {self.variant}" if self.variant else ""),
                hint="pass the repository of an openai-gpt model, and its subfolder if it has one",
            )
        return files

    def _is_whole(self, snapshot: Path) -> bool:
        """Return whether a cached snapshot is complete: an interrupted download is not."""
        names = [file.name for file in (snapshot / self.prefix).glob("*")]
        weights = weights_files(names, self.variant).files
        return bool(model_files(names) if self.tokenizer_only else weights)


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a GPT-1 model",
    variant: str | None = None,
    tokenizer_only: bool = False,
) -> str:
    """Push a model folder to the Hub: only its configuration, weights, tokenizer and card.

    Args:
        folder: The model folder.
        repo_id: `name` or `owner/name`; created if missing.
        private: Whether a new repository is private; None uses the owner's default.
        token: Access token that may write; None uses the one that `hf auth login` saved.
        revision: Branch, created if missing; None uses `main`.
        commit_message: Message of the commit.
        variant: Of the weights; None: the plain ones.
        tokenizer_only: The folder has a tokenizer and no model.

    Returns:
        The URL of the commit.

    Raises:
        CheckpointError: the folder has no weights or no configuration.
        HubError: the push failed.
    """
    from huggingface_hub.errors import HFValidationError

    names = [file.name for file in Path(folder).glob("*")]
    is_model = CONFIG_FILE in names and weights_files(names, variant).files
    if not is_model and not tokenizer_only:
        raise CheckpointError(f"{folder} is not a model folder", hint=_PASS_A_FOLDER)
    api = _api(token)
    try:
        repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=[*model_files(names, variant), CARD_FILE],
            revision=revision,
            commit_message=commit_message,
        )
    except HFValidationError as error:
        raise HubError(
            f"{repo_id!r} is not a Hub id; allowed: name or owner/name",
            hint="pass for example me/my-gpt",
        ) from error
    except _transport_errors() as error:
        raise HubError(
            f"{folder} could not be pushed to {repo_id}: {_first_line(error)}",
            hint="check the network, and that the token may write (`hf auth login`)",
        ) from error
    return str(commit.commit_url)


def _api(token: str | bool | None) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(token=token, library_name="ogpt", library_version=__version__)


def _refusal(error: Exception, named: str) -> HubError | None:
    """Make an error of an answer of the Hub that neither a retry nor the cache can help."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    match error:
        case GatedRepoError():
            what = f"{named} is gated: its owner grants access on request"
            hint = "request access on the model's page, then run `hf auth login` or pass token="
        case RepositoryNotFoundError():
            what = f"{named} is neither an existing folder nor a visible model on the Hub"
            hint = "check the name; a private model needs `hf auth login` or token="
        case RevisionNotFoundError():
            what = f"{named}: the Hub has no such revision of the model"
            hint = "pass a branch, a tag or a full commit hash as revision"
        case _:
            return None
    return HubError(what, hint=hint)


def _transport_errors() -> tuple[type[Exception], ...]:
    """List the exceptions of a failed request.

    The HTTP library depends on the version of huggingface_hub (requests, then httpx), and its
    errors are not always OSErrors. HfHubHTTPError always derives from them.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return OSError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
