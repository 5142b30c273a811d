"""Opening an image with Pillow: supported formats, a limit on pixels, gray values with more than 8 bits."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweeps.data.source import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow identifies but does not decode itself. For EPS it would run Ghostscript on the file."""

MIN_IS_WHITE, PHOTOMETRIC = 0, 262
"""Value and number of the TIFF tag for inverted gray values, which Pillow ignores above 8 bits."""


@functools.cache
def formats() -> tuple[str, ...]:
    """Return the names of the supported image formats, the most frequent first."""
    from PIL import Image

    Image.init()
    return tuple(dict.fromkeys(("JPEG", "PNG", *(name for name in Image.ID if name not in NOT_DECODED))))


@functools.cache
def suffixes() -> frozenset[str]:
    """Return the suffixes of the supported files, in lower case."""
    from PIL import Image

    readable = {*formats(), "MPO"}  # opened as JPEG
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in readable)


@dataclass(frozen=True)
class ImageReader:
    """Opens images. See `DataConfig` for the two settings."""

    max_pixels: int
    white_level: float | None = None

    def open(self, path: str) -> Image:
        """Return the first frame of a file, in a mode with 8 bits per channel; decoded only to convert it.

        The EXIF orientation is ignored.

        Raises:
            ImageError: the format is not supported, the image is too large, or the range of its values is unknown.
        """
        from PIL import Image

        self.limit_pixels()
        try:
            image = Image.open(path, formats=formats())
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise self._too_large(path) from None
        except Exception as error:
            raise ImageError.of(path, error) from error
        try:
            return self.accept(image, path)
        except ImageError:
            image.close()
            raise

    def limit_pixels(self) -> None:
        """Set Pillow's own limit; it does not decode images of more than twice as many pixels."""
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = self.max_pixels

    def accept(self, image: Image, name: str) -> Image:
        """Return an open image in a mode with 8 bits per channel; raises as `open`, with this name in messages."""
        if image.width * image.height > self.max_pixels:
            raise self._too_large(name)
        if image.mode in ("I", "F") or image.mode.startswith("I;"):
            with image:
                return self._to_8_bits(image, name)
        return image

    def _too_large(self, name: str) -> ImageError:
        return ImageError(f"{name}: must have at most data.max_pixels = {self.max_pixels} pixels")

    def _to_8_bits(self, image: Image, name: str) -> Image:
        """Scale gray values 0 … white to 0 … 255."""
        from PIL import Image

        scaled = (
            image.format == "PPM" and image.mode == "I"
        )  # Pillow scales a PGM, which specifies its range, to 16 bits
        white = 65535 if scaled else self.white_level
        kind = f"{name}: gray values with more than 8 bits (mode {image.mode})"
        if white is None:
            raise ImageError(
                f"{kind}; set data.white_level to the value of white: "
                "65535 if all 16 bits are used, 4095 for 12 bits stored in 16, 1.0 for floats up to 1"
            )
        if image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == MIN_IS_WHITE:  # type: ignore[attr-defined]
            raise ImageError(f"{kind}: 0 must be black, but is white (TIFF photometric interpretation 0)")
        try:
            values = np.asarray(image, np.float64)
            low, high = values.min(), values.max()
        except Exception as error:
            raise ImageError.of(name, error) from error
        if not 0 <= low <= high <= white:
            raise ImageError(f"{kind} from {low:g} to {high:g}: must be between 0 and data.white_level = {white:g}")
        return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))
