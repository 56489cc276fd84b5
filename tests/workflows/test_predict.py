"""Predictions and scores of fine-tuned models: forms, files, standard input, common prefixes."""

import io
import json
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ogpt
from ogpt.cli.main import app
from ogpt.errors import BackendMissing, ConfigError, DataError, OutputExists, VocabularyMismatch
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import collecting
from ogpt.tasks.example import Example
from ogpt.training.common_prefix import with_common_prefix
from ogpt.training.torch_task_predictor import TorchTaskPredictor
from tests.tasks.small import examples
from tests.workflows.task_models import SHAPE, SPECS, make


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {name: make(name, tmp_path_factory.mktemp(name)) for name in SPECS}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_classes(models):
    found = ogpt.predict(models["classes"], ["a good film", "bad"])
    for one in found:
        assert one.label == max(one.scores, key=one.scores.get)
        assert sum(one.scores.values()) == pytest.approx(1)
    expected = ogpt.pipeline("text-classification", models["classes"])(["a good film", "bad"])
    assert [one.label for one in found] == [row["label"] for row in expected]
    assert [one.scores[one.label] for one in found] == pytest.approx(
        [row["score"] for row in expected], rel=1e-5
    )


def test_other_problems(models):
    (several,) = ogpt.predict(models["several"], [{"text": "a film"}])
    assert several.label == [name for name, share in several.scores.items() if share > 0.5]
    rows = [{"sentence1": "a film", "sentence2": "the end"}]
    (score,) = ogpt.predict(models["scores"], rows)
    (swapped,) = ogpt.predict(models["scores"], [{"sentence1": "the end", "sentence2": "a film"}])
    assert score.scores is None
    assert score.label == pytest.approx(swapped.label, rel=1e-4)  # both orders are added
    (choice,) = ogpt.predict(models["choices"], [{"choices": ["good", "bad", "a"]}])
    assert choice.label == int(np.argmax(choice.scores))
    assert len(choice.scores) == 3


def test_order_is_kept_whatever_the_lengths(models):
    texts = ["a", "a good film with a bad end", "bad film", "the", "what a story this is"] * 20
    alone = [ogpt.predict(models["classes"], [text])[0].scores["good"] for text in texts[:5]]
    found = [one.scores["good"] for one in ogpt.predict(models["classes"], texts)]
    assert found == pytest.approx(alone * 20, rel=1e-4)


def choices_of(*, same: bool):
    rows = [
        Example(("what a good story this is", "", "the end", "a bad film with a good end", "bad")),
        Example(("", "a film", "good", "bad")),
        Example(("a", "", "good film", "good", "good film end")),
    ]
    return rows if same else rows[:1]


def test_a_common_prefix_gives_the_same_scores(models):
    predictor = TorchTaskPredictor(ModelFolder.open(models["choices"]))
    rows = choices_of(same=True)
    alone = predictor.predict(rows, common_prefix=False).logits
    shared = predictor.predict(rows).logits
    assert np.array_equal(np.isinf(alone), np.isinf(shared))
    known = np.isfinite(alone)
    assert np.allclose(alone[known], shared[known], rtol=1e-4, atol=1e-5)
    assert np.ptp(alone[known]) > 0.1


@pytest.mark.parametrize("fault", ["positions", "visible"])
def test_a_planted_fault_of_the_common_prefix_shows(fault, models, monkeypatch):
    predictor = TorchTaskPredictor(ModelFolder.open(models["choices"]))
    alone = predictor.predict(choices_of(same=False), common_prefix=False).logits

    def wrong(rows, pad_id):
        made = with_common_prefix(rows, pad_id)
        n = made.ids.shape[1]
        if fault == "positions":  # counted on from choice to choice
            return made._replace(positions=np.arange(n)[None])
        return made._replace(visible=np.ones_like(made.visible))  # choices see each other

    name = "ogpt.training.torch_task_predictor.with_common_prefix"
    monkeypatch.setattr(name, wrong)
    shared = predictor.predict(choices_of(same=False)).logits
    assert not np.allclose(alone, shared, rtol=1e-4, atol=1e-5)


def test_rows_too_long_to_be_joined_are_computed_alone(models):
    predictor = TorchTaskPredictor(ModelFolder.open(models["choices"]))
    long = Example(("a film", "", *["good bad " * 8 + word for word in ("a", "the", "end")]))
    rows = [*choices_of(same=True), long]  # in one batch with rows that are joined
    alone = predictor.predict(rows, common_prefix=False).logits
    found = predictor.predict(rows).logits
    assert np.array_equal(np.isinf(found), np.isinf(alone))
    assert np.allclose(found[-1, :3], alone[-1, :3], rtol=1e-5)
    known = np.isfinite(alone)
    assert np.allclose(found[known], alone[known], rtol=1e-4, atol=1e-5)


def test_without_torch(models, tmp_path, monkeypatch):
    """As where a run of `--backend tensorflow` was made."""
    data = write(tmp_path / "in.jsonl", [{"text": "a good film", "label": "good"}])
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendMissing, match="a prediction needs PyTorch") as caught:
        ogpt.predict(models["classes"], data)
    assert caught.value.hint == "pip install 'ogpt[torch]'"
    with pytest.raises(BackendMissing, match="the evaluation of a fine-tuned model needs PyTorch"):
        ogpt.evaluate(models["classes"], data)


def test_files_and_formats(models, tmp_path):
    rows = [{"text": "a good film", "id": "x1", "label": "unknown"}, {"text": "bad", "id": "x2"}]
    data = write(tmp_path / "in.jsonl", rows)
    found = ogpt.predict(models["classes"], data, out=tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["x1", "x2"]
    assert [line["label"] for line in lines] == [one.label for one in found]
    ogpt.predict(models["classes"], data, out=tmp_path / "a.tsv", format="glue")
    assert (tmp_path / "a.tsv").read_text() == (
        f"index\tprediction\n0\t{found[0].label}\n1\t{found[1].label}\n"
    )
    choice = {"id": "s1", "context": "a film", "choices": ["good", "bad"]}
    (one,) = ogpt.predict(models["choices"], [choice])
    data = write(tmp_path / "c.jsonl", [choice])
    ogpt.predict(models["choices"], data, out=tmp_path / "a.csv", format="storycloze")
    assert (tmp_path / "a.csv").read_text() == (
        f"InputStoryid,AnswerRightEnding\ns1,{one.label + 1}\n"
    )
    rows = [choice, {**choice, "choices": ["bad", "good"]}]
    found = ogpt.predict(models["choices"], write(tmp_path / "c.jsonl", rows))
    assert {one.label for one in found} == {0, 1}
    ogpt.predict(models["choices"], rows, out=tmp_path / "r.tsv", format="rocstories")
    assert (tmp_path / "r.tsv").read_text() == (
        f"index\tprediction\n0\t{found[0].label}\n1\t{found[1].label}\n"
    )
    pair = {"sentence1": "a", "sentence2": "bad end"}
    (one,) = ogpt.predict(models["scores"], [pair])
    data = write(tmp_path / "p.jsonl", [pair])
    ogpt.predict(models["scores"], data, out=tmp_path / "s.tsv", format="glue")
    assert (tmp_path / "s.tsv").read_text() == (
        f"index\tprediction\n0\t{min(5, max(0, one.label)):.3f}\n"
    )


def test_skipped_rows_keep_their_place(models, tmp_path):
    texts = ["a good film", "bad " * 90, "bad"]
    out = tmp_path / "out.jsonl"
    with collecting() as notices:
        found = ogpt.predict(models["classes"], texts, on_too_long="skip", out=out)
    assert [notice.kind for notice in notices] == ["examples-skipped"]
    assert found[::2] == ogpt.predict(models["classes"], texts[::2])
    assert (found[1].label, found[1].scores) == (None, None)
    lines = out.read_text("utf-8").splitlines()
    assert json.loads(lines[1]) == {"label": None}
    with collecting(), pytest.raises(ConfigError, match="1 of 3 examples were skipped"):
        ogpt.predict(
            models["classes"], texts, on_too_long="skip", format="glue", out=tmp_path / "a.tsv"
        )
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]
    with collecting(), pytest.raises(DataError, match="all 1 examples of the data are too long"):
        ogpt.predict(models["classes"], texts[1:2], on_too_long="skip")


def test_predictions_that_are_not_numbers_are_refused(models, tmp_path):
    folder = make("classes", tmp_path / "model")
    model = ogpt.OpenAIGPTForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.transformer.h[-1].ln_2.weight.fill_(3e38)  # the products overflow
    model.save_pretrained(folder)
    with pytest.raises(DataError, match="the predictions of 2 of 2 examples are NaN or infinite"):
        ogpt.predict(folder, ["a", "bad"])


def test_a_folder_takes_only_submissions_of_known_names(models, tmp_path):
    for form in ("glue", "jsonl"):
        with pytest.raises(ConfigError, match=f"a folder; allowed for {form} and these examples"):
            ogpt.predict(models["classes"], ["a"], out=tmp_path, format=form)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("several", "glue"),
        ("choices", "glue"),
        ("classes", "storycloze"),
        ("classes", "rocstories"),
    ],
)
def test_a_format_of_another_task_is_refused(name, form, models, tmp_path):
    row = {"text": "a"} if name != "choices" else {"choices": ["a", "the"]}
    given = {"out": tmp_path / "x", "format": form, "reporter": pytest.fail}
    with pytest.raises(ConfigError, match=f"format is '{form}'; allowed for"):
        ogpt.predict(models[name], [row], **given)  # before any work
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused(models):
    match = "format is 'xml'; allowed for single_label_classification of classification: jsonl, gl"
    with pytest.raises(ConfigError, match=match):
        ogpt.predict(models["classes"], ["a"], format="xml")


def test_standard_input(models, monkeypatch):
    def piped(name, text):
        stdin = io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8")
        monkeypatch.setattr(sys, "stdin", stdin)
        return ogpt.predict(models[name], "-")

    plain = piped("classes", "a good film\nbad\n")
    assert plain == piped("classes", '{"text": "a good film"}\n{"text": "bad"}\n')
    with pytest.raises(DataError, match="example 1 is 'a film'; allowed for entailment: a JSON"):
        piped("pairs", "a film\n")
    with pytest.raises(DataError, match="there are no examples"):
        piped("classes", "")


@pytest.mark.parametrize(
    ("name", "line", "options", "error"),
    [
        ("choices", b"{", {}, "example 3 is '{'; allowed for multiple-choice: a JSON object"),
        ("classes", b'{"text": 3}', {}, "text of example 3 is 3, int; allowed: a text"),
        ("classes", b'{"body": "a"}', {}, "example 3 has no column 'text'"),
        ("classes", b" ", {}, "text 1 of example 3, ' ', has no tokens"),
        ("classes", b"bad " * 90, {"on_too_long": "error"}, "example 3 is .* tokens too long"),
        ("classes", b"a \xff", {}, "standard input is not utf-8: byte .* is 0xff"),
    ],
    ids=str,
)
def test_lines_before_a_damaged_one_are_answered(name, line, options, error, models, monkeypatch):
    """Also where they arrive together with it."""
    row = {"choices": ["good", "bad"]} if name == "choices" else {"text": "a good film"}
    lines = [*[json.dumps(row).encode()] * 2, line, b"bad"]
    stdin = io.TextIOWrapper(io.BytesIO(b"\n".join(lines)), "utf-8")
    monkeypatch.setattr(sys, "stdin", stdin)
    answers = []
    with pytest.raises(DataError, match=error):
        ogpt.predict(models[name], "-", on_prediction=answers.append, **options)
    [expected] = ogpt.predict(models[name], [row])
    assert [one.label for one in answers] == [expected.label] * 2
    with pytest.raises(DataError):  # a list is checked before the work
        ogpt.predict(models["choices"], [row, {}], on_prediction=pytest.fail)


class Conversation(io.RawIOBase):
    """A pipe into which someone writes a line, reads its answer, and writes the next line."""

    def __init__(self, lines, answers):
        self.lines, self.answers, self.given = lines, answers, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        assert len(self.answers) == self.given
        line = (self.lines[self.given] + "\n").encode() if self.given < len(self.lines) else b""
        self.given += bool(line)
        buffer[: len(line)] = line
        return len(line)


def test_each_line_of_a_pipe_is_answered_before_the_next(models, monkeypatch):
    lines, answers, events = ["a good film", "bad " * 90, "bad"], [], []

    def reporter(kind, /, **fields):
        events.append(kind)

    def answered(name, given):
        answers.clear()
        stream = io.BufferedReader(Conversation(given, answers))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream, "utf-8"))
        return ogpt.predict(
            models[name],
            "-",
            on_too_long="skip",
            on_prediction=answers.append,
            reporter=reporter,
        )

    with collecting():
        found = answered("classes", lines)
        whole = ogpt.predict(models["classes"], lines, on_too_long="skip")
    assert found == answers
    assert [one.label for one in found] == [one.label for one in whole]
    assert found[2].scores == pytest.approx(whole[2].scores)
    assert not events  # no progress of single lines
    choice = json.dumps({"choices": ["good", "bad", "a"]})
    assert len(answered("choices", [choice, choice])) == 2
    with pytest.raises(DataError, match=r"example 2 is '{'; allowed for multiple-choice"):
        answered("choices", [choice, "{"])
    assert len(answers) == 1


def test_the_command_prints_one_object_a_line(models):
    found = CliRunner().invoke(
        app, ["predict", str(models["classes"]), "--data", "-"], input="a good film\nbad\n"
    )
    assert found.exit_code == 0
    assert [sorted(json.loads(line)) for line in found.stdout.splitlines()] == [
        ["label", "scores"]
    ] * 2
    words = ["predict", str(models["choices"]), "--data", "-", "--format", "rocstories"]
    found = CliRunner().invoke(app, words, input='{"choices": ["good", "bad"]}\n')
    assert found.stdout.startswith("index\tprediction\n0\t")


def test_a_model_without_a_task_is_refused(tmp_path):
    config = ogpt.OpenAIGPTConfig(vocab_size=9, **SHAPE)
    ogpt.OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="was not fine-tuned by ogpt"):
        ogpt.predict(tmp_path, ["a"])


def test_a_tokenizer_that_outgrew_the_model_is_refused(models, tmp_path):
    folder = make("classes", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["vocab_size"] -= 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(VocabularyMismatch):
        ogpt.predict(folder, ["a"])


def test_evaluate_scores_a_task(models, tmp_path):
    rows = [
        {"text": example.texts[0], "label": example.label}
        for example in examples("classification", 24)
    ]
    data = write(tmp_path / "d.jsonl", rows)
    found = ogpt.evaluate(models["classes"], data, out=tmp_path / "report")
    predicted = ogpt.predict(models["classes"], data)
    right = [one.label == row["label"] for one, row in zip(predicted, rows, strict=True)]
    assert found.scores["accuracy"].value == pytest.approx(np.mean(right))
    names = {file.name for file in (tmp_path / "report").iterdir()}
    assert names == {
        *("scores.json", "report.md", "hardest.jsonl", "confusion.png", "calibration.png")
    }
    facts = json.loads((tmp_path / "report" / "scores.json").read_text("utf-8"))
    assert facts["scores"]["accuracy"] == found.scores["accuracy"]._asdict()
    assert facts["calibration_error"] == found.calibration_error
    page = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert f"| expected calibration error | {found.calibration_error:.4f} | |" in page
    assert "# Scores of 24 examples" in page
    assert "in the paper" not in page
    lines = (tmp_path / "report" / "hardest.jsonl").read_text("utf-8").splitlines()
    hardest = [json.loads(line) for line in lines]
    losses = [row["loss"] for row in hardest]
    assert losses == sorted(losses, reverse=True)
    assert (tmp_path / "report" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputExists):
        ogpt.evaluate(models["classes"], data, out=tmp_path / "report")


@pytest.mark.parametrize(
    ("name", "row", "pictures"),
    [
        ("several", {"text": "a", "label": ["x"]}, set()),
        ("scores", {"sentence1": "a", "sentence2": "the"}, {"scatter.png"}),
        ("choices", {"choices": ["a", "the"]}, {"confusion.png", "calibration.png"}),
    ],
)
def test_evaluate_other_problems(name, row, pictures, models, tmp_path):
    labels = {"scores": [0.5, 2.0, 4.5], "choices": [0, 1, 0], "several": [["x"], ["y"], []]}
    rows = [{**row, "score" if name == "scores" else "label": n} for n in labels[name]]
    data = write(tmp_path / "d.jsonl", rows)
    with collecting():  # equal predictions have no correlation
        found = ogpt.evaluate(models[name], data, out=tmp_path / "report")
    assert found.examples == 3
    assert {file.name for file in (tmp_path / "report").glob("*.png")} == pictures


def test_evaluate_cuts_skips_or_refuses_what_is_too_long(models, tmp_path):
    rows = [{"text": text, "label": "bad"} for text in ("a film", "bad " * 90, "bad")]
    data = write(tmp_path / "d.jsonl", rows)
    with collecting() as notices:
        assert ogpt.evaluate(models["classes"], data).examples == 3
        assert ogpt.evaluate(models["classes"], data, on_too_long="skip").examples == 2
    assert [notice.kind for notice in notices] == ["examples-cut", "examples-skipped"]
    with pytest.raises(DataError, match=r"d.jsonl, line 2 is \d+ tokens too long"):
        ogpt.evaluate(models["classes"], data, on_too_long="error")


def test_what_cannot_be_evaluated_is_refused(models, tmp_path):
    bare = write(tmp_path / "b.jsonl", [{"text": "a", "gold": "bad"}])
    with pytest.raises(DataError, match="no column 'label' for the label; its columns are text, g"):
        ogpt.evaluate(models["classes"], bare)
    data = write(tmp_path / "d.jsonl", [{"text": "a", "label": ""}])
    with pytest.raises(DataError, match="have no labels"):
        ogpt.evaluate(models["classes"], data)
    odd = write(tmp_path / "e.jsonl", [{"text": "a", "label": "awful"}])
    with pytest.raises(DataError, match=r"e.jsonl, line 1 is 'awful'; allowed: 'bad', 'good'"):
        ogpt.evaluate(models["classes"], odd)
    with pytest.raises(ConfigError, match=r"the split is 'valid' and the data is .*d.jsonl"):
        ogpt.evaluate(models["classes"], data, split="valid")
    with pytest.raises(ConfigError, match="a text passed for a fine-tuned model"):
        ogpt.evaluate(models["classes"], text="a film")
    with pytest.raises(ConfigError, match="2 sources passed for a fine-tuned model"):
        ogpt.evaluate(models["classes"], [str(data), str(odd)])
