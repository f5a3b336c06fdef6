"""`tinynas`, and `python -m tinynas.cli`."""

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any, NoReturn, TextIO

import typer

from tinynas.utils.errors import TinyNASError
from tinynas.utils.processes import TERMINATED, exit_on_sigterm

from .app import app

_UsageError: Any = typer.BadParameter.__base__  # typer has no public name for it
_WITH_CHECKPOINTS = {"search", "retrain", "quickstart", "tune", "reproduce"}  # commands that continue
_STOPPED = {130: "interrupted", TERMINATED: "terminated"}  # by exit code; the shells' convention


def main() -> None:
    """Run a command. Exit code 0; 1 with one line on stderr for an error; 2 for wrong usage; 130 or 143 if stopped."""
    escape_unencodable(sys.stdout, sys.stderr)
    show_progress_messages()
    with exit_on_sigterm():
        _run()


def _run() -> None:
    """Run the command of the command line, and exit."""
    _refuse_empty(sys.argv[1:])
    try:
        sys.exit(app(prog_name="tinynas", standalone_mode=False))
    except _UsageError as error:
        _fail_usage(error)
    except SystemExit as end:
        if end.code in _STOPPED:
            print(f"tinynas: {_STOPPED[end.code]}; {_how_to_continue(sys.argv)}", file=sys.stderr)
        raise
    except UnicodeEncodeError as error:
        _fail(
            f"the locale's encoding, {error.encoding}, lacks a character of the name {error.object!a}; "
            "set the environment variable PYTHONUTF8=1"
        )
    except (TinyNASError, OSError) as error:
        _fail(error)
    except RuntimeError as error:
        from tinynas.data.loading import killed_loader_error
        from tinynas.utils.device_errors import device_error

        explained = killed_loader_error(error) or device_error(error)
        if explained is None:
            raise
        _fail(explained)


def _refuse_empty(words: Sequence[str]) -> None:
    """Fail if an argument of a command line is empty, such as a variable of a script that is not set."""
    if "" in words:
        before = shlex.join(["tinynas", *words[: list(words).index("")]])
        _fail(f"the argument after `{before}` is empty; write it, or remove it")


def _how_to_continue(words: Sequence[str]) -> str:
    """Return what continues an interrupted command."""
    options = {word.split("=")[0] for word in words}
    if not set(words[1:2]) & _WITH_CHECKPOINTS:
        return "run it again"
    if words[1:2] == ["quickstart"] and "--run" not in options:
        return f"continue with: tinynas {shlex.join(words[1:])} --run FOLDER"  # which the command has shown
    again = words[1:2] in (["quickstart"], ["tune"], ["reproduce"]) or "--front" in options
    return f"{'run it again' if again else 'add --resume'} to continue from the last checkpoint, if there is one"


def _fail(error: object) -> NoReturn:
    """Print an error as one line, and exit."""
    print(f"tinynas: {' '.join(str(error).split())}", file=sys.stderr)
    _discard_unwritable_output()
    sys.exit(1)


def _fail_usage(error: Any) -> NoReturn:
    """Print what is wrong with a command line as one line, and exit; nothing where typer has shown the help."""
    message = " ".join(error.format_message().split()).removesuffix(".")
    if message:
        command = error.ctx.command_path if error.ctx else "tinynas COMMAND"  # of a value that is missing there is none
        print(f"tinynas: {message}; see {command} --help", file=sys.stderr)
    sys.exit(error.exit_code)


def _discard_unwritable_output() -> None:
    """Discard what cannot be written to stdout, which Python would try, and report, again when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escape_unencodable(*streams: TextIO) -> None:
    """Let streams write characters that their encoding lacks as escapes such as \\u5706, instead of failing."""
    for stream in streams:
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_progress_messages() -> None:
    """Print what the package logs, such as how far a long check of files is, on stderr."""
    logging.getLogger("tinynas").setLevel(logging.INFO)
    if logging.lastResort:  # the handler of programs that configure none
        logging.lastResort.setLevel(logging.INFO)


if __name__ == "__main__":
    main()
