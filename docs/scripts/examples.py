"""An extension of griffe, which reads docstrings for mkdocstrings: a section "Example:" is one of examples."""

from typing import Any

from griffe import Extension, Object


class ExampleSections(Extension):
    """Has griffe read "Example:" as the title that it knows, "Examples:"."""

    def on_object(self, *, obj: Object, **context: Any) -> None:
        """Change the title in an object's docstring; called by griffe for each object."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
