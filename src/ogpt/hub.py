"""Models on the Hugging Face Hub: fetched into its cache, pushed from a folder.

Only the files that ogpt reads are fetched, and one format of the weights. huggingface_hub shows the
progress, takes a broken connection up where it broke, and keeps the cache.
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
    CONFIG_FILES,
    TOKENIZER_FILES,
    model_files,
    weights_files,
)
from ogpt.notices import tell
from ogpt.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi

OLD_IDS = {"openai-gpt": "openai-community/openai-gpt"}
"""Ids that models had before their owners did."""

_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_LOOK_UP_SECONDS = 10.0
_GIVE = "give a model folder (config.json, model.safetensors) or the folder of a run"
_ELSEWHERE = (
    "without a network, fetch the model on another machine and give its folder, or copy the cache "
    "of huggingface_hub (HF_HOME) here"
)
_log = logging.getLogger(__name__)


class HubOptions(TypedDict, total=False):
    """The keyword arguments of `model_folder`, for functions that hand them on."""

    revision: str | None
    cache_dir: str | Path | None
    token: str | bool | None
    local_files_only: bool
    force_download: bool
    subfolder: str


def is_hub_id(path_or_id: str | Path) -> bool:
    """Whether this is `name` or `owner/name`, and nothing here is called so."""
    name = path_or_id.as_posix() if isinstance(path_or_id, Path) else path_or_id
    return _ID.fullmatch(name) is not None and not Path(path_or_id).exists()


def model_folder(
    path_or_id: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    subfolder: str = "",
    tokenizer_only: bool = False,
) -> Path:
    """The folder of a model: a local one as it is, that of a Hub id after a download.

    A folder that exists goes before a Hub id of the same name. Where the Hub cannot be reached,
    the cache serves, with the notice `hub-not-reached`; the commit in use is logged at level info.

    Args:
        path_or_id: A folder, or `name` or `owner/name` on the Hub.
        revision: Branch, tag or commit; None: the newest commit of `main`.
        cache_dir: In place of huggingface_hub's cache.
        token: Of the Hub, for private and gated models; None: the one that `hf auth login` saved.
        local_files_only: Look into the cache alone, as HF_HUB_OFFLINE=1 does.
        force_download: Fetch again what the cache holds.
        subfolder: Where the model lies inside its folder or repository.
        tokenizer_only: Fetch no weights.

    Raises:
        CheckpointError: a path where no folder is, or no path.
        HubError: the Hub does not give the model, and the cache does not hold it.
    """
    if not isinstance(path_or_id, str | PathLike):
        raise CheckpointError(
            f"the model is {path_or_id!r}; allowed: a folder, or an id of the Hub", hint=_GIVE
        )
    path = Path(path_or_id)
    if path.is_dir():
        return path / subfolder
    if path.exists():
        raise CheckpointError(
            f"{path_or_id} is a file, not a model folder",
            hint="give the folder that it lies in; of weights alone, ogpt convert FILE OUT "
            "--config config.json makes one",
        )
    if not is_hub_id(path_or_id):
        raise CheckpointError(f"there is no folder {path_or_id}", hint=_GIVE)
    name = path.as_posix()
    wanted = _Wanted(OLD_IDS.get(name, name), revision, subfolder, tokenizer_only)
    folder = wanted.fetch(cache_dir, token, local_files_only, force_download)
    _log.info("%s is commit %s in %s", name, folder.name, folder)
    return folder / subfolder


class _Wanted:
    """A model of the Hub, and what of it is wanted."""

    def __init__(
        self, repo_id: str, revision: str | None, subfolder: str, tokenizer_only: bool
    ) -> None:
        self.repo_id = repo_id
        self.revision = revision
        self.prefix = f"{subfolder.strip('/')}/" if subfolder else ""
        self.tokenizer_only = tokenizer_only
        self.named = repo_id + (f" at revision {revision}" if revision else "")

    def fetch(
        self,
        cache_dir: str | Path | None,
        token: str | bool | None,
        local_files_only: bool,
        force_download: bool,
    ) -> Path:
        """The snapshot in the cache, downloaded where that is asked for and can be."""
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
        problem = "downloads are switched off"
        try:
            if not offline:
                return snapshot(self._files(self._names(token)), cached=False)
        except HFValidationError as error:
            raise HubError(
                f"{self.repo_id!r} is neither a folder here nor an id of the Hub", hint=_GIVE
            ) from error
        except _transport_errors() as error:
            if (refusal := _refusal(error, self.named)) is not None:
                raise refusal from error
            problem = _first_line(error)
        try:
            folder = snapshot(list(CONFIG_FILES[:1]), cached=True)
        except OSError as error:
            raise HubError(
                f"{self.named} is no folder here and is not in the cache of the Hub; {problem}",
                hint=_ELSEWHERE,
            ) from error
        if not self._is_whole(folder):
            raise HubError(
                f"the cache holds only a part of {self.named}, in {folder}; {problem}",
                hint=_ELSEWHERE,
            )
        if not offline:
            tell("hub-not-reached", repo_id=self.repo_id, reason=problem, commit=folder.name)
        return folder

    def _names(self, token: str | bool | None) -> list[str]:
        """The files of the repository, below the subfolder."""
        found = _api(token).model_info(
            self.repo_id, revision=self.revision, timeout=_LOOK_UP_SECONDS
        )
        names = [file.rfilename for file in found.siblings or ()]
        return [name.removeprefix(self.prefix) for name in names if name.startswith(self.prefix)]

    def _files(self, names: list[str]) -> list[str]:
        """Those that are wanted.

        Raises:
            HubError: the repository holds no model.
        """
        files = model_files(names)
        if self.tokenizer_only:
            files = [name for name in files if name in (*CONFIG_FILES[:1], *TOKENIZER_FILES)]
        elif not weights_files(names).files:
            raise HubError(
                f"{self.named} on the Hub holds no weights that ogpt reads"
                + (f" in {self.prefix}" if self.prefix else ""),
                hint="name the repository of an openai-gpt model, and its subfolder if it has one",
            )
        return files

    def _is_whole(self, snapshot: Path) -> bool:
        """Whether a snapshot of the cache holds what is wanted: a broken download may not."""
        names = [file.name for file in (snapshot / self.prefix).glob("*")]
        return bool(model_files(names) if self.tokenizer_only else weights_files(names).files)


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a GPT-1 model",
) -> str:
    """Push a model folder to the Hub: its configuration, weights, tokenizer and card, nothing else.

    Args:
        folder: The model folder.
        repo_id: `name` or `owner/name`; made if it is not there.
        private: Whether a new repository is private; None: as the owner's default is.
        token: Of the Hub, with the right to write; None: the one that `hf auth login` saved.
        revision: The branch, made if it is not there; None: `main`.
        commit_message: Of the commit.

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: the folder holds no weights or no configuration.
        HubError: the Hub does not take it.
    """
    from huggingface_hub.errors import HFValidationError

    folder = Path(folder)
    names = [file.name for file in folder.glob("*")]
    if CONFIG_FILES[0] not in names or not weights_files(names).files:
        raise CheckpointError(f"{folder} is no model folder", hint=_GIVE)
    api = _api(token)
    try:
        repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=[*model_files(names), CARD_FILE],
            revision=revision,
            commit_message=commit_message,
        )
    except HFValidationError as error:
        raise HubError(
            f"{repo_id!r} is no id of the Hub", hint="allowed: name or owner/name, as in me/my-gpt"
        ) from error
    except _transport_errors() as error:
        raise HubError(
            f"{folder} could not be pushed to {repo_id}: {_first_line(error)}",
            hint="check the network, and the token's right to write (`hf auth login`)",
        ) from error
    return str(commit.commit_url)


def _api(token: str | bool | None) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(token=token, library_name="ogpt", library_version=__version__)


def _refusal(error: Exception, named: str) -> HubError | None:
    """What the Hub's answer means where asking again, or the cache, would not help."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    match error:
        case GatedRepoError():
            what = f"{named} is gated: its owner gives access to those who ask"
            hint = "ask for access on the model's page, then `hf auth login` or give token="
        case RepositoryNotFoundError():
            what = f"{named} is neither a folder here nor a model on the Hub that can be seen"
            hint = "check the name; a private model needs `hf auth login` or token="
        case RevisionNotFoundError():
            what = f"{named}: the Hub has no such revision of the model"
            hint = "give a branch, a tag or a whole commit hash as revision"
        case _:
            return None
    return HubError(what, hint=hint)


def _transport_errors() -> tuple[type[Exception], ...]:
    """What a failed request raises.

    The HTTP library's errors are no OSError in every version of huggingface_hub, but its own error
    always derives from theirs.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return OSError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
