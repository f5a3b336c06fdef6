"""Context managers that silence other packages for a while and then restore what was there before."""

import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import BinaryIO


@contextmanager
def logging_disabled(level: int = logging.WARNING) -> Iterator[None]:
    """Drop log records up to a level, process-wide; afterwards restore the level that was disabled before."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def output_discarded() -> Iterator[None]:
    """Discard warnings and all output on stdout and stderr, including what C++ code writes to file descriptor 2."""
    sys.stderr.flush()
    discarded = io.StringIO()
    with (
        warnings.catch_warnings(),
        redirect_stdout(discarded),
        redirect_stderr(discarded),
        _stderr_descriptor_discarded(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def stderr_descriptor_captured() -> Iterator[BinaryIO]:
    """Capture what C++ code writes to file descriptor 2; yields a file to read it from, from the start."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured, _stderr_descriptor_redirected(captured.fileno()):
        yield captured


@contextmanager
def _stderr_descriptor_discarded() -> Iterator[None]:
    """Point file descriptor 2 of the process to the null device; afterwards point it to where it was before."""
    with open(os.devnull, "w", encoding="utf-8") as null_device, _stderr_descriptor_redirected(null_device.fileno()):
        yield


@contextmanager
def _stderr_descriptor_redirected(descriptor: int) -> Iterator[None]:
    """Point file descriptor 2 of the process to another file; afterwards point it to where it was before."""
    before = os.dup(2)
    try:
        os.dup2(descriptor, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
