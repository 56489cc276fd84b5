"""A reproduction in small, for tests of its data, page and command."""

from ogpt.evaluation.paper_results import (
    MissingSet,
    PaperScore,
    ProbeCurve,
    Reproduction,
    RunsFacts,
    paper_score,
)
from ogpt.evaluation.paper_tables import FULL, TABLE_3, Column
from ogpt.evaluation.task_scores import TaskScore

MIDDLE, HIGH, ALL = TABLE_3.columns[1:]
RACE = {
    "test/middle": TaskScore(0.6, 0.5, 0.7),
    "test/high": TaskScore(0.5, 0.4, 0.6),
    "test/all": TaskScore(0.55, 0.45, 0.65),
    "valid": TaskScore(0.3, 0.2, 0.4),
}
EXAMPLES = dict.fromkeys(RACE, 10)


def scored(column: Column, *runs: dict[str, TaskScore]) -> PaperScore:
    return paper_score(TABLE_3, FULL, column, "accuracy", runs, EXAMPLES)


MADE = Reproduction(
    table="table-3",
    title="Table 3",
    remark="A remark.",
    variants={"full": "Full"},
    scores=(scored(MIDDLE, RACE), scored(HIGH)),
    runs=(
        RunsFacts(
            variant="full",
            task="RACE",
            seeds=1,
            examples=9,
            wall_s=3725.4,
            flops=1.5e12,
            machine="cpu",
        ),
    ),
    missing=(MissingSet(title="Story Cloze", owner="https://a.b", licence="c", reason="d"),),
    absent={"full": "make one"},
    notes=("a note",),
    curves=(ProbeCurve(model="LSTM", name="x", steps=(1,), normalized=(0.5,)),),
    pending=2,
    facts={"ogpt": "1"},
)
