"""What a reproduction of NetAug's paper trains: a network's parts, and the trainings of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..utils.errors import InputError, unknown
from ..utils.overrides import Overrides
from .authors import Authors
from .front_settings import NETAUG, PLAIN, TEACHER
from .recipes import RecipeFile, load_recipe, shipped_recipes

PAPERS = ("netaug",)
IMAGENET, KD, TRANSFER, DETECT = "imagenet", "kd", "transfer", "detect"
PARTS = (IMAGENET, KD, TRANSFER, DETECT)
LONGER = "plain-4x"
NETAUG_TEACHER = f"{NETAUG}+{TEACHER}"
METHODS = (PLAIN, LONGER, TEACHER, NETAUG, NETAUG_TEACHER)
METHODS_OF = {  # by default
    IMAGENET: (PLAIN, NETAUG),
    KD: (TEACHER, NETAUG_TEACHER),
    TRANSFER: (PLAIN, NETAUG),
    DETECT: (PLAIN, NETAUG),
}
DETECTED = ("voc", "coco")
FIXED = ("netaug", "init")  # settings that the way of training decides
_EPOCHS = "recipe.epochs"
_TIMES = 4  # of LONGER
_PREFIX = "imagenet-netaug-"


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training of a reproduction.

    Attributes:
        data_set: Name of its data set: imagenet, a set of transfer, voc or coco.
        method: How the network is trained; of transfer and detection, how the model was that is trained further.
    """

    data_set: str
    method: str

    @property
    def name(self) -> str:
        """Name of its retraining's folder."""
        return f"{self.data_set}-{self.method.replace('+', '-')}"

    @property
    def source(self) -> str | None:
        """Name of the retraining whose model is trained further, None for a training on ImageNet."""
        return None if self.data_set == IMAGENET else Training(data_set=IMAGENET, method=self.method).name

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher is learned from."""
        return self.data_set == IMAGENET and TEACHER in self.method.split("+")

    def recipe(self, net: str) -> RecipeFile | None:
        """Return the recipe of a network's training; None for a detector, of which nothing is published."""
        if self.data_set in DETECTED:
            return None
        if self.data_set != IMAGENET:
            return load_recipe(f"transfer-{self.data_set}-{net}")
        recipe = load_recipe(_PREFIX + net)
        if NETAUG not in self.method.split("+"):
            recipe = recipe.baseline()
        return replace(recipe, authors=self._authors(recipe.authors)) if recipe.authors else recipe

    def _authors(self, authors: Authors) -> Authors:
        """Return what is known of the authors' training on ImageNet: nothing of a teacher."""
        if self.has_teacher:
            return authors.without(("distillation",))
        if self.method != LONGER:
            return authors
        (epochs,) = (field for field in authors.fields if field.name == _EPOCHS)
        note = "in their figure's words 4x training epochs; whether the warm-up counts is not published"
        return authors.with_fields([replace(epochs, value=_TIMES * epochs.value, written="", note=note)])

    def settings(self, overrides: Overrides) -> Overrides:
        """Return settings without those that another way of training has.

        Args:
            overrides: Those of the recipe, and the user's.
        """
        switches = {"distillation": self.has_teacher}
        if self.data_set != IMAGENET or NETAUG not in self.method.split("+"):
            switches["netaug"] = False
        changed = overrides | Overrides(switches)
        if self.data_set == IMAGENET and self.method == LONGER:
            changed = changed | Overrides({_EPOCHS: _TIMES * changed.values[_EPOCHS]})
        return changed


def networks() -> list[str]:
    """Return the names of the networks that the authors have trained, as recipes have them."""
    return [name.removeprefix(_PREFIX) for name in shipped_recipes() if name.startswith(_PREFIX)]


def check_choices(paper: str, net: str, part: str) -> None:
    """Check what is to be reproduced. Raises InputError."""
    for what, name, known in (("paper", paper, PAPERS), ("network", net, networks()), ("part", part, PARTS)):
        if name not in known:
            raise unknown(what, name, known)


def transfer_sets(net: str) -> list[str]:
    """Return the names of the sets to which the authors transfer a network."""
    names = [name for name in shipped_recipes() if name.startswith("transfer-") and name.endswith(f"-{net}")]
    return [name.removeprefix("transfer-").removesuffix(f"-{net}") for name in names]


def methods_of(part: str, named: Sequence[str]) -> tuple[str, ...]:
    """Return the ways in which the network of a part is trained, those of the paper unless some are named.

    Raises:
        InputError: A way is unknown, or is not one of the part.
    """
    for method in named:
        if method not in METHODS:
            raise unknown("way of training", method, METHODS)
        if part in (IMAGENET, KD) and (TEACHER in method.split("+")) != (part == KD):
            other = KD if part == IMAGENET else IMAGENET
            raise InputError(f"{method} is no way of training of --part {part}; train it with --part {other}")
    return tuple(named) or METHODS_OF[part]


def data_sets_of(part: str, net: str, named: Sequence[str]) -> dict[str, str]:
    """Return the data sets of a part as tinynas names them, "pets" or "imagefolder:PATH", by the paper's names.

    Args:
        part: One of PARTS.
        net: Name of the network.
        named: What a user names: a data set; of a transfer, "SET" or "SET=DATA" for other images than those of SET.

    Raises:
        InputError: None is named, there are several for ImageNet, or one is not of the part.
    """
    if not named:
        raise InputError(f"--part {part} needs images; add --data {_example(part)}")
    if part == TRANSFER:
        return _transfer_data(net, named)
    if part == DETECT:
        return _detection_data(named)
    if len(named) > 1:
        raise InputError(f"--part {part} trains on one data set, but there are {', '.join(named)}; keep one --data")
    return {IMAGENET: named[0]}


def _transfer_data(net: str, named: Sequence[str]) -> dict[str, str]:
    """Return the data sets of transfers by the names of their sets."""
    known = transfer_sets(net)
    data: dict[str, str] = {}
    for text in named:
        data_set, equals, other = text.partition("=")
        data_set = data_set if equals else text.partition(":")[0]
        if data_set not in known:
            raise unknown("set of transfer", data_set, known)
        if data_set == "cub200" and not equals:
            raise InputError("cub200 is no data set by name; add --data cub200=imagefolder:PATH")
        data[data_set] = other if equals else text
    return data


def _detection_data(named: Sequence[str]) -> dict[str, str]:
    """Return the data sets of detectors by their kinds."""
    data = {}
    for text in named:
        kind = text.partition(":")[0]
        if kind not in DETECTED:
            raise unknown("data set of detection", kind, DETECTED)
        data[kind] = text
    return data


def _example(part: str) -> str:
    """Return what a data set of a part may be."""
    return {TRANSFER: "pets", DETECT: "voc:PATH"}.get(part, "imagefolder:PATH")


def trainings_of(data_sets: Mapping[str, str], methods: Sequence[str]) -> list[Training]:
    """Return the trainings on some data sets in some ways, one data set after the other."""
    return [Training(data_set=data_set, method=method) for data_set in data_sets for method in methods]
