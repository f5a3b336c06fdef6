"""How far a training has come. No torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training is, after a step."""

    step: int  # counted from 1
    steps: int
    epoch: int  # of the step, counted from 1
    epochs: int
    ends_epoch: bool
    loss: float | None  # mean over the epoch's steps so far that updated the weights; None if there is none
    lr: float
    batches_per_second: float
    seconds: float  # of all steps so far, in this process and in those before it
    skipped: int  # steps so far that left the weights as they were, their loss or gradient not being finite
