"""A search space that a program made, as the YAML of a run's space.yaml."""

from dataclasses import asdict, fields
from typing import Any

import yaml

from ..arch.choices import StageChoices
from ..arch.space import SearchSpace
from ..arch.zoo import load_space, shipped_spaces
from ..utils.errors import InputError, TinyNASError
from ..utils.schema import read_yaml
from ..utils.sizes import with_lists

CUSTOM = "custom"  # name of a space that a program made


def name_of_space(space: SearchSpace) -> str:
    """Return the name of the shipped space that a space is, CUSTOM if it is another one."""
    for name in shipped_spaces():
        if load_space(name) == space:
            return name
    return CUSTOM


def space_to_yaml(space: SearchSpace) -> str:
    """Return a search space as YAML, from which `SearchSpace.from_dict` restores it.

    Raises:
        InputError: It cannot be restored, as blocks of a stage have different options.
    """
    plain = {field.name: getattr(space, field.name) for field in fields(space)}
    plain |= {"stem": asdict(space.stem), "head": asdict(space.head), "stages": list(map(_stage, space.stages))}
    text = yaml.safe_dump(with_lists(plain), sort_keys=False, default_flow_style=None, width=120)
    try:
        restored = SearchSpace.from_dict(read_yaml(text, "space"))
    except TinyNASError:
        restored = None
    if restored != space:
        raise InputError(
            "the search space has no YAML form: all blocks of a stage need the same options, and only the first has a "
            "width and a stride; describe it with SearchSpace.from_dict"
        )
    return text


def _stage(stage: StageChoices) -> dict[str, Any]:
    """Return the YAML form of a stage: the options of its first block, which the others share."""
    first = stage.blocks[0]
    plain: dict[str, Any] = {"kind": first.kind.kind, "depth": stage.depth}
    plain |= {"stride": first.strides[0]} if len(first.strides) == 1 else {"strides": first.strides}
    for option, values in zip(first.kind.options, first.options, strict=True):
        if values and (values != option.default or option.key == "act"):  # an act that is left out is the space's
            plain[option.key] = values
    return plain
