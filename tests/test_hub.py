"""Models of the Hub: fetched from a stand-in on this machine, found in the cache, pushed."""

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.errors import LocalTokenNotFoundError

from ogpt import layout as model_files
from ogpt.errors import CheckpointError, HubError
from ogpt.hub import model_folder, push_folder
from ogpt.notices import collecting
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.weights import model_weights as weights_folder
from tests.hub_stand_in import COMMIT, OLDER, StandIn, serving

REPO = "openai-community/openai-gpt"
FILES = {
    "config.json": b"{}",
    "generation_config.json": b"{ }",
    "vocab.json": b"{  }",
    "merges.txt": b"#version: 0.2\n",
    "tokenizer_config.json": b"{   }",
    "model.safetensors": bytes(range(256)) * 40,
    "pytorch_model.bin": b"bin",
    "tf_model.h5": b"h5",
    "rust_model.ot": b"ot",
    "README.md": b"# card",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    with serving(StandIn({REPO: dict(FILES)})) as stand_in:
        template = f"{stand_in.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", stand_in.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        huggingface_hub.close_session()
        yield stand_in
        huggingface_hub.close_session()


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def in_cache(cache: Path, files: dict[str, bytes], commit: str = COMMIT) -> Path:
    """A model laid out as huggingface_hub keeps it."""
    repo = cache / f"models--{REPO.replace('/', '--')}"
    for name, data in files.items():
        blob = repo / "blobs" / str(abs(hash(data)))
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = repo / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    return repo / "snapshots" / commit


class TestLocal:
    def test_a_folder_is_itself(self, tmp_path: Path) -> None:
        assert model_folder(tmp_path) == tmp_path
        assert model_folder(str(tmp_path), subfolder="a") == tmp_path / "a"

    def test_a_folder_goes_before_an_id(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "openai-gpt").mkdir()
        assert model_folder("openai-gpt") == Path("openai-gpt")

    @pytest.mark.parametrize(
        "path", ["/no/such", "./none", "../none", "~/none", "a/b/c", "runs/", "C:\\none", ""]
    )
    def test_a_missing_path_is_not_looked_up(
        self, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
        if path:
            with pytest.raises(CheckpointError, match="there is no folder") as caught:
                model_folder(path)
            assert "model.safetensors" in caught.value.hint


class TestFetching:
    def test_only_what_is_read_and_one_format(
        self, hub: StandIn, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "ogpt.hub"):
            folder = model_folder(REPO)
        assert names(folder) == {
            "config.json",
            "generation_config.json",
            "vocab.json",
            "merges.txt",
            "tokenizer_config.json",
            "model.safetensors",
        }
        assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
        assert folder.name == COMMIT
        assert f"commit {COMMIT}" in caplog.text

    @pytest.mark.parametrize(
        ("kept", "weights"),
        [
            ({"pytorch_model.bin", "tf_model.h5"}, {"pytorch_model.bin"}),
            ({"tf_model.h5"}, {"tf_model.h5"}),
            (
                {"model.safetensors.index.json", "model-00001-of-00002.safetensors", "tf_model.h5"},
                {"model.safetensors.index.json", "model-00001-of-00002.safetensors"},
            ),
            (
                {"pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"},
                {"pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"},
            ),
            ({"params_shapes.json", "params_0.npy"}, {"params_shapes.json", "params_0.npy"}),
        ],
    )
    def test_other_formats(self, hub: StandIn, kept: set[str], weights: set[str]) -> None:
        hub.repos[REPO] = {"config.json": b"{}", **dict.fromkeys(kept, b"x")}
        assert names(model_folder(REPO)) == {"config.json", *weights}

    def test_the_old_id(self, hub: StandIn) -> None:
        assert model_folder("openai-gpt") == model_folder(REPO)

    def test_a_tokenizer_needs_no_weights(self, hub: StandIn) -> None:
        found = names(model_folder(REPO, tokenizer_only=True))
        assert found == {"config.json", "vocab.json", "merges.txt", "tokenizer_config.json"}
        model_folder(REPO)  # continues from there
        assert "model.safetensors" in names(model_folder(REPO))

    def test_a_subfolder(self, hub: StandIn) -> None:
        hub.repos[REPO] = {f"best/{name}": data for name, data in FILES.items()}
        folder = model_folder(REPO, subfolder="best")
        assert folder.name == "best"
        assert {"config.json", "model.safetensors"} <= names(folder)
        with pytest.raises(HubError, match="has no weights that ogpt reads in worst/") as caught:
            model_folder(REPO, subfolder="worst")
        assert "subfolder" in caught.value.hint

    def test_revisions(self, hub: StandIn) -> None:
        assert model_folder(REPO, revision="older").name == OLDER
        assert model_folder(REPO, revision=COMMIT).name == COMMIT

    def test_a_cache_of_ones_own_and_a_fresh_copy(self, hub: StandIn, tmp_path: Path) -> None:
        folder = model_folder(REPO, cache_dir=tmp_path / "mine")
        assert tmp_path / "mine" in folder.parents
        sent = len(hub.sent)
        model_folder(REPO, cache_dir=tmp_path / "mine")
        assert len(hub.sent) == sent
        model_folder(REPO, cache_dir=tmp_path / "mine", force_download=True)
        assert len(hub.sent) == 2 * sent

    def test_a_broken_connection_is_taken_up_where_it_broke(
        self, hub: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
        hub.cut = 4000
        folder = model_folder(REPO)
        assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
        ranges = [name.split(" ")[1] for name in hub.sent if name.startswith("model.safetensors")]
        assert ranges == ["", "bytes=4000-", "bytes=8000-"]

    def test_a_download_that_was_given_up(
        self, hub: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
        hub.cut = 4000  # less than is read at once: it never gets on
        with pytest.raises(HubError, match="only part of") as caught:
            model_folder(REPO)
        assert "received 4000 bytes" in str(caught.value)
        assert "another machine" in caught.value.hint
        hub.cut = None
        hub.sent.clear()
        folder = model_folder(REPO)
        assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
        assert hub.sent == ["model.safetensors "]  # what was whole is not fetched again


def test_what_is_fetched_is_what_would_be_read() -> None:
    """The order of preference by name is that of the room that reads the files."""
    assert [first for _, first, _ in model_files._FORMATS] == list(weights_folder._READERS)


class TestTokenizers:
    """The tokenizers of the Hub, without their models."""

    @pytest.fixture
    def tokenizer(self, hub: StandIn, tmp_path: Path) -> OpenAIGPTTokenizerFast:
        made = OpenAIGPTTokenizerFast(vocab={"<unk>": 0, "a": 1, "a</w>": 2}, merges=[])
        files = [Path(file) for file in made.save_pretrained(tmp_path / "made")]
        content = {file.name: file.read_bytes() for file in files}
        hub.repos["me/mine"] = {"model.safetensors": b"", **content}
        hub.repos["me/two"] = {f"b/{name}": data for name, data in content.items()}
        return made

    def test_from_pretrained(self, hub: StandIn, tokenizer: OpenAIGPTTokenizerFast) -> None:
        found = OpenAIGPTTokenizerFast.from_pretrained("me/mine", revision=COMMIT, pad_token="a")
        assert found.get_vocab() == tokenizer.get_vocab()
        assert found.pad_token_id == 1
        assert "model.safetensors " not in hub.sent

    def test_open(self, tokenizer: OpenAIGPTTokenizerFast, tmp_path: Path) -> None:
        for found in (
            open_tokenizer("me/mine"),
            open_tokenizer("me/two", subfolder="b"),
            open_tokenizer(tmp_path, subfolder="made"),
        ):
            assert found.fingerprint == tokenizer.fingerprint

    def test_unknown(self, hub: StandIn) -> None:
        with pytest.raises(HubError, match="me/none is neither"):
            open_tokenizer("me/none")


class TestRefusals:
    @pytest.mark.parametrize(
        ("refused", "message", "hint"),
        [
            (
                (404, "RepoNotFound"),
                "neither an existing folder nor a visible model on the Hub",
                "check the",
            ),
            (
                (401, "RepoNotFound"),
                "neither an existing folder nor a visible model on the Hub",
                "auth login",
            ),
            ((403, "GatedRepo"), "is gated", "request access"),
        ],
    )
    def test_by_the_hub(
        self, hub: StandIn, refused: tuple[int, str], message: str, hint: str
    ) -> None:
        hub.refused["me/mine"] = refused
        with pytest.raises(HubError, match=f"me/mine .*{message}") as caught:
            model_folder("me/mine")
        assert hint in caught.value.hint

    def test_unknown_revision(self, hub: StandIn) -> None:
        with pytest.raises(HubError, match=f"{REPO} at revision v9.*no such revision") as caught:
            model_folder(REPO, revision="v9")
        assert "commit hash" in caught.value.hint

    def test_no_model_inside(self, hub: StandIn) -> None:
        hub.repos[REPO] = {"README.md": b""}
        with pytest.raises(HubError, match="has no weights that ogpt reads") as caught:
            model_folder(REPO)
        assert "openai-gpt model" in caught.value.hint

    def test_no_id(self, hub: StandIn) -> None:
        with pytest.raises(
            HubError, match=r"'a--b' is neither an existing folder nor a Hub id"
        ) as caught:
            model_folder("a--b")
        assert "model folder" in caught.value.hint


class TestOffline:
    @pytest.fixture(autouse=True)
    def cache(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        return tmp_path

    def test_the_cache_serves(self, cache: Path) -> None:
        folder = in_cache(cache, FILES)
        with collecting() as told:
            assert model_folder(REPO, local_files_only=True) == folder
            assert model_folder("openai-gpt", local_files_only=True, revision=COMMIT) == folder
        assert told == []

    def test_switched_off(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(HubError, match=r"nor in the Hub cache.*disabled") as caught:
            model_folder(REPO)
        assert "HF_HOME" in caught.value.hint
        folder = in_cache(cache, FILES)
        assert model_folder(REPO) == folder

    def test_a_part(self, cache: Path) -> None:
        in_cache(cache, {"config.json": b"{}", "vocab.json": b"{}"})
        with pytest.raises(HubError, match=f"only part of {REPO}.*disabled") as caught:
            model_folder(REPO, local_files_only=True)
        assert "another machine" in caught.value.hint
        assert model_folder(REPO, local_files_only=True, tokenizer_only=True).name == COMMIT

    def test_no_connection(self, hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = model_folder(REPO)
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        with collecting() as told:
            assert model_folder(REPO) == folder
        assert [notice.kind for notice in told] == ["hub-not-reached"]
        assert COMMIT in told[0].message
        assert REPO in told[0].message
        with pytest.raises(HubError, match=r"other/model is neither an existing folder.*Connect"):
            model_folder("other/model")


class Api:
    """Stands in for HfApi and keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None

    def __call__(self, **options: Any) -> "Api":
        self.calls.append(("HfApi", options))
        return self

    def create_repo(self, repo_id: str, **options: Any) -> SimpleNamespace:
        if self.error:
            raise self.error
        self.calls.append(("create_repo", {"repo_id": repo_id, **options}))
        return SimpleNamespace(repo_id=f"me/{repo_id}")

    def create_branch(self, repo_id: str, **options: Any) -> None:
        self.calls.append(("create_branch", {"repo_id": repo_id, **options}))

    def upload_folder(self, **options: Any) -> SimpleNamespace:
        self.calls.append(("upload_folder", options))
        return SimpleNamespace(commit_url="https://hub/me/mine/commit/1")


class TestPushing:
    @pytest.fixture
    def api(self, monkeypatch: pytest.MonkeyPatch) -> Api:
        api = Api()
        monkeypatch.setattr(huggingface_hub, "HfApi", api)
        return api

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("config.json", "model.safetensors", "vocab.json", "README.md", "token"):
            (tmp_path / name).write_text("x")
        (tmp_path / "resume").mkdir()
        (tmp_path / "resume" / "config.json").write_text("x")
        return tmp_path

    def test_only_the_model_goes(self, api: Api, folder: Path) -> None:
        url = push_folder(folder, "mine", private=True, token="secret", commit_message="First")
        assert url == "https://hub/me/mine/commit/1"
        made, created, uploaded = api.calls
        assert made[1]["token"] == "secret"
        assert created == ("create_repo", {"repo_id": "mine", "private": True, "exist_ok": True})
        assert uploaded[1] == {
            "repo_id": "me/mine",
            "folder_path": folder,
            "allow_patterns": ["config.json", "vocab.json", "model.safetensors", "README.md"],
            "revision": None,
            "commit_message": "First",
        }

    def test_a_branch(self, api: Api, folder: Path) -> None:
        push_folder(folder, "mine", revision="draft")
        branch = {"repo_id": "me/mine", "branch": "draft", "exist_ok": True}
        assert api.calls[2] == ("create_branch", branch)
        assert api.calls[3][1]["revision"] == "draft"

    def test_no_model(self, api: Api, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        with pytest.raises(CheckpointError, match="is not a model folder") as caught:
            push_folder(folder, "mine")
        assert "config.json" in caught.value.hint
        assert api.calls == []

    def test_refused(self, api: Api, folder: Path) -> None:
        api.error = LocalTokenNotFoundError("no token\nlong story")
        with pytest.raises(HubError, match=r"to mine: LocalTokenNotFound\w+: no token$") as caught:
            push_folder(folder, "mine")
        assert "auth login" in caught.value.hint

    def test_no_id(self, folder: Path) -> None:
        with pytest.raises(HubError, match=r"'a/b/c' is not a Hub id") as caught:
            push_folder(folder, "a/b/c")
        assert "me/my-gpt" in caught.value.hint
