"""Fine-tuned folders give transformers' own pipeline on raw text the answers that ours gives."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import ogpt
from ogpt.layout import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.notices import collecting
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.tokens.template import Template
from tests.golden.classify_in_transformers import PAIRS, TEXTS, classify, sorted_scores
from tests.tasks.task_folders import FOLDERS, make, make_all

GOLDEN = Path(__file__).parents[1] / "golden" / "classified_4.57.6.json"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = make_all(tmp_path_factory.mktemp("folders"))
    return {folder.name: folder for folder in made}


def difference(folder: Path, theirs: dict[str, Any], **tokenizer: Any) -> float:
    """The largest difference of a score; the labels are the same."""
    ours = ogpt.pipeline("text-classification", folder, **tokenizer)
    answers = {
        "singles": [ours(text, top_k=None) for text in TEXTS],
        "batches": ours(TEXTS, top_k=None, batch_size=4),
        "pairs": [ours(pair, top_k=None) for pair in PAIRS],
        "pair_batches": ours(PAIRS, top_k=None, batch_size=4),
    }
    worst = 0.0
    for name, found in answers.items():
        for mine, scores in zip(found, theirs[name], strict=True):
            assert sorted_scores(mine).keys() == scores.keys()
            worst = max(worst, *(abs(each["score"] - scores[each["label"]]) for each in mine))
    return worst


def check(folder: Path, theirs: dict[str, Any]) -> None:
    tokenizer = open_tokenizer(folder)
    ids = [tokenizer.encode(text) for text in TEXTS]
    ids += [tokenizer.encode(pair["text"], pair["text_pair"]) for pair in PAIRS]
    assert ids == theirs["ids"]
    assert difference(folder, theirs) < 2e-6
    for fault in (
        None,
        Template("_classify_", "_delimiter_", "_start_"),
        Template("_start_", "_start_", "_classify_"),
    ):
        tokenizer.template = fault
        assert difference(folder, theirs, tokenizer=tokenizer) > 1e-4


@pytest.mark.parametrize("name", FOLDERS)
def test_the_transformers_installed_here(folders: dict[str, Path], name: str) -> None:
    check(folders[name], classify(folders[name]))


@pytest.mark.parametrize("name", FOLDERS)
def test_transformers_4_57_6(folders: dict[str, Path], name: str) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))
    assert golden["transformers"] == "4.57.6"
    result = golden["folders"][name]
    # the settings that version 4.57.6 was given; else make the result again (tests/golden/README)
    settings = json.loads((folders[name] / TOKENIZER_CONFIG_FILE).read_text("utf-8"))
    assert settings == result["tokenizer_config"]
    check(folders[name], result)


def test_spacys_words_are_beyond_transformers(tmp_path: Path) -> None:
    """It splits text by BERT's rules, with the same tokens around it."""
    make(tmp_path, "openai", FOLDERS["bert"][1])
    theirs = classify(tmp_path)
    assert theirs["ids"][1] == open_tokenizer(tmp_path).encode(TEXTS[1])
    assert theirs["ids"][5] != open_tokenizer(tmp_path).encode(TEXTS[5])  # isn't


def test_the_template_of_tokenizer_json_is_enough(folders: dict[str, Path], tmp_path: Path) -> None:
    """As in a folder that another program saved."""
    folder = tmp_path / "other"
    shutil.copytree(folders["bert"], folder)
    file = folder / TOKENIZER_CONFIG_FILE
    settings = json.loads(file.read_text("utf-8"))
    del settings["template"]
    file.write_text(json.dumps(settings), "utf-8")
    theirs = classify(folder)
    assert difference(folder, theirs) < 2e-6
    content = json.loads((folder / TOKENIZER_FILE).read_text("utf-8"))
    content["post_processor"] = None
    (folder / TOKENIZER_FILE).write_text(json.dumps(content), "utf-8")
    assert difference(folder, theirs) > 1e-4
    assert difference(folder, classify(folder)) < 2e-6


def test_texts_and_pairs_in_one_list(folders: dict[str, Path]) -> None:
    pipeline = ogpt.pipeline("text-classification", folders["bytes"])
    mixed = [TEXTS[0], PAIRS[1], TEXTS[1], {"text": TEXTS[2]}, PAIRS[0]]
    alone = [pipeline(one, top_k=None) for one in mixed]
    for found, right in zip(pipeline(mixed, top_k=None, batch_size=3), alone, strict=True):
        assert sorted_scores(found) == pytest.approx(sorted_scores(right), abs=1e-6)


def test_similarity_adds_both_orders(tmp_path: Path) -> None:
    """As in the paper, section 3.3; transformers scores the order it is given."""
    spec = TaskSpec(family="similarity", problem="regression", metrics=("pearson",))
    make(tmp_path, "bert", spec)
    pipeline = ogpt.pipeline("text-classification", tmp_path, batch_size=4)
    one_order = classify(tmp_path)["pairs"]
    swapped = [{"text": pair["text_pair"], "text_pair": pair["text"]} for pair in PAIRS]
    model = OpenAIGPTForSequenceClassification.from_pretrained(tmp_path)
    tokenizer = open_tokenizer(tmp_path)
    for place, (found, back) in enumerate(zip(pipeline(PAIRS), pipeline(swapped), strict=True)):
        pair = swapped[place]
        ids = torch.tensor([tokenizer.encode(pair["text"], pair["text_pair"])])
        with torch.no_grad():
            other = model(ids).logits.item()
        assert found["score"] == pytest.approx(one_order[place]["LABEL_0"] + other, abs=1e-5)
        assert found["score"] == pytest.approx(back["score"], abs=1e-5)
    # a text alone has one order; so it does beside pairs
    alone = pipeline(TEXTS[0])[0]["score"]
    assert pipeline([PAIRS[0], TEXTS[0]])[1]["score"] == pytest.approx(alone, abs=1e-6)


def test_truncation_keeps_the_extract_token(folders: dict[str, Path]) -> None:
    pipeline = ogpt.pipeline("text-classification", folders["bert"])
    text = "bad film " * 80
    with collecting() as notices:
        found = pipeline(text, top_k=None)
    assert [notice.kind for notice in notices] == ["text-truncated"]
    with collecting():
        assert pipeline(text, top_k=None, max_length=96) == found
        assert pipeline(text, top_k=None, max_length=20) != found
        kept = pipeline.tokenizer(text, truncation=True, max_length=96).input_ids
    assert len(kept) == 96
    assert kept[-1] == pipeline.tokenizer.convert_tokens_to_ids("_classify_")


def test_two_orders_are_truncated_with_one_notice(tmp_path: Path) -> None:
    make(tmp_path, "bert", TaskSpec(family="similarity", problem="regression"))
    pipeline = ogpt.pipeline("text-classification", tmp_path)
    with collecting() as notices:
        pipeline({"text": "bad film " * 80, "text_pair": "a film"})
    assert [notice.kind for notice in notices] == ["text-truncated"]
