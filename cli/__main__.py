"""`tinynas`, and `python -m tinynas.cli`."""

import sys
from typing import NoReturn

from tinynas.utils.errors import TinyNASError

from .app import app

_INTERRUPTED = 130  # exit code after Ctrl-C, by the shells' convention


def main() -> None:
    """Run a command. Exit code 0; 1 with one line on stderr for an error; 2 for wrong usage."""
    try:
        app(prog_name="tinynas")
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            print("tinynas: interrupted; add --resume to continue from the last checkpoint", file=sys.stderr)
        raise
    except (TinyNASError, OSError) as error:
        _fail(error)
    except RuntimeError as error:
        from tinynas.data.loading import killed_loader_error

        killed = killed_loader_error(error)
        if killed is None:
            raise
        _fail(killed)


def _fail(error: Exception) -> NoReturn:
    """Print an error as one line, and exit."""
    print(f"tinynas: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
