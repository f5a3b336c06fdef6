"""Data sets that a Python program passes on: by name, or its own, which get a name."""

import re

from ..data.datasets import Datasets
from ..data.registry import DATA_SETS, register_data_set
from ..utils.errors import InputError

_NAME = re.compile(r"[\w][\w -]*")  # which is also part of a folder's name
_SHIPPED = frozenset(DATA_SETS)
DataSet = str | Datasets  # "NAME", "NAME:PATH", or a program's own


def data_name(data: DataSet | None) -> str | None:
    """Return the name by which a data set can be loaded in this process.

    A program's own is read now, and known by its name from now on.

    Raises:
        InputError: A sample of it is not as `Datasets` says, or its name is another data set's, or has other
            characters than letters, digits, spaces, "-" and "_".
    """
    if not isinstance(data, Datasets):
        return data
    if not _NAME.fullmatch(data.name):
        raise InputError(f'name must be letters, digits, spaces, "-" and "_", but is {data.name!r}; choose another')
    if data.name in _SHIPPED:
        raise InputError(f"name is {data.name!r}, which is a data set of tinynas; choose another")
    loaded = data.load()
    register_data_set(data.name, lambda path: loaded)
    return data.name
