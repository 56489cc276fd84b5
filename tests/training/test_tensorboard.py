from pathlib import Path

from ogpt.training import tensorboard


def test_numbers_are_drawn(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert tensorboard.available()
    board = tensorboard.TensorBoard(tmp_path)
    train = {"loss": 2.0, "learning_rate": 0.1, "grad_norm": 1.0, "tokens_per_s": 5.0, "mfu": 0.5}
    board("train", step=3, **train, eta_s=1.0)
    board("eval", step=3, loss=1.5, perplexity=4.5, bits_per_byte=1.0)
    board("probe", step=3, name="cola", metric="matthews", value=0.25, normalized=0.7, rows=9)
    board("checkpoint", step=3, path="x")
    board.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Scalars("train/loss")[0].value == 2.0
    assert events.Scalars("eval/bits_per_byte")[0].step == 3
    assert events.Scalars("probe/cola")[0].value == 0.25


def test_what_a_killed_part_drew_is_forgotten(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scores = {"loss": 1.5, "perplexity": 4.5, "bits_per_byte": 1.0}
    for resumed_at, steps in ((0, (1, 2, 3)), (1, (2,))):
        board = tensorboard.TensorBoard(tmp_path, resumed_at)
        for step in steps:
            board("eval", step=step, **scores)
        board.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.step for event in events.Scalars("eval/loss")] == [1, 2]
