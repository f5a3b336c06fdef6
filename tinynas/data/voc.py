"""Detection data in the format of Pascal VOC (Everingham et al., 2010): an XML file per image, lists of names."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ..utils.errors import FileError
from ..utils.io import read, read_text
from .annotated import AnnotatedImage, Corners, clip_box, detection_data
from .base import Data
from .paths import require_path

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_YEARS = ("VOC2007", "VOC2012")


def voc(path: Path | None) -> Data:
    """Load VOCdevkit, or one folder of its kind: JPEGImages/, Annotations/ and ImageSets/Main/.

    VOCdevkit (in `path`): the trainval images of the years present (2007, 2012) are for training, the test images of
    2007 for testing. One folder: the list trainval or train is for training, the list test or val for testing; what
    both lists name is for testing only. Objects marked as difficult are dropped.

    Raises:
        InputError: `path` is None.
        FileError: A file is missing or corrupt, or there are too few images.
    """
    path = require_path("voc", path, "the folder with the images and their annotations")
    train: list[AnnotatedImage] = []
    folders = [path / "VOCdevkit" / year for year in _YEARS if (path / "VOCdevkit" / year).is_dir()]
    if folders:
        for folder in folders:
            train += _images(folder, _listed(folder, "trainval"))
        first = path / "VOCdevkit" / _YEARS[0]
        test = _images(first, _listed(first, "test"))
    else:
        test_names = _listed(path, "test", "val")
        train_names = set(_listed(path, "trainval", "train")) - set(test_names)
        train = _images(path, sorted(train_names))
        test = _images(path, test_names)
    return detection_data(path, _classes(train), train, test)


def _classes(images: Sequence[AnnotatedImage]) -> tuple[str, ...]:
    """Return VOC's twenty classes if there are no others, else the classes that occur, sorted."""
    names = {name for image in images for name, _ in image.objects}
    return VOC_CLASSES if names <= set(VOC_CLASSES) else tuple(sorted(names))


def _listed(folder: Path, *lists: str) -> list[str]:
    """Return the names of images in the first of these lists that exists. Raises FileError if none does."""
    files = [folder / "ImageSets" / "Main" / f"{name}.txt" for name in lists]
    for file in files:
        if file.is_file():
            return [line.split()[0] for line in read_text(file).splitlines() if line.strip()]
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder}; expected VOC's, with JPEGImages/, Annotations/ and ImageSets/")
    missing = " or ".join(str(file.relative_to(folder)) for file in files)
    raise FileError(f"{folder} has no {missing}; download the data set again")


def _images(folder: Path, names: Sequence[str]) -> list[AnnotatedImage]:
    images = []
    for name in names:
        image, source = folder / "JPEGImages" / f"{name}.jpg", folder / "Annotations" / f"{name}.xml"
        for file in (image, source):
            if not file.is_file():
                raise FileError(f"{file} is missing, but ImageSets/Main lists {name}; restore it")
        images.append(AnnotatedImage(image=image, source=source, objects=_read_objects(source)))
    return images


def _read_objects(source: Path) -> list[tuple[str, Corners]]:
    """Read an annotation: class name and box (as fractions) of every object that is not difficult."""
    try:
        root = ElementTree.fromstring(read(source))
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the latter two for a wrong encoding
        raise FileError(f"{source} is empty or not XML: {error}; restore it") from None
    objects = []
    try:
        width, height = float(_text(root, "size/width")), float(_text(root, "size/height"))
        for element in root.findall("object"):
            if int(element.findtext("difficult") or "0") == 0:
                objects.append((_text(element, "name"), _box(element)))
    except ValueError as error:
        raise FileError(f"{source} is not an annotation of VOC's: {error}; fix the file") from None
    as_fractions = []
    for name, box in objects:
        x1, y1, x2, y2 = clip_box(source, name, box, (width, height))
        # VOC counts pixels from 1 and includes the last one; a 0, as other tools write, counts as 1.
        as_fractions.append((name, (max(x1 - 1, 0.0) / width, max(y1 - 1, 0.0) / height, x2 / width, y2 / height)))
    return as_fractions


def _box(element: ElementTree.Element) -> Corners:
    x1, y1 = float(_text(element, "bndbox/xmin")), float(_text(element, "bndbox/ymin"))
    return x1, y1, float(_text(element, "bndbox/xmax")), float(_text(element, "bndbox/ymax"))


def _text(element: ElementTree.Element, path: str) -> str:
    """Return the text of a descendant. Raises ValueError if it is missing or empty."""
    text = (element.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"<{element.tag}> without {path}")
    return text
