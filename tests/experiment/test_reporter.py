from dataclasses import replace

import pytest

from tinynas.experiment.reporter import log_progress, log_record
from tinynas.training.progress import Progress

PROGRESS = Progress(
    step=7,
    steps=12,
    epoch=2,
    epochs=2,
    ends_epoch=False,
    loss=1.25,
    lr=0.1,
    batches_per_second=3.0,
    seconds=2.5,
    skipped=0,
)


class Recorder:
    """A reporter that keeps what is reported."""

    def __init__(self):
        self.lines = []

    def advance(self, task, done, total, text):
        self.lines.append(f"{task} {done}/{total}: {text}")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "epoch 2/2, loss 1.250, 3.0 batches/s"),
        ({"skipped": 2}, "epoch 2/2, loss 1.250, 3.0 batches/s, 2 of 7 steps skipped (loss or gradient not finite)"),
        (
            {"skipped": 7, "loss": None},
            "epoch 2/2, loss -, 3.0 batches/s, 7 of 7 steps skipped (loss or gradient not finite)",
        ),
    ],
)
def test_log_progress_shows_skipped_steps_and_no_loss_of_no_steps(changes, text):
    recorder = Recorder()
    log_progress(recorder, "supernet", replace(PROGRESS, **changes))
    assert recorder.lines == [f"supernet 7/12: {text}"]


def test_log_record_without_a_loss_has_none():
    record = log_record(replace(PROGRESS, loss=None, skipped=7))
    assert (record["loss"], record["skipped"]) == (None, 7)
