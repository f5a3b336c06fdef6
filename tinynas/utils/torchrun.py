"""Whether torchrun started this process; does not import torch, so that every command can ask."""

import os


def is_under_torchrun() -> bool:
    """Return whether torchrun started this process; `RANK` alone does not tell, since clusters set it for any job."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_silent_rank() -> bool:
    """Return whether torchrun started this process beside the one of rank 0, which alone shows anything."""
    return is_under_torchrun() and os.environ.get("RANK", "0") != "0"
