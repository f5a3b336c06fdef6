"""A worker's program: `python -m tinynas.pipelines.worker PARENT` carries out a task of the process that starts it.

It reads a pickled `WorkerTask` from stdin and writes messages to stdout. It ends when its parent is gone, whatever it
is doing: first it is interrupted, so that it releases what it works on; after two seconds it is killed. What takes long
to import is therefore imported, by reading the task, after that is set up.
"""

import os
import pickle
import signal
import sys
import time
import traceback

from ..utils.errors import TinyNASError
from ..utils.processes import TERMINATED, watch_parent

_STOP_SECONDS = 2.0


def main(parent: int) -> int:
    """Carry out the task on stdin.

    Args:
        parent: Process id of the process that started this one.

    Returns:
        The exit code; if it is not 0, the last line on stderr says why.
    """
    messages = os.dup(1)
    os.dup2(2, 1)  # what others print is no message
    try:
        watch_parent(parent, _end)
        _carry_out(messages)
    except SystemExit:
        return TERMINATED
    except TinyNASError as error:
        print(error, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _carry_out(descriptor: int) -> None:
    """Carry out the task on stdin, and write messages to a file descriptor."""
    task = pickle.load(sys.stdin.buffer)

    from .worker_processes import Messages

    task.run(Messages(os.fdopen(descriptor, "wb")))


def _end() -> None:
    """Interrupt the main thread, and kill this process and those that it has started if that does not end it."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_STOP_SECONDS)
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)  # at once: with torch, the interpreter takes a second to exit
