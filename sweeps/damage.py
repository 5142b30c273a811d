"""Damaged data, told apart from failures of a model by processes that import neither PyTorch nor the data."""

from __future__ import annotations


class PictureError(ValueError):
    """A picture cannot be read; the message says which and why. No model is to blame."""

    @classmethod
    def of(cls, picture: str, error: Exception) -> PictureError:
        """The error of a picture, a file or a row, from the one that came up."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        first_line = (reason.splitlines() or [""])[0]
        return cls(f"{picture} cannot be read as a picture: {first_line or type(error).__name__}.")
