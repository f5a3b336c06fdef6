"""How far a training has come. No torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training is, after one more step."""

    step: int
    steps: int
    epoch: int  # that the step was in, from 1
    epochs: int
    ends_epoch: bool
    loss: float  # mean over the epoch so far
    lr: float
    batches_per_second: float
    seconds: float  # spent on all steps so far, in this process and before
    skipped: int  # steps without update so far, their loss or gradient being not finite
