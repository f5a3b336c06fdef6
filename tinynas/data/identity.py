"""Which images and labels a data set has, so that a run notices when they change between two of its commands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..utils.errors import some_names
from ..utils.schema import check_list, check_mapping, convert

if TYPE_CHECKING:
    from .base import Data


SPLIT_NAMES = {"train": "train", "val": "search-val", "test": "test"}  # as they are shown


class SplitIdentity(NamedTuple):
    """What tells a split from another one."""

    images: int
    sha256: str  # of all images and labels, in their order


@dataclass(frozen=True)
class DataIdentity:
    """What tells a data set from another one of the same name: its classes, and a digest of every split."""

    classes: tuple[str, ...]
    splits: Mapping[str, SplitIdentity]

    @classmethod
    def of(cls, data: "Data") -> "DataIdentity":
        """Return the identity of a data set."""
        splits = {}
        for name, split in data.splits.items():
            splits[name] = SplitIdentity(len(split), split.digest())
        return cls(data.classes, splits)

    @classmethod
    def from_dict(cls, plain: object) -> "DataIdentity":
        """Return the identity that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or has a value of another type.
        """
        values = check_mapping(plain, "the data's identity")
        classes = convert(check_list(values.get("classes"), "classes"), tuple[str, ...], "classes")
        splits = {}
        for name, split in check_mapping(values.get("splits"), "splits").items():
            of_split = check_mapping(split, f"the split {name}")
            images = convert(of_split.get("images"), int, f"images of {name}")
            splits[name] = SplitIdentity(images, convert(of_split.get("sha256"), str, f"sha256 of {name}"))
        return cls(classes, splits)

    def to_dict(self) -> dict[str, Any]:
        """Return the identity as plain data."""
        splits = {name: split._asdict() for name, split in self.splits.items()}
        return {"classes": list(self.classes), "splits": splits}

    def changes(self, now: "DataIdentity") -> str | None:
        """Return what differs in a data set that had this identity and now has another; None if nothing does."""
        changes = []
        gone = [name for name in self.classes if name not in now.classes]
        new = [name for name in now.classes if name not in self.classes]
        if gone:
            changes.append(f"class {some_names(gone)} is gone")
        if new:
            changes.append(f"class {some_names(new)} is new")
        if not gone and not new and self.classes != now.classes:
            changes.append("its classes have another order")
        for name, split in self.splits.items():
            other = now.splits.get(name, SplitIdentity(0, ""))
            shown = SPLIT_NAMES.get(name, name)
            if split.images != other.images:
                changes.append(f"{shown} had {split.images} images, has {other.images}")
            elif split.sha256 != other.sha256:
                changes.append(f"{shown} has other images or labels ({split.images} as before)")
        return ", ".join(changes) or None
