"""Errors of layers, with the layer's name in front."""

from collections.abc import Iterator
from contextlib import contextmanager


class LayerError(Exception):
    """Raised inside a layer; each combinator around it adds a name to the path."""

    def __init__(self, message: str):
        super().__init__(message)
        self.path: list[str] = []

    def __str__(self) -> str:
        return ": ".join(filter(None, ["/".join(self.path), super().__str__()]))


class LayerValueError(LayerError, ValueError):
    """A value or a shape that the layer cannot take."""


class LayerTypeError(LayerError, TypeError):
    """A tree or a type that the layer cannot take."""


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Add the layer's name to any error raised within."""
    try:
        yield
    except LayerError as error:
        error.path.insert(0, name)
        raise
    except Exception as error:
        error.add_note(f"raised in layer `{name}`")
        raise
