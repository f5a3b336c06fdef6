"""What a data set was understood to be: counted, described, and warned about, before anything is trained on it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..utils.errors import some_names
from ..utils.sizes import Size
from ..utils.text import counted
from .base import Data, Split
from .box_summary import BoxSummary, summarise_boxes
from .dataset_images import DatasetImages, ImageRecord
from .files import ImageFile
from .identity import SPLIT_NAMES
from .images import BACKGROUND
from .labels import class_counts
from .readable import image_files

FEW_IMAGES = 10  # of a class, under which there is a warning
IMBALANCE = 20  # ratio of the largest to the smallest class from which there is a warning
_MODES = {
    "1": "black and white",
    "L": "grey",
    "P": "palette",
    "LA": "grey with transparency",
    "PA": "palette with transparency",
    "RGBA": "RGB with transparency",
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
    "I;16L": "16-bit grey",
    "I": "16-bit grey",
}


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """What a data set was understood to be.

    Attributes:
        name: Its name.
        task: "classify" or "detect".
        channels: Input channels of its networks.
        images: Number of images of each split.
        by_class: For each split, the number of images (objects, for detection) of each class.
        sizes: Smallest, median and largest size (width, height) of the images, by their number of pixels; empty if
            they are neither files nor in memory.
        stored: How many images are stored in each way, such as "RGB JPEG"; empty if they are not files.
        converted: How many images are converted when they are read, by what is done.
        left_out: What there is beside the images, and was left out, a line each.
        notes: What was done that the files do not say, such as to split or to clip, a line each.
        warnings: What may spoil a result, a line each.
        boxes: For detection, the sizes of the boxes; None for classification.
    """

    name: str
    task: str
    channels: int
    images: Mapping[str, int]
    by_class: Mapping[str, Mapping[str, int]]
    sizes: tuple[tuple[int, int], ...]
    stored: Mapping[str, int]
    converted: Mapping[str, int]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    boxes: BoxSummary | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain data, the splits named as in tables."""
        plain = dict(vars(self))
        for key in ("images", "by_class"):
            plain[key] = {SPLIT_NAMES[split]: value for split, value in plain[key].items()}
        plain["boxes"] = self.boxes.to_dict() if self.boxes else None
        if self.sizes:
            smallest, median, largest = map(list, self.sizes)
            plain["sizes"] = {"smallest": smallest, "median": median, "largest": largest}
        else:
            plain["sizes"] = None
        return plain

    def lines(self, *, brief: bool = False) -> list[str]:
        """Return the summary as a few lines of text; `brief` has the numbers of images and the warnings only."""
        counts = [f"{self.images[split]:,} {shown}" for split, shown in SPLIT_NAMES.items()]
        lines = [f"data: {self.name}: {counted(len(self.by_class['train']), 'class')}; images: {', '.join(counts)}"]
        if not brief:
            lines.append(f"  {self._balance()}")
            lines += [f"  {text}" for text in (self.boxes.lines() if self.boxes else ())]
            if self.sizes:
                lines.append(f"  pixels: {self._pixels()}")
            if self.converted:
                lines.append("  converted: " + ", ".join(f"{count:,} {what}" for what, count in self.converted.items()))
            lines += [f"  left out: {text}" for text in self.left_out]
            lines += [f"  note: {text}" for text in self.notes]
        return lines + [f"  warning: {text}" for text in self.warnings]

    def _balance(self) -> str:
        counts = self.by_class["train"]
        unit = "objects" if self.task == "detect" else "images"
        smallest, largest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        if counts[smallest] == counts[largest]:
            return f"{counts[largest]:,} {unit} of each class in train"
        return (
            f"{unit} in train: {counts[smallest]:,} of the smallest class, {smallest}, "
            f"to {counts[largest]:,} of the largest, {largest}"
        )

    def _pixels(self) -> str:
        smallest, median, largest = [f"{width}x{height}" for width, height in self.sizes]
        sizes = median if smallest == largest else f"{smallest} to {largest}, median {median}"
        stored = [f"{count:,} {way}" for way, count in self.stored.items()]
        return sizes + (f"; stored as {some_names(stored, most=4)}" if stored else "")


def summarise(data: Data, name: str, *, resolution: Size | None = None) -> DataSummary:
    """Count and describe a data set.

    Args:
        data: The data set.
        name: Its name.
        resolution: Image size of a network, for which the boxes of a detection data set are described as well.
    """
    files: list[ImageFile] = []
    for split in data.splits.values():
        files += image_files(split)
    by_class = {part: class_counts(split, data.classes) for part, split in data.splits.items()}
    return DataSummary(
        name=name,
        task=data.task,
        channels=data.channels,
        images={part: len(split) for part, split in data.splits.items()},
        by_class=by_class,
        sizes=_sizes(data, files),
        stored=_stored(files),
        converted=_converted(files, data.channels),
        left_out=data.left_out,
        notes=data.notes,
        warnings=tuple(_warnings(data, by_class)),
        boxes=summarise_boxes(data.splits, resolution) if data.task == "detect" else None,
    )


def _sizes(data: Data, files: Sequence[ImageFile]) -> tuple[tuple[int, int], ...]:
    """Return the smallest, median and largest width and height, by number of pixels; nothing if sizes are unknown."""
    sizes = [(file.facts.width, file.facts.height) for file in files if file.facts]
    pixels = _pixels_in_memory(data.train)
    for split in data.splits.values():
        sizes += [(record.shape[2], record.shape[1]) for record in _records(split)]
    if not sizes and pixels is not None:
        sizes = [(pixels.shape[-1], pixels.shape[-2])]
    if not sizes:
        return ()
    sizes.sort(key=_by_pixels)
    return sizes[0], sizes[len(sizes) // 2], sizes[-1]


def _by_pixels(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] * size[1], size[1]


def _pixels_in_memory(split: Split) -> Tensor | None:
    """Return the images (N, C, H, W) of a split that has them in memory; None of any other split."""
    source = getattr(split, "read", split)
    images: Tensor | None = getattr(source, "images", None) if not image_files(split) else None
    return images


def _stored(files: Sequence[ImageFile]) -> dict[str, int]:
    """Return how many images are stored in each way, the most frequent first."""
    counts: Counter[str] = Counter()
    for file in files:
        if file.facts:
            counts[f"{_MODES.get(file.facts.mode, file.facts.mode)} {file.facts.format}"] += 1
    return dict(counts.most_common())


def _converted(files: Sequence[ImageFile], channels: int) -> dict[str, int]:
    """Return how many images are changed when they are read, by what is done."""
    background = "white" if BACKGROUND == (255, 255, 255) else str(BACKGROUND)
    counts: Counter[str] = Counter()
    for file in files:
        if file.facts is None:
            continue
        facts = file.facts
        if facts.orientation > 1:
            counts["turned as their EXIF orientation says"] += 1
        if facts.transparent:
            counts[f"transparent, composited over {background}"] += 1
        if facts.mode.startswith("I"):
            counts["reduced from 16 to 8 bits"] += 1
        if facts.mode == "CMYK":
            counts["CMYK to RGB"] += 1
        if facts.animated:
            counts["with several frames, of which the first is used"] += 1
        if (facts.mode in ("1", "L", "LA") or facts.mode.startswith("I")) and channels == 3:
            counts["grey to RGB"] += 1
    return dict(counts.most_common())


def _warnings(data: Data, by_class: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    train, unit = by_class["train"], "objects" if data.task == "detect" else "images"
    few = [f"{name} ({count})" for name, count in train.items() if count < FEW_IMAGES]
    if few:
        yield f"fewer than {FEW_IMAGES} {unit} to train on: {some_names(few)}"
    for part in ("val", "test"):
        missing = [name for name, count in by_class[part].items() if not count]
        if missing:
            yield f"no {SPLIT_NAMES[part]} {unit} of {some_names(missing)}"
    smallest, largest = min(train.values()), max(train.values())
    if smallest and largest > IMBALANCE * smallest:
        advice = "; consider --class-weights balanced" if data.task == "classify" else ""
        yield f"the largest class has {largest / smallest:.0f} times the {unit} of the smallest{advice}"
    in_test = set(_image_contents(data.test))
    for part in ("train", "val"):
        both = sum(content in in_test for content in _image_contents(data.splits[part]))
        if both:
            yield f"{SPLIT_NAMES[part]} images that are in the test split as well: {both:,}; test accuracy is too high"


def _image_contents(split: Split) -> Iterator[bytes | str]:
    """Yield what equal images of two splits have in common: their pixels if they are in memory, or their file's digest.

    Nothing is yielded of images that are neither.
    """
    files, pixels = image_files(split), _pixels_in_memory(split)
    if pixels is not None:
        for image in pixels.numpy():
            yield image.tobytes()
    for file in files:
        yield file.digest
    for record in _records(split):
        yield record.digest


def _records(split: Split) -> Sequence[ImageRecord]:
    """Return the images of a split that a program's dataset reads; none of any other split."""
    source = getattr(split, "read", None)
    return source.records if isinstance(source, DatasetImages) else ()
