"""A small search space for every kind of block."""

from tinynas import SearchSpace
from tinynas.arch.block_kinds import SHIPPED
from tinynas.arch.lowering import lower
from tinynas.arch.zoo import load_space, shipped_spaces

_CONVOLUTION = {"depth": [1, 2], "width": [8, 12], "kernel": [3, 5]}
_OPTIONS = {
    "inverted-residual": {**_CONVOLUTION, "expand": [1, 2], "se": [0, 2], "act": ["relu6", "hswish"]},
    "fused-mbconv": {**_CONVOLUTION, "expand": [1, 2]},
    "resnet-basic": {**_CONVOLUTION, "expand": [1, 2], "act": ["relu", "relu6", "hswish"]},
    "ds-conv": {**_CONVOLUTION, "act": ["relu", "hswish"]},
    "convnext": {**_CONVOLUTION, "kernel": [5, 7], "expand": [2, 3]},
    "vit": {"depth": [1, 2], "heads": [1, 2, 3], "expand": [1, 2]},
}
_STRIDES = {"vit": (1, 1)}  # of the two stages


def space_of(kind: str, **other) -> SearchSpace:
    """Two stages of a kind, with every choice that it has; other options of the space."""
    return SearchSpace.from_dict(plain_space(kind, **other))


def rectangular_space_of(kind: str) -> SearchSpace:
    """The same for images that are not square, with strides and kernels that differ."""
    plain = plain_space(
        kind, resolution=[[12, 16], [16, 20]], stem={"width": [4, 8], "kernel": [5, 3], "stride": [1, 2]}
    )
    for stage, stride in zip(plain["stages"], ([2, 1], [1, 2]), strict=True):
        if "kernel" in stage:
            stage |= {"stride": stride, "kernel": [1, [3, 1], [3, 5]]}
    return SearchSpace.from_dict(plain)


def plain_space(kind: str, **other) -> dict:
    """The same as plain data, as in a YAML file."""
    stages = []
    for stride in _STRIDES.get(kind, (1, 2)):
        stages.append({"kind": kind, "stride": stride, **_OPTIONS[kind]})
    plain = {
        "resolution": [12, 16],
        "divisor": 4,
        "in_channels": 1,
        "classes": 3,
        "stem": {"width": [4, 8]},
        "stages": stages,
        "head": {"conv": [8, 12]},
    }
    return plain | other


def tflite_kinds() -> list[str]:
    """The shipped kinds of blocks that TFLite files can hold."""
    return [kind for kind in SHIPPED if lower(space_of(kind).min()).is_tflite]


def tflite_spaces() -> list[str]:
    """The shipped spaces whose networks TFLite files can hold."""
    return [name for name in shipped_spaces() if lower(load_space(name).min()).is_tflite]
