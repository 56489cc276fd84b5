"""Made-up files of the paper's data sets, a few rows each, in every published layout."""

from __future__ import annotations

import json
from pathlib import Path

QUOTE = '"Run, he said.'
"""A field that begins with an unpaired double quote."""
SEPARATOR = "One line\u2028and more."
"""A sentence with a line separator, which str.splitlines would divide."""

Files = dict[str, str]
"""Path below the folder -> content."""


def table(*rows: str, end: str = "\n") -> str:
    """Rows whose cells are written with | between them."""
    return "".join(row.replace("|", "\t") + end for row in rows)


def lines(*objects: dict[str, object]) -> str:
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)


def pair(first: str, second: str, label: str | None, **others: object) -> dict[str, object]:
    gold = {} if label is None else {"gold_label": label}
    return {"annotator_labels": [], "sentence1": first, "sentence2": second, **gold, **others}


def three(pattern: str, train: str, valid: str, test: str) -> Files:
    """Files of the three splits; {} stands for train, dev and test."""
    splits = {"train": train, "dev": valid, "test": test}
    return {pattern.format(name): text for name, text in splits.items()}


# ---- SNLI and MultiNLI: a "-" row, a field that begins with a quote, empty last columns

NLI_HEADER = (
    "gold_label|sentence1_binary_parse|sentence2_binary_parse|sentence1_parse|sentence2_parse|"
    "sentence1|sentence2|captionID|pairID|label1|label2|label3|label4|label5"
)
NLI_ROWS = [
    f"neutral|( A )|( B )|(ROOT A)|(ROOT B)|{QUOTE}|NA|1.jpg#0|1.jpg#0r1n|neutral||||",
    "-|( A )|( B )|(ROOT A)|(ROOT B)|No majority.|n/a|1.jpg#0|1.jpg#0r1e|neutral|entailment|||",
    f"entailment|( A )|( B )|(ROOT A)|(ROOT B)|{SEPARATOR}|A\rB.|2.jpg#0|2.jpg#0r1e|entailment||||",
    "contradiction|( A )|( B )|(ROOT A)|(ROOT B)|A cat.|No cat.|3.jpg#0|3.jpg#0r1c||||neutral|",
]
NLI_TXT = table(NLI_HEADER, *NLI_ROWS)
NLI_JSON = lines(
    pair(QUOTE, "NA", "neutral", pairID="1.jpg#0r1n"),
    pair("No majority.", "n/a", "-", pairID="1.jpg#0r1e"),
    pair(SEPARATOR, "A\rB.", "entailment", pairID="2.jpg#0r1e"),
    pair("A cat.", "No cat.", "contradiction", pairID="3.jpg#0r1c"),
)
HIDDEN_TXT = table(NLI_HEADER, "hidden|||||A cat.|No cat.|x|9|||||")
HIDDEN_JSON = lines(pair("A cat.", "No cat.", "hidden", pairID="9"))

GLUE_MNLI = (
    "index|promptID|pairID|genre|sentence1_binary_parse|sentence2_binary_parse|sentence1_parse|"
    "sentence2_parse|sentence1|sentence2"
)
MNLI_ROW = "{n}|11|11n|fiction|( A )|( B )|(ROOT A)|(ROOT B)|"
MNLI_TRAIN = table(
    GLUE_MNLI + "|label1|gold_label",
    MNLI_ROW.format(n=0) + f"{QUOTE}|NA|entailment|neutral",
    MNLI_ROW.format(n=1) + f"{SEPARATOR}|A\rB.|entailment|entailment",
    MNLI_ROW.format(n=2) + "A cat.|No cat.|contradiction|contradiction",
)
SNLI_TRAIN = table(
    GLUE_MNLI.replace("promptID|pairID|genre", "captionID|pairID") + "|label1|gold_label",
    f"0|1.jpg#0|1.jpg#0r1n|( A )|( B )|(ROOT A)|(ROOT B)|{QUOTE}|NA|neutral|neutral",
    "1|1.jpg#0|1.jpg#0r1e|( A )|( B )|(ROOT A)|(ROOT B)|No majority.|n/a|neutral|-",
    f"2|2.jpg#0|2.jpg#0r1e|( A )|( B )|(ROOT A)|(ROOT B)|{SEPARATOR}|A\rB.|x|entailment",
    "3|3.jpg#0|3.jpg#0r1c|( A )|( B )|(ROOT A)|(ROOT B)|A cat.|No cat.|x|contradiction",
)
MNLI_DEV = table(
    GLUE_MNLI + "|label1|label2|label3|label4|label5|gold_label",
    MNLI_ROW.format(n=0) + "It rained.|It was wet.|neutral|x|x|x|x|entailment",
)
MNLI_TEST = table(GLUE_MNLI, MNLI_ROW.format(n=0) + "A cat.|No cat.")


def multinli(kind: str, text: str, hidden: str) -> Files:
    found = {f"multinli_1.0/multinli_1.0_train.{kind}": text}
    for name in ("matched", "mismatched"):
        found[f"multinli_1.0/multinli_1.0_dev_{name}.{kind}"] = text
        found[f"multinli_0.9_test_{name}_unlabeled.{kind}"] = hidden
    return found


# ---- the others

QNLI = "index|question|sentence"
RTE = "index|sentence1|sentence2"
MSR = "\ufeffQuality|#1 ID|#2 ID|#1 String|#2 String"
QQP = "id|qid1|qid2|question1|question2|is_duplicate"
STS = "index|genre|filename|year|old_index|source1|source2|sentence1|sentence2"
STS_ROW = "0|main-captions|X|2012test|0001|none|none|"
SCITAIL = table(f"{QUOTE}|NA|entails", f"{SEPARATOR}|Light is used.|neutral")
SCITAIL_JSON = lines(pair(QUOTE, "NA", "entailment"), pair(SEPARATOR, "Light is used.", "neutral"))


def race_passage(number: int, *answers: str) -> str:
    return json.dumps(
        {
            "answers": list(answers),
            "options": [["red", "blue", "", "pink"]] * len(answers),
            "questions": ["The hat is _ .", "Who?"][: len(answers)],
            "article": f"Tom has a hat.\n{QUOTE}",
            "id": f"middle{number}.txt",
        }
    )


RACE = {
    f"RACE/{split}/{level}/{number}.txt": race_passage(number, "B", "D")
    for split in ("train", "dev", "test")
    for level in ("middle", "high")
    for number in (10, 2)
}

CLOZE_HEADER = (
    "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,"
    "RandomFifthSentenceQuiz1,RandomFifthSentenceQuiz2"
)
CLOZE = f"{CLOZE_HEADER},AnswerRightEnding\r\n" + "".join(
    f'id-{n},"Ann, {n}, woke.",She was hungry.,She cooked.,She sat.,"She ""ate"".",NA,'
    f"{n % 2 + 1}\r\n"
    for n in range(10)
)
CLOZE_UNLABELLED = f"{CLOZE_HEADER}\r\nid-1,Ann woke.,B.,C.,D.,She ate.,She flew.\r\n"

QQP_ROWS = [
    f"7|13|14|{QUOTE}|NA|1",
    "8|15|16|A broken line|",  # four columns and an empty one
    "9|17|18|How?|What?|What is the step by step guide?",  # the last one is no label
    "10|19|20||An empty question?|0",
    f"11|21|22|How do I bake bread?|{SEPARATOR}|0",
]
QUORA = (
    '"id"\t"qid1"\t"qid2"\t"question1"\t"question2"\t"is_duplicate"\n'
    '"0"\t"1"\t"2"\t"How do ""I""\nbake?"\t"How to bake?"\t"1"\n'
    '"1"\t"3"\t"4"\t"Who?"\t""\t"0"\n'
    '"2"\t"5"\t"6"\t"Who?"\n' + "".join(f'"{n}"\t"5"\t"6"\t"Who?"\t"Why?"\t"0"\n' for n in range(9))
)
TREES = """(3 (2 A) (3 (2 \\/) (4 (2 -LRB-) (4 good))))
(2 (2 So) (2 so))
(1 (2 A) (1 (2 bad) (2 film)))
"""

LAYOUTS: dict[tuple[str, int], Files] = {
    ("snli", 0): three("snli_1.0/snli_1.0_{}.jsonl", NLI_JSON, NLI_JSON, NLI_JSON),
    ("snli", 1): three("snli_1.0/snli_1.0_{}.txt", NLI_TXT, NLI_TXT, NLI_TXT),
    ("snli", 2): three("SNLI/{}.tsv", SNLI_TRAIN, SNLI_TRAIN, SNLI_TRAIN),
    ("mnli", 0): {
        "MNLI/train.tsv": MNLI_TRAIN,
        "MNLI/dev_matched.tsv": MNLI_DEV,
        "MNLI/dev_mismatched.tsv": MNLI_DEV,
        "MNLI/test_matched.tsv": MNLI_TEST,
        "MNLI/test_mismatched.tsv": MNLI_TEST,
    },
    ("mnli", 1): multinli("jsonl", NLI_JSON, HIDDEN_JSON),
    ("mnli", 2): multinli("txt", NLI_TXT, HIDDEN_TXT),
    ("qnli", 0): three(
        "QNLIv2/{}.tsv",
        table(f"{QNLI}|label", f"0|{QUOTE}|NA|entailment", "1|Who?|Ann did.|not_entailment"),
        table(f"{QNLI}|label", "0|Who built it?|Ann.|entailment"),
        table(QNLI, "0|Who built it?|Ann."),
    ),
    ("rte", 0): three(
        "glue_data/RTE/{}.tsv",
        table(
            f"{RTE}|label", f"0|{QUOTE}|NA|entailment", "1|Rain.|Dry.|not_entailment", end="\r\n"
        ),
        table(f"{RTE}|label", "0|Rain fell.|It was wet.|entailment"),
        table(RTE, "0|Rain fell.|It was wet."),
    ),
    ("scitail", 0): three("tsv_format/scitail_1.0_{}.tsv", SCITAIL, SCITAIL, SCITAIL),
    ("scitail", 1): three(
        "snli_format/scitail_1.0_{}.txt", SCITAIL_JSON, SCITAIL_JSON, SCITAIL_JSON
    ),
    ("scitail", 2): three(
        "dgem_format/scitail_1.0_structure_{}.tsv",
        *[SCITAIL.replace("\n", "\tlight<>is<>used$$$a<>b<>c\n")] * 3,
    ),
    ("scitail", 3): three(
        "predictor_format/scitail_1.0_structure_{}.jsonl",
        *[SCITAIL_JSON.replace('"entailment"', '"entails"')] * 3,
    ),
    ("race", 0): RACE,
    ("story-cloze", 0): {
        "cloze_test_val__spring2016 - cloze_test_ALL_val.csv": CLOZE,
        "cloze_test_test__spring2016 - cloze_test_ALL_test.csv": CLOZE,
    },
    ("story-cloze", 1): {
        "cloze_test_val__winter2018-cloze_test_ALL_val - 1 - 1.csv": CLOZE,
        "cloze_test_test__winter2018-cloze_test_ALL_test - 1.csv": CLOZE_UNLABELLED,
    },
    ("mrpc", 0): three(
        "MRPC/{}.tsv",
        table(MSR, f"1|101|102|{QUOTE}|NA", "0|103|104|He left.|She stayed."),
        table(MSR, "1|105|106|He left.|He went."),
        table("index|#1 ID|#2 ID|#1 String|#2 String", "0|107|108|He left.|He went."),
    ),
    ("mrpc", 1): {
        "msr_paraphrase_train.txt": table(
            MSR, f"1|1|2|{QUOTE}|NA", *["0|3|4|He left.|She stayed."] * 9, end="\r\n"
        ),
        "msr_paraphrase_test.txt": table(MSR, "1|5|6|He left.|He went.", end="\r\n"),
    },
    ("qqp", 0): three(
        "QQP/{}.tsv",
        table(QQP, *QQP_ROWS),
        table(QQP, QQP_ROWS[0]),
        table("id|question1|question2", "0|How?|What?"),
    ),
    ("qqp", 1): {"quora_duplicate_questions.tsv": QUORA},
    ("stsb", 0): three(
        "STS-B/{}.tsv",
        table(f"{STS}|score", f"{STS_ROW}{QUOTE}|NA|4.200", f"{STS_ROW}A boy.|A cat.|0"),
        table(f"{STS}|score", f"{STS_ROW}A boy runs.|A child runs.|5.000"),
        table(STS, f"{STS_ROW}A boy runs.|A child runs."),
    ),
    ("stsb", 1): three(
        "stsbenchmark/sts-{}.csv",
        table(
            f"main-captions|MSRvid|2012test|0001|4.200|{QUOTE}|NA",
            "main-news|headlines|2016|0002|0|A boy.|A cat.|source one|source two",
        ),
        *[table("main-captions|MSRvid|2012test|0001|5.000|A boy runs.|A child runs.")] * 2,
    ),
    ("sst2", 0): three(
        "SST-2/{}.tsv",
        table("sentence|label", "NA |1", "a bad film |0"),
        table("sentence|label", "a quiet and tender film |1"),
        table("index|sentence", "0|a quiet film"),
    ),
    ("sst2", 1): three("trees/{}.txt", TREES, TREES, TREES),
    ("cola", 0): three(
        "CoLA/{}.tsv",
        table(f"gj04|1||{QUOTE}", "gj04|0|*|NA"),
        table("gj04|1||She goes."),
        table("index|sentence", "0|She goes."),
    ),
    ("cola", 1): {
        "cola_public/raw/in_domain_train.tsv": table(f"gj04|1||{QUOTE}", "gj04|0|*|NA"),
        "cola_public/raw/in_domain_dev.tsv": table("gj04|1||She goes."),
        "cola_public/raw/out_of_domain_dev.tsv": "c_13\t0\t*\tHim go.",
    },
}
"""The files of each task and layout of the catalogue."""


def write_files(folder: Path, files: Files) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder
