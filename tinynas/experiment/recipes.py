"""Recipes as files: a network, and the settings to train it with. Those of published trainings come with tinynas."""

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from ..arch.arch import Arch
from ..arch.zoo import load_arch
from ..utils.errors import InputError, unknown
from ..utils.io import read_text
from ..utils.overrides import Overrides
from ..utils.schema import check_mapping, read_yaml
from .authors import Authors, read_authors
from .config import RetrainConfig

AUTO = "auto"  # in place of a recipe: settings fitted to the network and its data
DEFAULTS = "defaults"  # in place of a recipe: every setting's default
_SUFFIXES = (".yaml", ".yml")
NETWORK_KEYS = ("arch", "authors", "needs_model")  # of a recipe; all others are settings


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """A recipe: a retraining's config.yaml, whose network may be named.

    Attributes:
        name: Name of the file.
        arch: The network.
        overrides: The settings.
        authors: What the authors of the training used, if that is known.
        needs_model: Whether it is to train a model further.
    """

    name: str
    arch: Arch
    overrides: Overrides
    authors: Authors | None = None
    needs_model: bool = False

    def check_model(self, source: Path | None) -> None:
        """Raise InputError if it is to train a model further, and there is none."""
        if self.needs_model and source is None:
            raise InputError(f"the recipe {self.name} trains a model further; add --from MODEL")

    def overrides_for(self, source: Path | None) -> Overrides:
        """Return its settings; for a model that is trained further without initial weights, which that has.

        Raises:
            InputError: It is to train a model further, and there is none.
        """
        self.check_model(source)
        return self.overrides.without("init") if source else self.overrides

    def baseline(self) -> "RecipeFile":
        """Return the recipe of the plain training that the authors compare theirs with.

        Raises:
            InputError: Nothing is known about it.
        """
        if self.authors is None or not self.authors.baseline:
            raise InputError(f"nothing is known about a plain training beside the recipe {self.name}")
        settings = {field.name: field.value for field in self.authors.baseline if field.is_setting}
        overrides = self.overrides | Overrides.read(settings, RetrainConfig)
        return replace(self, overrides=overrides, authors=self.authors.of_baseline())


def shipped_recipes() -> dict[str, str]:
    """Return the YAML texts of the recipes that come with tinynas, by name."""
    texts = {}
    for entry in files("tinynas.recipes").iterdir():
        if entry.name.endswith(".yaml"):
            texts[Path(entry.name).stem] = entry.read_text("utf-8")
    return dict(sorted(texts.items()))


def named_recipe(name: str) -> RecipeFile | None:
    """Return a recipe as `load_recipe` does; None for AUTO and DEFAULTS. Raises as it does."""
    return None if name in (AUTO, DEFAULTS) else load_recipe(name)


def load_recipe(name: str) -> RecipeFile:
    """Return a recipe by name or from a YAML file, which may be the config.yaml of a retraining.

    Raises:
        InputError: The name or a key is unknown, a value has another type, or there is no network.
        FileError: The file cannot be read, or is not YAML.
    """
    path = Path(name)
    if path.suffix in _SUFFIXES:
        text, where = read_text(path), str(path)
    else:
        shipped = shipped_recipes()
        if name not in shipped:
            raise unknown("recipe", name, [AUTO, DEFAULTS, *shipped])
        text, where = shipped[name], name
    plain = dict(check_mapping(read_yaml(text, where), where))
    network, authors, needs_model = (plain.pop(key, None) for key in NETWORK_KEYS)
    if network is None:
        raise InputError(f"{where} has no network; add arch: NAME, or pass the settings with --config")
    return RecipeFile(
        name=path.stem if path.suffix in _SUFFIXES else name,
        arch=load_arch(network) if isinstance(network, str) else Arch.from_dict(network),
        overrides=Overrides.read(plain, RetrainConfig, where=where),
        authors=read_authors(str(authors)) if authors else None,
        needs_model=bool(needs_model),
    )
