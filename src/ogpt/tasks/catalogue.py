"""The twelve data sets of the paper: one row for each. A thirteenth is one row and one test.

Names of files, columns and numbers of rows are those of the owners' archives and of GLUE. Scores
are those of the paper's tables 2 to 4; GLUE's are of its test server, QNLI's of its version 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ogpt.tasks.layouts import (
    json_pairs,
    multinli_files,
    race_files,
    story_cloze,
    tabbed,
    three_files,
    three_rows,
)
from ogpt.tasks.published import Facts, Layout, Release, Task
from ogpt.tasks.readers.json_records import read_race
from ogpt.tasks.readers.quoted import read_quora
from ogpt.tasks.readers.trees import read_trees
from ogpt.tasks.task_spec import TaskSpec

_PAIR = ("sentence1", "sentence2")


_SNLI = three_rows("SNLI 1.0", 549_367, 9_842, 9_824)
_MNLI = Release(
    "MultiNLI",
    {
        "train": 392_702,
        "valid/matched": 9_815,
        "valid/mismatched": 9_832,
        "test/matched": 9_796,
        "test/mismatched": 9_847,
    },
)
_SCITAIL = three_rows("SciTail 1.1", 23_596, 1_304, 2_126)
_MRPC_CLASSES = ("not_equivalent", "equivalent")
_QQP_CLASSES = ("not_duplicate", "duplicate")
_QQP = (
    three_rows("QQP.zip", 363_849, 40_430, 390_965),
    three_rows("QQP-clean.zip", 363_846, 40_430, 390_965),
)
_SST_CLASSES = ("negative", "positive")
_COLA_CLASSES = ("unacceptable", "acceptable")
_COLA_COLUMNS = ("source", "label", "mark", "sentence")
_STS_COLUMNS = ("genre", "filename", "year", "old_index", "score", *_PAIR, "source1", "source2")
_STSB = three_rows("STS benchmark", 5_749, 1_500, 1_379)


def _task(facts: Facts, *layouts: Layout) -> Task:
    return Task(layouts=layouts, **facts)


_ALL = (
    _task(
        {
            "name": "snli",
            "title": "SNLI",
            "family": "entailment",
            "labels": ("entailment", "neutral", "contradiction"),
            "owner": "https://nlp.stanford.edu/projects/snli/",
            "licence": "CC BY-SA 4.0",
            "paper": {"test": 89.9},
        },
        json_pairs("jsonl files of snli_1.0.zip", three_files("snli_1.0_{}.jsonl"), _SNLI),
        tabbed(
            "txt files of snli_1.0.zip",
            three_files("snli_1.0_{}.txt"),
            _PAIR,
            _SNLI,
            label="gold_label",
            id="pairID",
        ),
        tabbed("GLUE", three_files("SNLI/{}.tsv"), _PAIR, _SNLI, label="gold_label", id="pairID"),
    ),
    _task(
        {
            "name": "mnli",
            "title": "MultiNLI",
            "family": "entailment",
            "labels": ("entailment", "neutral", "contradiction"),
            "owner": "https://cims.nyu.edu/~sbowman/multinli/",
            "licence": "OANC terms; fiction: CC BY 3.0, CC BY-SA 3.0 or public domain",
            "paper": {"matched": 82.1, "mismatched": 81.4},
            "submissions": {"matched": "MNLI-m.tsv", "mismatched": "MNLI-mm.tsv"},
        },
        tabbed(
            "GLUE",
            multinli_files("MNLI/{}.tsv", "MNLI/test_{}.tsv"),
            _PAIR,
            _MNLI,
            label="gold_label",
        ),
        json_pairs(
            "jsonl files of multinli_1.0.zip",
            multinli_files("multinli_*_{}.jsonl", "multinli_*_test_{}_unlabeled.jsonl"),
            _MNLI,
        ),
        tabbed(
            "txt files of multinli_1.0.zip",
            multinli_files("multinli_*_{}.txt", "multinli_*_test_{}_unlabeled.txt"),
            _PAIR,
            _MNLI,
            label="gold_label",
            id="pairID",
        ),
    ),
    _task(
        {
            "name": "qnli",
            "title": "QNLI",
            "family": "entailment",
            "labels": ("entailment", "not_entailment"),
            "owner": "https://gluebenchmark.com/tasks",
            "licence": "CC BY-SA 4.0 (made of SQuAD 1.1)",
            "paper": {"test": 88.1},
            "submissions": {"test": "QNLI.tsv"},
        },
        tabbed(
            "GLUE",
            three_files("QNLI*/{}.tsv"),
            ("question", "sentence"),
            three_rows("QNLI version 1", 108_436, 5_732, 5_740),
            three_rows("QNLI version 2", 104_743, 5_463, 5_463, papers=False),
        ),
    ),
    _task(
        {
            "name": "rte",
            "title": "RTE",
            "family": "entailment",
            "labels": ("entailment", "not_entailment"),
            "owner": "https://gluebenchmark.com/tasks",
            "licence": "terms of the RTE challenges; GLUE states none",
            "paper": {"test": 56.0},
            "submissions": {"test": "RTE.tsv"},
        },
        tabbed("GLUE", three_files("RTE/{}.tsv"), _PAIR, three_rows("RTE", 2_490, 277, 3_000)),
    ),
    _task(
        {
            "name": "scitail",
            "title": "SciTail",
            "family": "entailment",
            "labels": ("entails", "neutral"),
            "owner": "https://allenai.org/data/scitail",
            "licence": "see the page of its owner",
            "paper": {"test": 88.3},
        },
        tabbed(
            "tsv_format of SciTailV1.1.zip",
            three_files("scitail_1.0_{}.tsv"),
            ("premise", "hypothesis"),
            _SCITAIL,
            columns=("premise", "hypothesis", "label"),
        ),
        json_pairs(
            "snli_format of SciTailV1.1.zip",
            three_files("scitail_1.0_{}.txt"),
            _SCITAIL,
            {"entailment": "entails"},
        ),
        tabbed(
            "dgem_format of SciTailV1.1.zip",
            three_files("scitail_1.0_structure_{}.tsv"),
            ("premise", "hypothesis"),
            _SCITAIL,
            columns=("premise", "hypothesis", "label", "structure"),
        ),
        json_pairs(
            "predictor_format of SciTailV1.1.zip",
            three_files("scitail_1.0_structure_{}.jsonl"),
            three_rows("SciTail 1.1, rows with a structure", 23_587, 1_304, 2_126),
            {"entailment": "entails"},
        ),
    ),
    _task(
        {
            "name": "race",
            "title": "RACE",
            "family": "multiple-choice",
            "choices": 4,
            "owner": "https://www.cs.cmu.edu/~glai1/data/race/",
            "licence": "on request, for non-commercial research; no redistribution",
            "paper": {"middle": 62.9, "high": 57.4, "all": 59.0},
        },
        Layout(
            title="RACE.tar.gz",
            files={
                "train": race_files("train", "middle", "high"),
                "valid": race_files("dev", "middle", "high"),
                "test/middle": race_files("test", "middle"),
                "test/high": race_files("test", "high"),
                "test/all": race_files("test", "middle", "high"),
            },
            columns=("article", "questions", "options", "answers"),
            read=read_race,
            releases=(
                Release(
                    "RACE",
                    {
                        "train": 87_866,
                        "valid": 4_887,
                        "test/middle": 1_436,
                        "test/high": 3_498,
                        "test/all": 4_934,
                    },
                ),
            ),
        ),
    ),
    _task(
        {
            "name": "story-cloze",
            "title": "Story Cloze",
            "family": "multiple-choice",
            "choices": 2,
            "owner": "https://cs.rochester.edu/nlp/rocstories/",
            "licence": "on request; no redistribution",
            "paper": {"test": 86.5},
        },
        story_cloze("spring 2016", "spring2016", 1_871, 374, papers=True),
        story_cloze("winter 2018", "winter2018", 1_571, 314, papers=False),
    ),
    _task(
        {
            "name": "mrpc",
            "title": "MRPC",
            "family": "similarity",
            "labels": ("not_equivalent", "equivalent"),
            "metrics": ("f1", "accuracy"),
            "positive": "equivalent",
            "owner": "https://www.microsoft.com/en-us/download/details.aspx?id=52398",
            "licence": "Microsoft Research shared source licence, non-commercial use only",
            "paper": {"test": 82.3},
            "submissions": {"test": "MRPC.tsv"},
            "submits": "id",
        },
        tabbed(
            "GLUE",
            three_files("MRPC/{}.tsv"),
            ("#1 String", "#2 String"),
            three_rows("MRPC as split by GLUE", 3_668, 408, 1_725),
            label="Quality",
            labels=_MRPC_CLASSES,
        ),
        tabbed(
            "MSRParaphraseCorpus.msi",
            {
                "train": ("msr_paraphrase_train.txt",),
                "test": ("msr_paraphrase_test.txt",),
            },
            ("#1 String", "#2 String"),
            Release("MRPC", {"train": 4_076, "test": 1_725}),
            label="Quality",
            labels=_MRPC_CLASSES,
            id="#1 ID,#2 ID",
            hold_out=408,
            valid_ids="mrpc_dev_ids.tsv",
        ),
    ),
    _task(
        {
            "name": "qqp",
            "title": "QQP",
            "family": "similarity",
            "labels": ("not_duplicate", "duplicate"),
            "metrics": ("f1", "accuracy"),
            "positive": "duplicate",
            "owner": "https://gluebenchmark.com/tasks",
            "licence": "Quora's terms of service, non-commercial use only",
            "paper": {"test": 70.3},
            "submissions": {"test": "QQP.tsv"},
            "submits": "id",
        },
        tabbed(
            "GLUE",
            three_files("QQP/{}.tsv"),
            ("question1", "question2"),
            *_QQP,
            label="is_duplicate",
            labels=_QQP_CLASSES,
            id="id",
        ),
        Layout(
            title="Quora's own file",
            files={"train": ("quora_duplicate_questions.tsv",)},
            columns=("question1", "question2", "is_duplicate"),
            read=partial(read_quora, names={"0": "not_duplicate", "1": "duplicate"}),
            releases=(Release("Quora's own file", {"train": 404_290}, papers=False),),
            hold_out=40_430,
        ),
    ),
    _task(
        {
            "name": "stsb",
            "title": "STS-B",
            "family": "similarity",
            "problem": "regression",
            "metrics": ("pearson", "spearman"),
            "owner": "http://ixa2.si.ehu.es/stswiki/index.php/STSbenchmark",
            "licence": "scores CC BY-SA 4.0; the texts under the terms of their sources",
            "paper": {"test": 82.0},
            "submissions": {"test": "STS-B.tsv"},
            "submits": "score",
        },
        tabbed("GLUE", three_files("STS*B/{}.tsv"), _PAIR, _STSB, label="score", score=True),
        tabbed(
            "Stsbenchmark.tar.gz",
            three_files("sts-{}.csv"),
            _PAIR,
            _STSB,
            label="score",
            columns=_STS_COLUMNS,
            score=True,
        ),
    ),
    _task(
        {
            "name": "sst2",
            "title": "SST-2",
            "family": "classification",
            "labels": ("negative", "positive"),
            "owner": "https://nlp.stanford.edu/sentiment/",
            "licence": "not stated by its owner",
            "paper": {"test": 91.3},
            "submissions": {"test": "SST-2.tsv"},
            "submits": "id",
        },
        tabbed(
            "GLUE",
            three_files("SST-2/{}.tsv"),
            ("sentence",),
            three_rows("SST-2 with phrases", 67_349, 872, 1_821),
            labels=_SST_CLASSES,
        ),
        Layout(
            title="trainDevTestTrees_PTB.zip",
            files=three_files("trees/{}.txt"),
            columns=("the words of the tree", "label of its root"),
            read=read_trees,
            releases=(three_rows("SST-2, sentences alone", 6_920, 872, 1_821, papers=False),),
        ),
    ),
    _task(
        {
            "name": "cola",
            "title": "CoLA",
            "family": "classification",
            "labels": ("unacceptable", "acceptable"),
            "metrics": ("matthews", "accuracy"),
            "owner": "https://nyu-mll.github.io/CoLA/",
            "licence": "the texts belong to their publishers; research is believed to be fair use",
            "paper": {"test": 45.4},
            "submissions": {"test": "CoLA.tsv"},
            "submits": "id",
        },
        tabbed(
            "GLUE",
            three_files("CoLA/{}.tsv"),
            ("sentence",),
            three_rows("CoLA", 8_551, 1_043, 1_063),
            labels=_COLA_CLASSES,
            columns=_COLA_COLUMNS,
        ),
        tabbed(
            "cola_public_1.1.zip",
            {
                "train": ("raw/in_domain_train.tsv",),
                "valid": ("raw/in_domain_dev.tsv", "raw/out_of_domain_dev.tsv"),
            },
            ("sentence",),
            Release("CoLA", {"train": 8_551, "valid": 1_043}),
            labels=_COLA_CLASSES,
            columns=_COLA_COLUMNS,
        ),
    ),
)

TASKS: Mapping[str, Task] = {task.name: task for task in _ALL}
"""The data sets by name."""


def paper_scores(spec: TaskSpec) -> dict[str, float]:
    """The paper's score on each test set, 0 to 1, by the first measure; of other data none."""
    paper = TASKS[spec.name].paper if spec.name in TASKS else {}
    return {name: round(percent / 100, 4) for name, percent in paper.items()}
