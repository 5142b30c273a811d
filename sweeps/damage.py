"""Damaged data, distinguished from failures of a model by processes that import neither PyTorch nor the data."""

from __future__ import annotations


class ImageError(ValueError):
    """An image cannot be read; the message says which and why. It is not a model failure."""

    @classmethod
    def of(cls, image: str, error: Exception) -> ImageError:
        """The error of an image, a file or a row, from the exception that was raised."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        first_line = (reason.splitlines() or [""])[0]
        return cls(f"{image} cannot be read as an image: {first_line or type(error).__name__}.")
