"""Every published layout of the paper's data sets is found and read, with its traps."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogpt.errors import ConfigError, DamagedData, DataError, SourceNotFound
from ogpt.notices import collecting
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.example import Example
from ogpt.tasks.labels import label_array
from ogpt.tasks.open_task import held_out, open_task
from ogpt.tasks.read_source import read_source
from ogpt.tasks.task_data import TaskData, check_data
from ogpt.tasks.task_file import read_task_file
from ogpt.tasks.task_source import TaskSource
from ogpt.tasks.task_spec import TaskSpec
from tests.tasks.official_files import (
    LAYOUTS,
    MSR,
    NLI_TXT,
    QUOTE,
    RACE,
    SEPARATOR,
    race_passage,
    table,
    write_files,
)


def opened(name: str, folder: Path, needed: tuple[str, ...] = ("train", "valid")) -> TaskData:
    with collecting():  # the files are shorter than the published ones
        return open_task(name, folder, needed)


def test_the_files_of_every_layout_are_tested() -> None:
    layouts = {
        (name, number) for name, task in TASKS.items() for number in range(len(task.layouts))
    }
    assert set(LAYOUTS) == layouts


@pytest.mark.parametrize(("name", "number"), LAYOUTS)
def test_a_layout_is_read(name: str, number: int, tmp_path: Path) -> None:
    task = TASKS[name]
    data = opened(name, write_files(tmp_path / "deep" / "below", LAYOUTS[name, number]))
    kinds = [data.train, *data.valid.values(), *data.test.values()]
    assert data.spec == task.spec()
    assert all(kinds)
    for examples in (data.train, *data.valid.values()):
        assert label_array(examples, data.spec) is not None
        assert all(example.label is not None and all(example.texts[-2:]) for example in examples)
    texts = [text for examples in kinds for example in examples for text in example.texts]
    if name not in ("sst2", "race", "story-cloze", "qqp"):
        assert QUOTE in texts
        assert "NA" in texts
    if task.submissions and data.test:
        assert set(data.test) == set(task.submissions)


def test_snli_and_multinli_drop_rows_without_a_majority(tmp_path: Path) -> None:
    for name, number in (("snli", 0), ("snli", 1), ("snli", 2), ("mnli", 1), ("mnli", 2)):
        folder = tmp_path / f"{name}{number}"
        data = opened(name, write_files(folder, LAYOUTS[name, number]))
        assert data.dropped == {"they have no gold label": 3}
        assert [example.texts for example in data.train] == [
            (QUOTE, "NA"),
            (SEPARATOR, "A\rB."),
            ("A cat.", "No cat."),
        ]
        assert [example.label for example in data.train] == [
            "neutral",
            "entailment",
            "contradiction",
        ]
        if number:
            assert data.train[1].id == "2.jpg#0r1e"
        if name == "mnli":
            assert list(data.valid) == list(data.test) == ["matched", "mismatched"]
            assert data.test["matched"][0].label is None


def test_multinli_of_glue_takes_the_gold_label(tmp_path: Path) -> None:
    data = opened("mnli", write_files(tmp_path, LAYOUTS["mnli", 0]))
    assert [example.label for example in data.train] == ["neutral", "entailment", "contradiction"]
    assert data.valid["mismatched"][0].label == "entailment"


@pytest.mark.parametrize("number", range(4))
def test_scitail_has_one_name_for_entailment(number: int, tmp_path: Path) -> None:
    data = opened("scitail", write_files(tmp_path, LAYOUTS["scitail", number]))
    found = [(example.texts, example.label) for example in data.train]
    assert found == [((QUOTE, "NA"), "entails"), ((SEPARATOR, "Light is used."), "neutral")]


def test_race_has_levels_and_gaps(tmp_path: Path) -> None:
    data = opened("race", write_files(tmp_path, LAYOUTS["race", 0]))
    assert len(data.train) == 8
    assert {name: len(each) for name, each in data.test.items()} == {
        "middle": 4,
        "high": 4,
        "all": 8,
    }
    assert [example.id for example in data.test["middle"]] == [
        "10.txt:1",
        "10.txt:2",
        "2.txt:1",
        "2.txt:2",
    ]
    article, question, *options = data.train[0].texts
    assert (article, question) == (f"Tom has a hat.\n{QUOTE}", "The hat is _ .")
    assert options == ["red", "blue", "_", "pink"]  # one is empty in the file
    assert [example.label for example in data.train[:2]] == [1, 3]


def test_story_cloze_is_split_as_in_the_2018_code(tmp_path: Path) -> None:
    rows = [Example((str(n),), 0) for n in range(1871)]
    train, valid = held_out(rows, 374, 1871)
    assert (len(train), len(valid)) == (1497, 374)
    # computed with scikit-learn 1.9.1: train_test_split(test_size=374, random_state=3535999445)
    assert [one.texts[0] for one in valid[:6]] == ["1058", "198", "1174", "806", "127", "918"]
    assert [one.texts[0] for one in train[:6]] == ["187", "1591", "1646", "169", "1870", "1416"]
    write_files(tmp_path, LAYOUTS["story-cloze", 0])
    with collecting() as notices:
        data = open_task("story-cloze", tmp_path)
    assert {notice.kind for notice in notices} == {"rows-differ", "validation-split"}
    assert (len(data.train), len(data.valid["valid"]), len(data.test["test"])) == (8, 2, 10)
    context = "Ann, 3, woke. She was hungry. She cooked. She sat."
    assert data.test["test"][3].texts == (context, "", 'She "ate".', "NA")
    assert data.test["test"][3].label == 1


def test_the_test_set_of_2018_has_no_labels(tmp_path: Path) -> None:
    write_files(tmp_path, LAYOUTS["story-cloze", 1])
    with collecting() as notices:
        data = open_task("story-cloze", tmp_path)
    assert data.test["test"][0].label is None
    assert "other-release" in {notice.kind for notice in notices}


def test_mrpc_is_split_by_the_ids_of_glue(tmp_path: Path) -> None:
    rows = [f"1|{n}|{n + 1}|A {n}.|B {n}." for n in range(6)]
    files = {**LAYOUTS["mrpc", 1], "msr_paraphrase_train.txt": table(MSR, *rows, end="\r\n")}
    ids = table("#1 ID|#2 ID", "4|5", "1|2", "2|9", end="\r\n")  # 2 is no pair with 9
    write_files(tmp_path, {**files, "glue/mrpc_dev_ids.tsv": ids})
    with collecting() as notices:
        data = open_task("mrpc", tmp_path)
    assert [one.texts[0] for one in data.valid["valid"]] == ["A 1.", "A 4."]
    assert [one.texts[0] for one in data.train] == ["A 0.", "A 2.", "A 3.", "A 5."]
    assert [notice.kind for notice in notices] == ["rows-differ"] * 3
    assert "mrpc_dev_ids.tsv" in notices[2].message
    (tmp_path / "glue" / "mrpc_dev_ids.tsv").unlink()
    with collecting() as notices:
        open_task("mrpc", tmp_path)
    assert notices[-1].kind == "validation-split"


def test_empty_texts_of_a_test_set_without_labels_stay(tmp_path: Path) -> None:
    rows = table("id|question1|question2", "0|How?|What?", "1||What?", "2|How?| ")
    write_files(tmp_path, {**LAYOUTS["qqp", 0], "QQP/test.tsv": rows})
    found = opened("qqp", tmp_path).test["test"]
    assert [one.texts for one in found] == [("How?", "What?"), ("_", "What?"), ("How?", "_")]


def test_broken_and_empty_rows_of_qqp_are_counted(tmp_path: Path) -> None:
    data = opened("qqp", write_files(tmp_path / "glue", LAYOUTS["qqp", 0]))
    assert [example.texts for example in data.train] == [
        (QUOTE, "NA"),
        ("How do I bake bread?", SEPARATOR),
    ]
    assert [example.label for example in data.train] == ["duplicate", "not_duplicate"]
    assert data.dropped == {
        "their columns are not those of the header": 2,
        "a text is empty": 1,
    }
    quora = opened("qqp", write_files(tmp_path / "quora", LAYOUTS["qqp", 1]))
    both = quora.train + quora.valid["valid"]
    assert ('How do "I"\nbake?', "How to bake?") in [example.texts for example in both]
    assert len(both) == 10
    assert sum(quora.dropped.values()) == 2


def test_scores_and_trees(tmp_path: Path) -> None:
    stsb = opened("stsb", write_files(tmp_path / "stsb", LAYOUTS["stsb", 1]))
    assert [example.label for example in stsb.train] == [4.2, 0.0]
    trees = opened("sst2", write_files(tmp_path / "sst", LAYOUTS["sst2", 1]))
    assert [(one.texts, one.label) for one in trees.train] == [
        (("A / ( good",), "positive"),
        (("A bad film",), "negative"),
    ]
    glue = opened("sst2", write_files(tmp_path / "glue", LAYOUTS["sst2", 0]))
    assert glue.train[1].texts == ("a bad film",)  # the blank at its end is cut


def test_the_first_row_of_cola_is_no_header(tmp_path: Path) -> None:
    data = opened("cola", write_files(tmp_path / "glue", LAYOUTS["cola", 0]))
    assert [example.label for example in data.train] == ["acceptable", "unacceptable"]
    assert data.test["test"][0].texts == ("She goes.",)
    public = opened("cola", write_files(tmp_path / "raw", LAYOUTS["cola", 1]))
    assert [example.texts for example in public.valid["valid"]] == [("She goes.",), ("Him go.",)]


def test_a_release_is_known_by_its_rows(tmp_path: Path) -> None:
    header = "index|question|sentence"
    write_files(tmp_path, LAYOUTS["qnli", 0])
    for count, other in ((5_740, False), (5_463, True)):
        rows = [f"{n}|Who?|Ann." for n in range(count)]
        write_files(tmp_path, {"QNLIv2/test.tsv": table(header, *rows)})
        with collecting() as notices:
            open_task("qnli", tmp_path)
        assert ("other-release" in {notice.kind for notice in notices}) is other
        differing = [notice.fields["split"] for notice in notices if notice.kind == "rows-differ"]
        assert differing == ["train", "valid"]


def test_a_source_is_a_data_set_or_files(tmp_path: Path) -> None:
    write_files(tmp_path, LAYOUTS["rte", 0])
    with collecting():
        assert read_source(TaskSource(task="rte", data=tmp_path)) == open_task("rte", tmp_path)
    with pytest.raises(ConfigError, match="the task is rte and --data is missing"):
        read_source(TaskSource(task="rte"))
    with pytest.raises(ConfigError, match="the task is rte and --train is given too"):
        read_source(TaskSource(task="rte", data=tmp_path, train=tmp_path))
    with pytest.raises(ConfigError, match="there is no --task to find in it"):
        read_source(TaskSource(data=tmp_path))
    with pytest.raises(ConfigError, match="task is 'wnli'; allowed: None, snli"):
        TaskSource(task="wnli")


def test_one_official_file_is_read_for_a_fine_tuned_model(tmp_path: Path) -> None:
    write_files(tmp_path, LAYOUTS["snli", 1])
    write_files(tmp_path, RACE)
    with collecting() as notices:
        snli = TASKS["snli"].spec()
        found, _ = read_task_file(tmp_path / "snli_1.0" / "snli_1.0_dev.txt", snli)
    assert found == list(opened("snli", tmp_path).valid["valid"])
    assert [notice.kind for notice in notices] == ["rows-dropped"]
    race = TASKS["race"].spec()
    high = read_task_file(tmp_path / "RACE" / "test" / "high", race)
    assert (len(high.examples), high.split) == (4, "test/high")
    assert len(read_task_file(tmp_path / "RACE" / "test", race).examples) == 8
    with collecting():  # fewer rows than published
        whole = read_task_file(tmp_path / "RACE", race)  # training and test examples
        assert (whole.split, whole.examples) == (
            "valid",
            list(opened("race", tmp_path).valid["valid"]),
        )
        assert read_task_file(tmp_path, race, "test/high") == high
        with pytest.raises(
            ConfigError, match=r"the split is 'test'; allowed for RACE in .*: train, "
        ):
            read_task_file(tmp_path, race, "test")
    with pytest.raises(SourceNotFound, match="RACE is not a file"):
        read_task_file(tmp_path / "RACE", TaskSpec(family="multiple-choice"))
    with pytest.raises(ConfigError, match="a split is allowed only for a folder"):
        read_task_file(tmp_path / "mine.csv", race, "valid")
    write_files(tmp_path, {"mine.csv": "premise,hypothesis\nA cat.,No cat.\n"})
    (mine,), _ = read_task_file(tmp_path / "mine.csv", TASKS["snli"].spec())
    assert mine.texts == ("A cat.", "No cat.")


def test_a_split_is_read_without_the_others(tmp_path: Path) -> None:
    write_files(tmp_path, LAYOUTS["snli", 1])
    for name in ("train", "test"):
        (tmp_path / "snli_1.0" / f"snli_1.0_{name}.txt").write_bytes(b"\xff")  # cannot be read
    with collecting() as notices:
        found = read_task_file(tmp_path, TASKS["snli"].spec(), "valid")
    assert len(found.examples) == 3
    seen = [
        (notice.kind, notice.fields.get("split") or notice.fields["count"]) for notice in notices
    ]
    assert seen == [("rows-differ", "valid"), ("rows-dropped", 1)]


def test_a_part_of_the_training_set_is_read_with_it_alone(tmp_path: Path) -> None:
    write_files(tmp_path, LAYOUTS["story-cloze", 0])
    story = TASKS["story-cloze"].spec()
    kinds: dict[str, list[tuple[str, str | None]]] = {}
    for split, size in (("test", 10), ("valid", 2), ("train", 8)):
        with collecting() as notices:
            assert len(read_task_file(tmp_path, story, split).examples) == size
        kinds[split] = [(notice.kind, notice.fields.get("split")) for notice in notices]
    assert kinds["test"] == [("rows-differ", "test")]
    assert (
        kinds["valid"] == kinds["train"] == [("rows-differ", "train"), ("validation-split", None)]
    )
    (tmp_path / "cloze_test_val__spring2016 - cloze_test_ALL_val.csv").unlink()
    with pytest.raises(SourceNotFound, match=r"the train files of Story Cloze are not in .*_val__"):
        read_task_file(tmp_path, story, "valid")


def test_a_set_that_is_not_there_has_no_splits(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="CoLA is not in"):
        read_task_file(tmp_path, TASKS["cola"].spec(), "test")
    write_files(tmp_path, LAYOUTS["cola", 1])
    with pytest.raises(
        ConfigError, match=r"the split is 'test'; allowed for CoLA in .*: train, valid"
    ):
        read_task_file(tmp_path, TASKS["cola"].spec(), "test")


def test_one_class_of_a_data_set_is_refused(tmp_path: Path) -> None:
    rows = table("index|sentence1|sentence2|label", *["0|A.|B.|entailment"] * 4)
    write_files(tmp_path, {**LAYOUTS["rte", 0], "glue_data/RTE/train.tsv": rows})
    with pytest.raises(
        DataError, match="all 4 training examples of RTE have the label 'entailment'"
    ):
        check_data(opened("rte", tmp_path), 2)


def test_a_training_file_without_rows_is_refused(tmp_path: Path) -> None:
    rows = table("index|sentence1|sentence2|label")
    write_files(tmp_path, {**LAYOUTS["rte", 0], "glue_data/RTE/train.tsv": rows})
    with pytest.raises(DataError, match="there are 0 training examples of RTE") as caught:
        check_data(opened("rte", tmp_path), 2)
    assert caught.value.hint == "check the training files: no row is left of them"


# ---- what is missing


def test_a_missing_set_names_owner_and_terms(tmp_path: Path) -> None:
    (tmp_path / "RACE.tar.gz").write_bytes(b"")
    with pytest.raises(SourceNotFound, match=r"RACE is not in .*train/middle") as error:
        open_task("race", tmp_path)
    assert "https://www.cs.cmu.edu/~glai1/data/race/" in error.value.hint
    assert "non-commercial research" in error.value.hint
    assert "Archives must be unpacked first: RACE.tar.gz" in error.value.hint


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    files = LAYOUTS["rte", 0]
    write_files(tmp_path, {name: text for name, text in files.items() if "dev" not in name})
    with pytest.raises(SourceNotFound, match=r"the valid files of RTE are not in .*RTE/dev.tsv"):
        open_task("rte", tmp_path)
    data = opened("rte", tmp_path, ("test",))
    assert data.valid == {}
    (tmp_path / "glue_data" / "RTE" / "test.tsv").unlink()
    with pytest.raises(SourceNotFound, match="the test files of RTE"):
        open_task("rte", tmp_path, ("train", "test"))


def test_a_missing_test_set_gives_a_notice(tmp_path: Path) -> None:
    files = LAYOUTS["rte", 0]
    write_files(tmp_path, {name: text for name, text in files.items() if "test" not in name})
    with collecting() as notices:
        data = open_task("rte", tmp_path)
    assert data.test == {}
    assert "split-missing" in {notice.kind for notice in notices}


def test_unknown_names_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the task is 'wnli'; allowed: snli, mnli"):
        open_task("wnli", tmp_path)
    with pytest.raises(SourceNotFound, match="is not a folder"):
        open_task("rte", tmp_path / "nowhere")


def test_the_nearest_copy_is_read(tmp_path: Path) -> None:
    write_files(tmp_path / "old" / "copy", LAYOUTS["rte", 0])
    write_files(tmp_path, LAYOUTS["rte", 0])
    write_files(tmp_path, {"glue_data/RTE/._train.tsv": "no data"})
    (tmp_path / "circle").symlink_to(tmp_path)
    with collecting() as notices:
        data = open_task("rte", tmp_path)
    assert data.train[0].place == f"line 2 of {tmp_path}/glue_data/RTE/train.tsv"
    twice = [notice for notice in notices if notice.kind == "data-found-twice"]
    assert [notice.fields["count"] for notice in twice] == [2, 2, 2]


def test_the_folder_of_the_set_itself(tmp_path: Path) -> None:
    write_files(tmp_path, LAYOUTS["rte", 0])
    assert len(opened("rte", tmp_path / "glue_data" / "RTE").train) == 2


# ---- files that cannot be read


def test_a_line_of_another_encoding_is_named(tmp_path: Path) -> None:
    write_files(tmp_path, LAYOUTS["rte", 0])
    file = tmp_path / "glue_data" / "RTE" / "train.tsv"
    file.write_bytes(file.read_bytes() + "2\tCaf\xe9.\tBar.\tentailment\n".encode("latin-1"))
    with pytest.raises(
        DataError, match=r"line 4 of .*train.tsv is not UTF-8: byte 6 of it is 0xe9"
    ):
        open_task("rte", tmp_path)


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ogpt.tasks.readers import decoding_lines

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    write_files(tmp_path, LAYOUTS["rte", 0])
    monkeypatch.setattr(decoding_lines, "open", refuse, raising=False)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        open_task("rte", tmp_path)


BAD: list[tuple[str, int, str, str, type[Exception], str]] = [
    (
        "rte",
        0,
        "glue_data/RTE/train.tsv",
        "index\tquestion\tsentence\tlabel\n",
        DataError,
        "has no column 'sentence1'; its columns are index, question",
    ),
    (
        "rte",
        0,
        "glue_data/RTE/test.tsv",
        table("index|sentence1|sentence2", "0|Rain."),
        DataError,
        "line 2 .* has 2 columns; allowed: 3",
    ),
    ("snli", 0, "snli_1.0/snli_1.0_dev.jsonl", '{"a": \n', DamagedData, "line 1 .* is not JSON"),
    ("snli", 0, "snli_1.0/snli_1.0_dev.jsonl", "\n[1]\n", DamagedData, r"line 2 .*\[1\]; allowed"),
    (
        "snli",
        0,
        "snli_1.0/snli_1.0_dev.jsonl",
        '{"gold_label": "neutral", "sentence1": 3}\n',
        DataError,
        "sentence1 of line 1 .* is 3; allowed: a text",
    ),
    ("race", 0, "RACE/dev/high/2.txt", race_passage(2, "E"), DataError, "is 'E'; allowed: A, B"),
    (
        "race",
        0,
        "RACE/dev/high/2.txt",
        RACE["RACE/dev/high/2.txt"].replace('["B", "D"]', '["B"]'),
        DataError,
        "lists of one length",
    ),
    (
        "race",
        0,
        "RACE/dev/high/2.txt",
        RACE["RACE/dev/high/2.txt"].replace('"red", ', ""),
        DataError,
        "question 1 .* has 3 answers; allowed for RACE: 4",
    ),
    (
        "story-cloze",
        0,
        "cloze_test_val__spring2016 - cloze_test_ALL_val.csv",
        "a,b\nc,d\n",
        DataError,
        "line 2 .* has 2 columns; allowed: 8",
    ),
    (
        "story-cloze",
        0,
        "cloze_test_val__spring2016 - cloze_test_ALL_val.csv",
        "h\n1,A.,B.,C.,D.,E.,F.,first\n",
        DataError,
        "is 'first'; allowed: 1 or 2",
    ),
    (
        "story-cloze",
        0,
        "cloze_test_val__spring2016 - cloze_test_ALL_val.csv",
        'h\n1,"A.,B.,C.\n',
        DataError,
        "cannot be read: unexpected end of data",
    ),
    ("sst2", 1, "trees/train.txt", "\na film\n", DataError, "line 2 .* allowed: a tree such as"),
]


@pytest.mark.parametrize(("name", "number", "path", "text", "kind", "message"), BAD)
def test_a_bad_file(
    name: str,
    number: int,
    path: str,
    text: str,
    kind: type[Exception],
    message: str,
    tmp_path: Path,
) -> None:
    write_files(tmp_path, {**LAYOUTS[name, number], path: text})
    with collecting(), pytest.raises(kind, match=message):
        open_task(name, tmp_path)


def test_an_unknown_label_is_refused_with_its_place(tmp_path: Path) -> None:
    write_files(tmp_path, LAYOUTS["snli", 1])
    write_files(tmp_path, {"snli_1.0/snli_1.0_dev.txt": NLI_TXT.replace("neutral\t(", "maybe\t(")})
    data = opened("snli", tmp_path)
    with pytest.raises(DataError, match=r"line 2 of .* is 'maybe'; allowed: 'contradiction'"):
        label_array(data.valid["valid"], data.spec)
    write_files(tmp_path, LAYOUTS["stsb", 1])
    write_files(tmp_path, {"stsbenchmark/sts-dev.csv": table("a|b|c|d|high|A.|B.")})
    data = opened("stsb", tmp_path)
    with pytest.raises(DataError, match="'high'; allowed: a finite number"):
        label_array(data.valid["valid"], data.spec)
