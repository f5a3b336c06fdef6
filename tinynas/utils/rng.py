"""Random generators seeded by (seed, purpose, step)."""

from zlib import crc32

import numpy as np


def generator(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """Return the random generator of one purpose at one step, so that a resumed run draws what it would have drawn.

    Args:
        seed: Of the run.
        purpose: What the numbers are for; different purposes have independent generators.
        step: E.g. the number of the epoch, the training step or the trial.
    """
    return np.random.default_rng([seed, crc32(purpose.encode()), step])
