"""Image files, checked before any training: each is read and decoded once, what was seen is cached by size and time."""

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import NamedTuple, TypeVar

from torch import Tensor

from ..utils.errors import FileError
from ..utils.io import write_json
from ..utils.paths import cache_folder
from .digest import text_digest
from .images import (
    ImageFacts,
    UnreadableImageError,
    check_image,
    read_image,
    read_regular_file,
    without_pil_messages,
)

Item = TypeVar("Item")
logger = logging.getLogger(__name__)
_VERSION = 2  # of the cache; to be raised when `check_image` accepts other files or reports other facts
_LOG_SECONDS = 10.0  # between messages about the progress of a long check


class ImageFile(NamedTuple):
    """An image file that was read and decoded."""

    path: str
    digest: str = ""  # SHA-256 of its content
    facts: ImageFacts | None = None  # how the image is stored; None if it cannot be read
    problem: str | None = None  # why it cannot be read; None if it can


class ImageFiles:
    """Checked image files: maps an index to RGB pixels, uint8 (3, H, W)."""

    for_workers = True

    def __init__(self, images: Sequence[ImageFile]) -> None:
        self.images = images

    @property
    def files(self) -> list[str]:
        """The paths."""
        return [image.path for image in self.images]

    def digests(self) -> list[str]:
        """Return the SHA-256 of each file's content."""
        return [image.digest for image in self.images]

    def digest(self) -> str:
        """Return the SHA-256 of all files' content, in their order."""
        return text_digest(self.digests())

    def subset(self, indices: Sequence[int]) -> "ImageFiles":
        """Return some of the files."""
        return ImageFiles([self.images[index] for index in indices])

    def size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image that can be read."""
        facts = self.images[index].facts
        assert facts is not None, "images that cannot be read are left out"
        return facts.height, facts.width

    def name(self, index: int) -> str:
        """Return the path of an image."""
        return self.images[index].path

    def __call__(self, index: int, *, reduction: int = 1) -> Tensor:
        """Read an image, `reduction` times smaller as in `read_image`. Raises FileError if that fails."""
        return read_image(self.images[index].path, reduction=reduction)


def check_files(paths: Sequence[str]) -> list[ImageFile]:
    """Read and decode image files, in parallel; those that have not changed since an earlier check are not read again.

    A file counts as changed when its size, or the time of its last change or move, differs. Progress is logged.

    Returns:
        An ImageFile for each path; with its problem, if it cannot be read.
    """
    if not paths:
        return []
    cache = _Cache(os.path.commonpath(paths) if len(paths) > 1 else os.path.dirname(paths[0]))
    known = {path: image for path in paths if (image := cache.get(path)) is not None}
    unknown = [path for path in paths if path not in known]
    with without_pil_messages(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for image in _log_progress(pool.map(_check, unknown), len(unknown)):
            known[image.path] = image
    if unknown:
        cache.put(known.values())
    return [known[path] for path in paths]


def _check(path: str) -> ImageFile:
    """Read and decode a file."""
    try:
        content = read_regular_file(path)
        return ImageFile(path, sha256(content).hexdigest(), check_image(content))
    except OSError as error:
        return ImageFile(path, problem=error.strerror)
    except UnreadableImageError as error:
        return ImageFile(path, problem=str(error))


def _log_progress(images: Iterable[Item], total: int) -> Iterator[Item]:
    """Yield the items; log how many there have been, if they take long."""
    last = time.monotonic()
    for count, image in enumerate(images, 1):
        yield image
        if time.monotonic() - last > _LOG_SECONDS:
            last = time.monotonic()
            logger.info("checked %d of %d images, once; the result is kept in %s", count, total, cache_folder())


class _Cache:
    """Readable image files of a folder as they were last checked: a JSON file, which may be missing or damaged."""

    def __init__(self, folder: str) -> None:
        name = sha256(os.path.abspath(folder).encode(errors="surrogateescape")).hexdigest()[:16]
        self.path = cache_folder() / "images" / f"{name}.json"
        self._images: dict[str, list[object]] = {}
        try:
            document = json.loads(self.path.read_bytes())
            if document["version"] == _VERSION:
                self._images = dict(document["images"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # all files are checked again

    def get(self, path: str) -> ImageFile | None:
        """Return a file as it was last checked; None if it has changed, or was not readable."""
        try:
            state, digest, facts = self._images[path]
            if state != _state(path):
                return None
            return ImageFile(path, str(digest), ImageFacts(*facts))  # type: ignore[misc]
        except (KeyError, ValueError, TypeError, OSError):
            return None

    def put(self, images: Iterable[ImageFile]) -> None:
        """Keep what was read of these files."""
        for image in images:
            if image.facts:
                self._images[image.path] = [_state(image.path), image.digest, image.facts]
        try:
            write_json(self.path, {"version": _VERSION, "images": self._images})
        except FileError:
            logger.info("cannot write %s: images will be checked again next time", self.path)


def _state(path: str) -> list[int]:
    """Return a file's size and times, which tell whether it has changed.

    The time of modification stays when another file is moved to the path, or rsync writes it; the third changes then.
    """
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
