"""A search space without its largest options."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .choices import BlockChoices, StageChoices
from .options import Options
from .space import SearchSpace


def narrowed(space: SearchSpace, counts: Mapping[str, int]) -> SearchSpace:
    """Return a search space with the smallest options of its genes.

    Args:
        space: The space.
        counts: How many options are kept, at least 1, by name of the gene; genes that are left out keep theirs. The
            blocks of a stage keep as many options as the one of them that keeps most.

    Returns:
        A copy, whose archs are archs of the space.

    Example:
        >>> from tinynas import load_space
        >>> narrowed(load_space("micro"), {"resolution": 2, "stem.out": 3}).max().stem.out
        16
    """
    stages = []
    for number, stage in enumerate(space.stages):
        stages.append(_narrowed_stage(stage, f"stages.{number}", counts))
    return replace(
        space,
        resolution=space.resolution[: counts.get("resolution")],
        stem=replace(space.stem, width=space.stem.width[: counts.get("stem.out")]),
        stages=tuple(stages),
        head=_narrowed_head(space.head, counts),
    )


def _narrowed_stage(stage: StageChoices, name: str, counts: Mapping[str, int]) -> StageChoices:
    """Return a stage with the smallest options of its genes, whose names begin with this one."""
    depth = stage.depth[: counts.get(f"{name}.depth")]
    kept: dict[str, int] = {}  # by field, of all blocks
    for gene, count in counts.items():
        prefix, _, field = gene.rpartition(".")
        if prefix.startswith(f"{name}."):
            kept[field] = max(count, kept.get(field, 1))
    blocks = []
    for block in stage.blocks[: depth[-1]]:
        blocks.append(_narrowed_block(block, kept))
    return StageChoices(depth=depth, blocks=tuple(blocks))


def _narrowed_block(block: BlockChoices, kept: Mapping[str, int]) -> BlockChoices:
    """Return a block with the smallest options of its fields."""
    options: list[Options] = []
    for option, values in zip(block.kind.options, block.options, strict=True):
        options.append(values[: kept.get(option.field)])
    return replace(block, options=tuple(options), strides=block.strides[: kept.get("stride")])


def _narrowed_head(head: Any, counts: Mapping[str, int]) -> Any:
    """Return a head with the smallest options of its genes."""
    changes = {}
    for gene, count in counts.items():
        part, _, field = gene.partition(".")
        if part == "head":
            changes[field] = getattr(head, field)[:count]
    return replace(head, **changes)
