"""EleutherAI's lm-evaluation-harness, its backend for servers, with a server of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.tasks import TaskManager

from ogpt.integrations import transformers as door
from tests.ecosystem import small
from tests.ecosystem.endings import TASK
from tests.serving.running import running

LIBRARY = "lm_eval"
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "serve.md"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    small.folder(path, door.OpenAIGPTLMHeadModel)
    return path


@pytest.fixture(scope="module")
def url(path: Path) -> Iterator[str]:
    with running({"small": path}) as url:
        yield f"{url}/v1/completions"


def of_server(url: str, **options: Any) -> LocalCompletionsAPI:
    """The harness's client; the server tokenizes for it, as it offers that."""
    found = LocalCompletionsAPI(
        model="small", base_url=url, max_length=32, max_retries=1, **options
    )
    assert found.tokenizer_backend == "remote"
    return found


def in_process(path: Path) -> HFLM:
    tokenizer = door.OpenAIGPTTokenizerFast.from_pretrained(path)
    model = door.OpenAIGPTLMHeadModel.from_pretrained(path).eval()
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2)


def answers(model: Any) -> tuple[Any, Any, Any]:
    """What each kind of request of the harness is answered with."""

    def asked(kind: str, arguments: list[tuple[Any, ...]]) -> Any:
        requests = [
            Instance(request_type=kind, doc={}, arguments=each, idx=index)
            for index, each in enumerate(arguments)
        ]
        return getattr(model, kind)(requests, disable_tqdm=True)

    pairs = [("", small.TEXTS[0]), *((text[:12], text[12:]) for text in small.TEXTS)]
    until = [(text, {"until": ["sea"], "max_gen_toks": 5}) for text in small.TEXTS]
    return (
        asked("loglikelihood", pairs),
        asked("loglikelihood_rolling", [(text,) for text in small.TEXTS]),
        asked("generate_until", until),
    )


@pytest.mark.parametrize("options", [{}, {"num_concurrent": 4}, {"batch_size": 3}])
def test_requests_over_http_equal_those_in_process(
    url: str, path: Path, options: dict[str, Any]
) -> None:
    """local-completions with `ogpt serve`: all requests equal those of its Hugging Face backend."""
    ours, theirs = answers(of_server(url, **options)), answers(in_process(path))
    assert [value for value, _ in ours[0]] == pytest.approx([v for v, _ in theirs[0]], abs=1e-3)
    assert [greedy for _, greedy in ours[0]] == [greedy for _, greedy in theirs[0]]
    assert ours[1] == pytest.approx(theirs[1], abs=1e-3)
    assert [text.strip() for text in ours[2]] == [text.strip() for text in theirs[2]]


def test_a_task_over_http(url: str, path: Path) -> None:
    """local-completions with `ogpt serve`: a task of choices has the scores of a local model."""
    found = []
    for model in (of_server(url), in_process(path)):
        task = TaskManager(include_defaults=False).load([dict(TASK)])
        results = evaluate(model, task, bootstrap_iters=0)
        assert results is not None
        scores = results["results"]["endings"]
        samples = [one["filtered_resps"] for one in results["samples"]["endings"]]
        found.append((scores["acc,none"], scores["acc_norm,none"], samples))
    ours, theirs = found
    assert ours[:2] == theirs[:2]
    assert 0 < ours[0] < 1
    for one, other in zip(ours[2], theirs[2], strict=True):
        values = [value for value, _ in other]
        assert [value for value, _ in one] == pytest.approx(values, abs=1e-3)


def test_a_prefix_token_of_our_own(url: str, path: Path) -> None:
    """local-completions with `ogpt serve`: a prefix token stands before texts without context."""
    tokenizer = door.OpenAIGPTTokenizerFast.from_pretrained(path)
    prefix = tokenizer.encode("sea")[0]
    [line] = re.findall(r"--model_args (\S+)", GUIDE.read_text("utf-8"))
    arguments = line.replace("http://localhost:8000/v1/completions", url)
    arguments = arguments.replace("max_length=512", "max_length=32")
    arguments = arguments.replace("token_id=1", f"token_id={prefix}")
    model = LocalCompletionsAPI.create_from_arg_string(arguments)
    reference = in_process(path)
    reference.custom_prefix_token_id = prefix
    assert model.prefix_token_id == reference.prefix_token_id == prefix
    ours, theirs = answers(model), answers(reference)
    assert ours[1] == pytest.approx(theirs[1], abs=1e-3)
    other = answers(of_server(url))  # with the end token as prefix
    assert ours[1] != pytest.approx(other[1], abs=1e-2)
