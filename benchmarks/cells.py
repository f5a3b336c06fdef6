"""Tables made in pieces: each cell is saved when it is done, a re-run goes on, and several processes share the work."""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinynas.utils.io import write

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parent.parent / "docs" / "assets"
SCRATCH = Path("runs/benchmarks")  # checkpoints and models; may be deleted when a table is finished


class Cells:
    """The cells of a table, in results/NAME.json."""

    def __init__(self, name: str) -> None:
        self.name, self.path = name, RESULTS / f"{name}.json"

    def read(self) -> dict[str, Any]:
        """What is done so far."""
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def fill(self, key: str, make: Callable[[], Any]) -> None:
        """Make a cell unless it is there, or another process is making it."""
        with _lock(self.name, key) as free:
            if free and key not in self.read():
                value = make()
                print(f"{self.name}: {key}", flush=True)
                with _lock(self.name, "table", wait=True):
                    self._write(dict(sorted({**self.read(), key: value}.items())))

    def _write(self, cells: dict[str, Any]) -> None:
        """A line for each cell."""
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in cells.items()]
        write(self.path, "{\n" + ",\n".join(lines) + "\n}\n")


@contextmanager
def _lock(*names: str, wait: bool = False) -> Iterator[bool]:
    """A lock that its process's death opens; yields whether it was free."""
    path = SCRATCH / "locks" / "-".join(names).replace("/", "-")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
