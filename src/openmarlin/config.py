"""Settings of the verbs: validated once, written into every result, shared by CLI and Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from openmarlin.errors import InputError

Tail = Literal["pad", "drop", "reference"]
Precision = Literal["auto", "fp32", "bf16"]
Backend = Literal["auto", "torch", "openvino"]

DEFAULT_MODEL = "openmarlin_vit_tiny"
"""Goes when the settings of `openmarlin.jobs.settings` are used."""

CLIP_FRAMES = 16
"""Frames a clip (MARLIN, section 4.1: 16 frames of 224x224)."""


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, errors as one line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Validate, turning pydantic's report into one `InputError` line."""
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else cls.__name__
            raise InputError(f"--{name.replace('_', '-')}: {first['msg']}") from None


class ExtractSettings(Settings):
    """How features are extracted. Two runs with equal settings give equal tables."""

    model: str = DEFAULT_MODEL
    faces: Literal["largest", "all"] | Annotated[int, Field(ge=1)] = "largest"
    precropped: bool = False
    align: bool = False
    rate: int = Field(2, ge=1)
    stride: int = Field(16, ge=1)
    tail: Tail = "pad"
    tokens: bool = False
    precision: Precision = "auto"
    backend: Backend = "auto"
    limit_seconds: float | None = Field(None, gt=0)


class PrepareSettings(Settings):
    """How a store is made. Equal settings and videos give equal stores, byte for byte."""

    size: int = Field(224, ge=32, multiple_of=8)
    margin: int = Field(16, ge=0, multiple_of=8)
    min_frames: int = Field(32, ge=1)
    max_frames: int = Field(300, ge=1)
    min_face_px: float = Field(64, ge=0)
    limit_seconds: float | None = Field(None, gt=0)


class ReconstructSettings(Settings):
    """What is reconstructed. Equal settings, videos and models give equal numbers."""

    model: str = DEFAULT_MODEL
    masking: str = "fasking"
    mask_ratio: float = Field(0.9, gt=0, lt=1)
    regions: tuple[str, ...] = ()
    windows: int = Field(4, ge=1, le=64)
    precropped: bool = False
    seed: int = Field(0, ge=0)
