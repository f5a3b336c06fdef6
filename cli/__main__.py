"""`tinynas`, and `python -m tinynas.cli`."""

import sys

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
        print(f"tinynas: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
