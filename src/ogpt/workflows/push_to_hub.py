"""`ogpt.push_to_hub`: a model folder, or the best checkpoint of a run, to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from ogpt.errors import CheckpointError
from ogpt.folders.model_card import write_card
from ogpt.folders.model_folder import ModelFolder
from ogpt.hub import push_folder
from ogpt.layout import CARD_FILE, CONFIG_FILE


def push_to_hub(
    path: str | Path | ModelFolder,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a GPT-1 model",
) -> str:
    """Push a model folder, or the best checkpoint of a run, to the Hub.

    Only its configuration, weights, tokenizer and card are uploaded. If the folder has no card, one
    is written first. Models in memory have a method of this name.

    Args:
        path: A model folder or the folder of a run.
        repo_id: `name` or `owner/name`; created if it does not exist.
        private: Whether a new repository is private; None uses the owner's default.
        token: Hub token with write access; None uses the one that `hf auth login` saved.
        revision: The branch, created if it does not exist; None uses `main`.
        commit_message: Message of the commit.

    Returns:
        The URL of the commit.

    Raises:
        CheckpointError: there is no model, or the folder has no weights or no configuration.
        HubError: the Hub refused it, or could not be reached.
    """
    opened = ModelFolder.open(path)  # kept, so that a run that trains does not remove it
    folder = opened.path
    if not (folder / CONFIG_FILE).exists():
        raise CheckpointError(
            f"{folder} holds OpenAI's files of 2018 without a {CONFIG_FILE}, which transformers "
            "needs",
            hint="convert them to a model folder first: ogpt convert IN OUT",
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
