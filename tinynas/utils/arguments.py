"""Arguments that a program passes to functions and classes of tinynas: what lacks or is misspelt, in one line."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar, get_args

from .errors import InputError, unknown

T = TypeVar("T")


def check_arguments(
    function: Callable[..., Any], name: str, arguments: Sequence[object], named: Mapping[str, object]
) -> None:
    """Check that a function can be called with these arguments.

    Args:
        function: The function, whose `**keywords` may be an unpacked TypedDict.
        name: What the program calls it.
        arguments: The positional arguments.
        named: The keyword arguments.

    Raises:
        InputError: An argument is missing, too many, or unknown; the nearest keyword is named.
    """
    call = signature(function)
    try:
        call.bind(*arguments, **named)
    except TypeError as error:
        known: set[str] = set()
        for parameter in call.parameters.values():
            if parameter.kind is Parameter.VAR_KEYWORD:
                for keywords in get_args(parameter.annotation):
                    known |= keywords.__annotations__.keys()
            elif parameter.kind is not Parameter.VAR_POSITIONAL:
                known.add(parameter.name)
        for key in named:
            if key not in known:
                raise unknown(f"key in {name}()", key, known - {"self"}) from None
        raise InputError(f"{name}(): {error}; its documentation says which it takes") from None


def checks_arguments(name: str) -> Callable[[type[T]], type[T]]:
    """Let a class check the arguments of its constructor by `check_arguments`.

    Args:
        name: What a program calls the class.

    Returns:
        A decorator for the class.
    """

    def decorate(kind: type[T]) -> type[T]:
        construct: Callable[..., None] = kind.__init__

        @wraps(construct)
        def checked(self: T, *arguments: Any, **named: Any) -> None:
            check_arguments(construct, name, (self, *arguments), named)
            construct(self, *arguments, **named)

        kind.__init__ = checked  # type: ignore[assignment]
        return kind

    return decorate
