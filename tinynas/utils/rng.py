"""Random generators seeded by (seed, purpose, step)."""

from zlib import crc32

import numpy as np


def generator(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """The random generator of one purpose at one step: a resumed run draws what it would have drawn."""
    return np.random.default_rng([seed, crc32(purpose.encode()), step])
