"""Find the images of a COCO file by the names that tools write: with folders of another machine, quoted as in URLs."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote

from ..utils.errors import FileError, some_names
from .images import image_endings
from .listing import describe_files, list_files


def locate_images(source: Path, folders: Sequence[Path], names: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the folder that has the images, and their paths.

    All images are looked for in one folder, so that none is mistaken for an image of another part that has its name.
    If no folder has them all under their full names, leading folders are dropped from the names.

    Args:
        source: The file that has the names, for error messages.
        folders: Where to look, the likeliest first; those that do not exist are passed over.
        names: File names, with "/" or "\\" between folders.

    Raises:
        FileError: An image is missing, or is named twice.
    """
    names = [name.replace("\\", "/") for name in names]
    folders = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    best_count, best_folder = 0, _first_with_images(folders)
    missing: Sequence[str] = names
    deepest = max((name.count("/") for name in names), default=0)
    for dropped in range(deepest + 1):
        for folder in folders:
            paths = [_existing(folder, name.split("/", dropped)[-1]) for name in names]
            count = len(paths) - paths.count("")
            if count == len(paths):
                _check_repetitions(source, paths)
                return folder, paths
            if count > best_count:
                best_count, best_folder = count, folder
                missing = [name for name, path in zip(names, paths, strict=True) if not path]
    images = describe_files(best_folder, image_endings())
    raise FileError(
        f"{source}: {len(missing)} of its {len(names)} images are missing ({some_names(missing)}); {images}; "
        "add them, or remove them from the annotations"
    )


def _first_with_images(folders: Sequence[Path]) -> Path:
    """Return the first folder that has images, directly or below, or else the last one."""
    for folder in folders:
        if list_files(folder, image_endings()).files:
            return folder
    return folders[-1]


def _existing(folder: Path, name: str) -> str:
    """Return the path of a file in a folder whose name may be quoted or in another form of Unicode; "" if missing."""
    for variant in (name, normalize("NFC", name), normalize("NFD", name), unquote(name)):
        path = os.path.normpath(os.path.join(folder, variant))
        if os.path.isfile(path):
            return path
    return ""


def _check_repetitions(source: Path, paths: Sequence[str]) -> None:
    """Raise FileError if several images have the same file, as each would lack the objects of the others."""
    if len(set(paths)) < len(paths):
        path, count = Counter(paths).most_common(1)[0]
        raise FileError(f"{source} has {count} images of the same file, {path}; join them")
