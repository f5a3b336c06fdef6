"""Cells: measurements that are saved one by one, so that a benchmark can be interrupted and shared by processes."""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinynas.utils.io import write

from .paths import RESULTS, SCRATCH, slug


class Cells:
    """The cells of a benchmark, in results/NAME.json.

    Args:
        name: Name of the benchmark.
        only: Part of the names of the cells that `measure` measures; "" selects all.
        again: Whether `measure` replaces cells that are saved.
    """

    def __init__(self, name: str, *, only: str = "", again: bool = False) -> None:
        self.name = name
        self.path = RESULTS / f"{name}.json"
        self.only = only
        self.again = again

    def read(self) -> dict[str, Any]:
        """Return the cells saved so far, by their names."""
        if not self.path.exists():
            return {}
        return json.loads(self.path.read_text())

    def measure(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        """Save `function(*args)` as a cell, if it is selected, is not saved, and no other process is measuring it."""
        if self.only in name:
            self._measure(name, function, *args, again=self.again)

    def require(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Return a cell that others depend on; measure it first if it is not saved.

        A process that needs a cell which another one is measuring waits for it.
        """
        self._measure(name, function, *args, wait=True)
        return self.read()[name]

    def _measure(
        self, name: str, function: Callable[..., Any], *args: Any, again: bool = False, wait: bool = False
    ) -> None:
        if name in self.read() and not again:
            return
        with _lock(self.name, name, wait=wait) as acquired:
            if not acquired or (name in self.read() and not again):
                return
            value = function(*args)
            print(f"{self.name}: measured {name}", flush=True)
            with _lock(self.name, "table", wait=True):
                self._write({**self.read(), name: value})

    def _write(self, cells: dict[str, Any]) -> None:
        """Write the cells in order of their names, each on a line."""
        lines = []
        for name, value in sorted(cells.items()):
            lines.append(f"{json.dumps(name)}: {json.dumps(value)}")
        write(self.path, "{\n" + ",\n".join(lines) + "\n}\n")


@contextmanager
def _lock(*names: str, wait: bool) -> Iterator[bool]:
    """Hold a lock that is released when the process ends; yield whether it was acquired."""
    path = SCRATCH / "locks" / slug("-".join(names))
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    with path.open("w") as file:
        try:
            fcntl.flock(file, mode)
        except BlockingIOError:
            yield False
        else:
            yield True
