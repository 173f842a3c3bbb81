"""HTML pages of one look, with everything they show inside them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, PackageLoader, StrictUndefined

from openmarlin.files import atomic
from openmarlin.report import words
from openmarlin.video.picture import Image


def write_page(path: Path, template: str, content: Mapping[str, Any]) -> Path:
    """Fill in `template`; the file appears whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("openmarlin.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plural"] = words.count
    page = environment.get_template(template).render(content)
    with atomic(path) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path


def jpeg(image: Image, quality: int) -> bytes:
    """uint8 RGB (H, W, 3) as a JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def data_address(picture: bytes) -> str:
    """The bytes of a JPEG as what an <img> takes in place of a file."""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()
