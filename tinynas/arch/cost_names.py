"""Names of costs, as commands take them: what a word means on a target, and how a cost is called in pictures."""

import re
from collections.abc import Collection, Mapping

from ..utils.errors import InputError, unknown
from ..utils.pareto import MAX_COSTS
from .cost import COSTS
from .targets import TARGETS, Target

WORDS = ("macs", "flops", "params", "sram", "arena", "flash", "latency")
_NAME = re.compile(r"[A-Za-z]\w*")
_RESERVED = {"accuracy", "min_macs", "own"}.union(WORDS, COSTS)
_VALUES = {"flops": "50M", "params": "500K", "sram": "256KB", "flash": "1MB", "latency": "5ms"}  # by limit
_TITLES = {
    "macs": "MACs",
    "params": "parameters",
    "peak_sram": "peak SRAM",
    "peak_sram_inplace_dw": "peak SRAM, depthwise convolutions in place",
    "peak_sram_tflm": "arena of TensorFlow Lite Micro",
    "peak_sram_tflm_cmsis_nn": "arena of TensorFlow Lite Micro with CMSIS-NN",
    "peak_sram_vela": "SRAM by Vela",
    "flash": "flash",
    "file_tflite": "int8 TFLite file",
    "file_vela": "TFLite file by Vela",
    "latency": "latency",
}


def split_words(text: str) -> tuple[str, ...]:
    """Return the words of "sram,macs"."""
    return tuple(word.strip() for word in text.split(","))


def cost_named(word: str, target: Target, own: Collection[str] = ()) -> str:
    """Return the cost that a word means.

    Args:
        word: One of WORDS, a field of `Cost`, or a cost of the user's own.
        target: What runs the networks: it decides what sram, arena and flash are.
        own: Names of the user's own costs.

    Raises:
        InputError: There is no such cost.

    Example:
        >>> from tinynas.arch.targets import find_target
        >>> cost_named("sram", find_target("tflm")), cost_named("energy", find_target("tflm"), own=["energy"])
        ('peak_sram_tflm', 'energy')
    """
    if word == "arena" and not target.kernels:
        raise InputError(f"{target.name} has no arena; name sram instead, or choose another --target")
    meanings = {"flops": "macs", "sram": target.sram, "arena": target.sram, "flash": target.flash}
    name = meanings.get(word, word)
    if name not in COSTS and name not in own:
        raise unknown("cost", word, set(WORDS).union(own))
    return name


def cost_word(name: str) -> str:
    """Return the word for a cost on the target that has it: the inverse of `cost_named`.

    Example:
        >>> cost_word("peak_sram_tflm"), cost_word("macs"), cost_word("energy")
        ('sram', 'macs', 'energy')
    """
    for target in TARGETS.values():
        if name in (target.sram, target.flash):
            return "sram" if name == target.sram else "flash"
    return name


def costs_named(words: Collection[str], target: Target, own: Collection[str] = ()) -> tuple[str, ...]:
    """Return the costs that one word or two mean, as `cost_named` does.

    Raises:
        InputError: There is no such cost, there are more than two, one is there twice, or a word is empty.
    """
    if "" in words:
        raise InputError(f"expected one cost or two, like sram,macs, but got {','.join(words)!r}")
    names = tuple(cost_named(word, target, own) for word in words)
    if len(names) > MAX_COSTS:
        raise InputError(f"a front is of accuracy and at most {MAX_COSTS} costs, but got {','.join(words)}")
    if len(set(words)) < len(names):
        raise InputError(f"{','.join(words)} names a cost twice; name it once, or another one beside it")
    if len(set(names)) < len(names):
        raise InputError(f"{' and '.join(words)} are the same cost on {target.name}; name one of them")
    return names


def check_own_name(name: str, where: str) -> None:
    """Raise InputError unless a cost of the user's own can have this name; `where` says who named it."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{where}: a cost's name must be letters, digits and _, but is {name!r:.60}")
    if name in _RESERVED:
        raise InputError(f"{where}: {name} is a cost that tinynas has itself; choose another name")


def check_own_limit(name: str) -> None:
    """Raise InputError if what is limited like a cost of the user's own has a limit of its own, such as --sram."""
    word = {"macs": "flops", "arena": "sram"}.get(name, cost_word(name))
    if word in _VALUES:
        raise InputError(f"{name} is no cost of your own; limit it with --{word}, to a value like {_VALUES[word]}")


def cost_title(name: str, units: Mapping[str, str]) -> str:
    """Return what a cost is called in pictures and tables.

    Args:
        name: Name of the cost.
        units: Units of the user's own costs, by name; a cost may have none.
    """
    unit = units.get(name)
    return f"{name} ({unit})" if unit else _TITLES.get(name, name)
