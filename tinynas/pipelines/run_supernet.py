"""A run's search space and trained supernet, for the data it was trained on."""

from pathlib import Path

from ..arch.space import SearchSpace
from ..arch.zoo import load_space, shipped_spaces
from ..data.base import Data
from ..experiment.run_folder import read_config
from ..models.supernet import Supernet
from ..tasks.registry import fit_to_data
from ..training.checkpoint import read_checkpoint
from ..utils.errors import FileError
from ..utils.io import read_text
from ..utils.schema import read_yaml


def space_text(run: Path, space: str) -> str:
    """The YAML of a run's search space: as the run keeps it, else a shipped one or a file's. Raises FileError."""
    if (run / "space.yaml").exists():
        return read_text(run / "space.yaml")
    load_space(space)  # names what is wrong with it
    return shipped_spaces().get(space) or read_text(Path(space))


def space_for(data: Data, text: str, where: str) -> SearchSpace:
    """A space from YAML, with the data's colours and classes and, for detectors, anchors. Raises InputError."""
    return fit_to_data(SearchSpace.from_dict(read_yaml(text, where)), data)


def read_supernet(run: Path, data: Data) -> Supernet:
    """A run's trained supernet, for the data it was trained on. Raises FileError."""
    path = run / "space.yaml"
    supernet = Supernet(space_for(data, read_text(path), str(path)))
    try:
        supernet.load_state_dict(read_checkpoint(run / "supernet.pt")["model"])
    except RuntimeError:
        shape = f"{len(data.classes)} classes and {data.channels} colours"
        trained_on = read_config(run / "config.yaml").get("data")
        raise FileError(
            f"the supernet of {run}, trained on {trained_on}, is of other data than one of {shape}"
        ) from None
    return supernet
