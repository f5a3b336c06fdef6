"""exits.json as dataclasses: the files of a network with early exits, and what decides which example exits where."""

from dataclasses import asdict, dataclass
from typing import Any

from ..utils.io import to_json

FORMAT = "tinynas exits 1"


@dataclass(frozen=True, kw_only=True)
class PartTensor:
    """An input or output of a part.

    Attributes:
        name: Its name in the file.
        type: Type of its elements, as NumPy names it.
        shape: Its sizes; None is the number of examples.
        batch_dim: Dimension that counts the examples.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]
    batch_dim: int


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """A part of a network with early exits: a file that runs on the examples which have not exited before.

    Attributes:
        file: Name of the file.
        exit: Name of the exit: the tapped module, or "mainnet".
        rule: How an example's score is computed from the logits.
        threshold: Score from which an example exits here; None for the last part, where all remaining examples do.
        temperature: What the logits are divided by before the softmax.
        inputs: The network's inputs, or what the part before carries over.
        outputs: The logits, then what the next part takes.
    """

    file: str
    exit: str
    rule: str
    threshold: float | None
    temperature: float
    inputs: tuple[PartTensor, ...]
    outputs: tuple[PartTensor, ...]


@dataclass(frozen=True, kw_only=True)
class ExitFiles:
    """Content of exits.json.

    Attributes:
        int8: Whether weights and activations are int8.
        classes: Names of the classes, in the order of the logits; None if they are unknown.
        examples: Examples on which the files were compared with PyTorch.
        difference: Largest absolute difference between the logits of the files and of PyTorch, of all exits.
        parts: The files, in the order in which they run.
    """

    int8: bool
    classes: tuple[str, ...] | None
    examples: int
    difference: float
    parts: tuple[PartFile, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of exits.json."""
        return {"format": FORMAT, **asdict(self)}

    def metadata(self) -> list[dict[str, str]]:
        """Return the metadata of each part's file: the same by key; values that are no texts are JSON."""
        entries = []
        for part in self.parts:
            entry = {"format": FORMAT, "rule": part.rule, "exit": part.exit}
            plain = asdict(part)
            for key in ("threshold", "temperature", "inputs", "outputs"):
                entry[key] = to_json(plain[key])
            entry["classes"] = to_json(self.classes)
            entries.append(entry)
        return entries
