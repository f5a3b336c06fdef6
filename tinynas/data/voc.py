"""Detection data in the format of Pascal VOC (Everingham et al., 2010): an XML file per image, lists of names."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..utils.text import counted
from .annotated import AnnotatedPart, detection_data
from .annotated_split import hold_out_test
from .base import Data
from .paths import require_path
from .pixel_boxes import AnnotatedImage
from .voc_folders import VocFolders, find_annotated
from .voc_lists import IMAGES, LISTS, ListedImage, find_list, lines_of, listed_images

_YEARS = ("VOC2007", "VOC2012")


def voc(path: Path | None) -> Data:
    """Load VOCdevkit, or one folder of its kind: JPEGImages/, Annotations/ and ImageSets/Main/.

    VOCdevkit (in `path`): the trainval images of the years present (2007, 2012) are for training, the test images of
    2007 for testing. One folder: the list trainval or train is for training, the list test or val for testing; what
    both lists name is for testing only. The names of the lists may be in upper case, and valid or validation for val.
    Without any lists: annotations beside the images, or in a folder of their own, as images/ and annotations/; in
    train/, val/ and test/, or a fifth of the images for testing.

    Images have any format that is read. The classes are the names of the objects to train on, sorted. Objects marked as
    difficult are left out of the images to train on. A size that is missing or 0 is taken from the image.

    Raises:
        InputError: `path` is None.
        FileError: A file is missing or corrupt, contradicts its image, or there are too few images.
    """
    path = require_path("voc", path, "the folder with the images and their annotations")
    annotated = find_annotated(path)
    if annotated is not None:
        return _without_lists(path, annotated)
    train: list[ListedImage] = []
    unused: list[str] = []
    folders = [path / "VOCdevkit" / year for year in _YEARS if (path / "VOCdevkit" / year).is_dir()]
    if folders:
        for folder in folders:
            train += listed_images(folder, "trainval")
        test = listed_images(path / "VOCdevkit" / _YEARS[0], "test")
    else:
        folders = [path]
        test = listed_images(path, "test", "val")
        test_images = {listed.image for listed in test}
        in_train_list = listed_images(path, "trainval", "train")
        train = [listed for listed in in_train_list if listed.image not in test_images]
        train.sort(key=_name)
        unused = _unused(path, num_in_both=len(in_train_list) - len(train))
    image_folders = [folder / IMAGES for folder in folders]
    return detection_data(path, _part(train, image_folders), _part(test, image_folders), unused)


def _without_lists(path: Path, annotated: VocFolders) -> Data:
    """Return the data set of a folder without lists."""
    train = _part(annotated.train, annotated.folders)
    if annotated.test is not None:
        return detection_data(path, train, _part(annotated.test, ()), annotated.unused)
    train, test, note = hold_out_test(path, train)
    return detection_data(path, train, test, annotated.unused, [note])


def _unused(path: Path, *, num_in_both: int) -> list[str]:
    """Say which images of the lists in a folder are not used, or for testing only, a line each."""
    lines = []
    test, val = find_list(path, "test"), find_list(path, "val")
    train = find_list(path, "trainval") or find_list(path, "train")
    if test and val and train:
        only_val = set(lines_of(val)) - set(lines_of(test)) - set(lines_of(train))
        if only_val:
            lines.append(
                f"{LISTS}/{val.name}: {counted(len(only_val), 'image')}; {LISTS}/{test.name} is the test split"
            )
    if num_in_both:
        lines.append(f"images in both lists, which are used for testing only: {num_in_both}")
    return lines


def _name(listed: ListedImage) -> str:
    return listed.name


def _part(listed: Sequence[ListedImage], folders: Sequence[Path]) -> AnnotatedPart:
    """Return the annotated images of a part; its categories are the names of all objects."""
    images = []
    categories: set[str] = set()
    for _, image, annotation in listed:
        for annotated in annotation.objects:
            categories.add(annotated.name)
        images.append(AnnotatedImage(image, annotation.source, annotation.size, annotation.objects, origin=1))
    return AnnotatedPart(images=images, categories=sorted(categories), dropped=Counter(), folders=folders)
