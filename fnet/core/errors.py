"""Errors raised inside layers, prefixed with the path of the layer."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

OF_JAX = jax.errors.JAXTypeError, jax.errors.JAXIndexError  # which say themselves what is wrong


class LayerError(Exception):
    """An error inside a layer; each enclosing combinator prepends a name to its path."""

    def __init__(self, message: str):
        super().__init__(message)
        self.path: list[str] = []

    def __str__(self) -> str:
        return ": ".join(filter(None, ["/".join(self.path), super().__str__()]))


class LayerValueError(LayerError, ValueError):
    """The layer does not support this value or shape."""


class LayerTypeError(LayerError, TypeError):
    """The layer does not support this tree or type."""


class LayerAttributeError(LayerError, AttributeError):
    """A graph has no layer of this name."""


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Add the layer's name to any error raised in the block."""
    try:
        yield
    except LayerError as error:
        error.path.insert(0, name)
        raise
    except Exception as error:
        error.add_note(f"raised in layer `{name}`")
        raise
