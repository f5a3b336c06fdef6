"""A worker's program: `python -m tinynas.pipelines.search_worker PARENT` searches until the study is complete.

It reads a pickled WorkerTask from stdin and writes messages to stdout. It ends when its parent is gone, whatever it is
doing: first it is interrupted, so that it releases the network that it evaluates; after two seconds it is killed. What
takes long to import is therefore imported after that is set up.
"""

import os
import pickle
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING

from ..utils.errors import TinyNASError
from ..utils.processes import TERMINATED, exit_on_sigterm, watch_parent

if TYPE_CHECKING:
    from .search_workers import WorkerTask

_STOP_SECONDS = 2.0


def main(parent: int) -> int:
    """Search as the task on stdin says.

    Args:
        parent: Process id of the process that started this one.

    Returns:
        The exit code; if it is not 0, the last line on stderr says why.
    """
    messages = os.dup(1)
    os.dup2(2, 1)  # what others print is no message
    try:
        watch_parent(parent, _end)
        _search(pickle.load(sys.stdin.buffer), messages)
    except SystemExit:
        return TERMINATED
    except TinyNASError as error:
        print(error, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _search(task: "WorkerTask", descriptor: int) -> None:
    """Search the supernet of a task, and write messages to a file descriptor."""
    import torch

    from ..models.supernet import Supernet
    from ..training.backend import use_gpu_layout
    from .search_progress import SearchProgress
    from .search_study import search_supernet
    from .search_workers import WorkerMessages

    messages = WorkerMessages(os.fdopen(descriptor, "wb"))
    torch.set_num_threads(task.threads)
    supernet = Supernet(task.space)
    supernet.load_state_dict(task.weights)
    supernet.to(task.device)
    supernet.fused = task.fused
    use_gpu_layout(supernet)
    progress = SearchProgress(messages.show, task.plan.front_costs)
    messages.ready()
    with exit_on_sigterm():  # earlier, there is nothing to release
        search_supernet(task.plan, supernet, task.data, after_trial=progress.after_trial, note=messages.note)


def _end() -> None:
    """Interrupt the main thread, and kill this process and those that it has started if that does not end it."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_STOP_SECONDS)
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)  # at once: with torch, the interpreter takes a second to exit
