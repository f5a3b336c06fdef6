"""Where benchmarks find and leave files."""

from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
RESULTS = _ROOT / "benchmarks" / "results"  # saved cells
PAGES = _ROOT / "docs" / "results"  # pages with tables
PICTURES = _ROOT / "docs" / "assets"
SCRATCH = Path("runs/benchmarks")  # checkpoints and models; can be deleted when the tables are complete


def slug(name: str) -> str:
    """Return a name as a part of a file name."""
    return name.replace(" ", "-").replace(",", "").replace("/", "-")


def supernet_run(variant: str) -> Path:
    """Return the run folder of a supernet that was trained in one of the variants of `supernets.py`."""
    return SCRATCH / f"supernet-{slug(variant)}"


def model_in(folder: Path) -> Path:
    """Return the model file of a retraining."""
    return folder / "model.safetensors"
