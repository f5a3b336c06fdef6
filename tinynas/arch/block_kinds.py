"""The kinds of blocks by name: those that are shipped, those of other packages, and those that a program registers."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from ..utils.errors import InputError, UnregisteredError, suggestion
from ..utils.schema import check_mapping, from_mapping
from ..utils.sizes import with_sizes
from .blocks import Block
from .own_code import describe, errors_of_block

BlockType = TypeVar("BlockType", bound=type[Block])

DEFAULT_KIND = "inverted-residual"  # of blocks that name none
ENTRY_POINTS = "tinynas.blocks"
SHIPPED = (DEFAULT_KIND, "convnext", "ds-conv", "fused-mbconv", "resnet-basic", "vit")

_kinds: dict[str, type[Block]] = {}


def block(name: str) -> Callable[[BlockType], BlockType]:
    """Register a kind of block, so that search spaces and architectures can name it.

    A package that names the module of its blocks as an entry point of the group `tinynas.blocks`, called like the kind,
    makes the kind known to the commands, too.

    Args:
        name: Name of the kind, as `kind: name` in YAML files.

    Returns:
        A decorator for the class, a frozen dataclass that derives from `tinynas.Block`.

    Raises:
        InputError: The class is not one, or another class has the name.

    Example:
        A kind that differs from another one in a default; `tinynas.Block` shows a whole one:

        >>> from dataclasses import dataclass
        >>> import tinynas
        >>> from tinynas.blocks.inverted_residual import InvertedResidual
        >>> @tinynas.block("wide-kernel")
        ... @dataclass(frozen=True, kw_only=True)
        ... class WideKernel(InvertedResidual):
        ...     kernel: int = 11
        >>> WideKernel(out=8).kind
        'wide-kernel'
    """

    def register(kind: BlockType) -> BlockType:
        _check_class(name, kind)
        kind.kind = name
        _kinds[name] = kind
        return kind

    return register


def block_kind(name: object, where: str) -> type[Block]:
    """Return the class of a kind of block that is named in `where`.

    Raises:
        InputError: It is no name.
        UnregisteredError: There is no such kind in this process, or the entry point that has it fails.
    """
    if not isinstance(name, str):
        raise InputError(f"kind in {where} must be text, but is {name!r:.60}")
    if name not in _kinds:
        _load(name)
    if name not in _kinds:
        raise UnregisteredError(
            f"the kind of block {name!r} in {where} is not registered in this process "
            f"({suggestion(name, known_kinds())}); if it is your own, import the module that registers it, or install "
            f"the package that has it as an entry point of {ENTRY_POINTS}"
        )
    return _kinds[name]


def known_kinds() -> list[str]:
    """Return the names of all kinds of blocks."""
    return sorted(set(SHIPPED) | _kinds.keys() | entry_points(group=ENTRY_POINTS).names)


def block_from_dict(plain: object, where: str) -> Block:
    """Return the block that a mapping of its fields and, unless it is of the default kind, its kind describes.

    Raises:
        InputError: The kind is unknown, a key is unknown or missing, or a value is impossible.
    """
    values = with_sizes(check_mapping(plain, where))
    kind = block_kind(values.pop("kind", DEFAULT_KIND), where)
    with errors_of_block(kind, "__post_init__"):
        return from_mapping(kind, values, where)


def block_to_dict(block: Block) -> dict[str, Any]:
    """Return a block's fields as plain data, from which `block_from_dict` restores it."""
    plain: Mapping[str, Any] = vars(block)
    return dict(plain) if block.kind == DEFAULT_KIND else {"kind": block.kind, **plain}


@cache
def field_names(kind: Any) -> frozenset[str]:
    """Return the names of a kind's fields."""
    return frozenset(field.name for field in fields(kind))


def _load(name: str) -> None:
    """Import the module that registers a kind, if there is one."""
    if name in SHIPPED:
        package = __package__.partition(".")[0]
        import_module(f"{package}.blocks.{name.replace('-', '_')}")
        return
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        try:
            entry.load()
        except Exception as error:
            raise UnregisteredError(
                f"the kind of block {name!r} cannot be imported from its entry point {entry.value}: "
                f"{describe(error, entry.module.partition('.')[0])}; mend that package"
            ) from error


def _check_class(name: str, kind: type) -> None:
    is_frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if not issubclass(kind, Block) or not is_frozen:
        raise InputError(f"the block {name!r} must be a frozen dataclass that derives from tinynas.Block")
    if missing := " and ".join(sorted(kind.__abstractmethods__)):
        raise InputError(
            f"the block {name!r} lacks {missing}, as every block has; add it to its class, {kind.__name__}"
        )
    for option in kind.options:
        if option.field not in field_names(kind):
            raise InputError(f"the block {name!r} has an option of {option.field!r}, which is not one of its fields")
    other = _kinds.get(name)
    if other is not None and (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
        raise InputError(f"the name {name!r} belongs to another kind of block, {other.__qualname__}; choose another")
