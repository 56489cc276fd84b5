"""A model folder or a run's best checkpoint to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from ogpt.config.model import CONFIG_FILE
from ogpt.errors import CheckpointError
from ogpt.folders.model_card import write_card
from ogpt.folders.model_folder import resolve
from ogpt.hub import push_folder
from ogpt.layout import CARD_FILE


def push_to_hub(
    path: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a GPT-1 model",
) -> str:
    """Push a model folder, or the best checkpoint of a run, to the Hub.

    Its configuration, weights, tokenizer and card go, and nothing else. A folder without a card
    gets one first. Models in memory have a method of this name.

    Args:
        path: A model folder or the folder of a run.
        repo_id: `name` or `owner/name`; made if it is not there.
        private: Whether a new repository is private; None: as the owner's default is.
        token: Of the Hub, with the right to write; None: the one that `hf auth login` saved.
        revision: The branch, made if it is not there; None: `main`.
        commit_message: Of the commit.

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: as resolve, or the folder holds no weights or no configuration.
        HubError: the Hub does not take it.
    """
    folder = resolve(path)
    if not (folder / CONFIG_FILE).exists():
        raise CheckpointError(
            f"{folder} holds OpenAI's files of 2018 without a {CONFIG_FILE}, which transformers "
            "needs",
            hint="make a model folder of them first: ogpt convert IN OUT",
        )
    if not (folder / CARD_FILE).exists():
        write_card(folder)
    return push_folder(
        folder,
        repo_id,
        private=private,
        token=token,
        revision=revision,
        commit_message=commit_message,
    )
