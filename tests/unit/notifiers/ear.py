"""A listener that remembers."""

from headrace.testing.bells import Ear

__all__ = ["Ear"]
