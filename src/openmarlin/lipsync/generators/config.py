"""What a generator is: `GeneratorConfig`, its config.json. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from openmarlin.errors import ModelError
from openmarlin.model.config import faults_of

System = Literal["speech2vid", "lipgan", "wav2lip", "attn_wav2lip", "wav2lip_vit"]
"""The rows of the paper's table; its last three are `wav2lip_vit` with different `init`."""

Init = Literal["none", "videomae", "marlin"]


class SoundShape(NamedTuple):
    """What a network hears of a frame: the kind, rows and columns."""

    kind: Literal["mel", "lipgan_mfcc"]
    rows: int
    columns: int


MEL = SoundShape("mel", 80, 16)
LIPGAN_MFCC = SoundShape("lipgan_mfcc", 12, 35)

_MULTIPLE = {"wav2lip": 32, "attn_wav2lip": 32, "lipgan": 32, "wav2lip_vit": 16, "speech2vid": 16}
_SMALLEST = {"speech2vid": 64}


class GeneratorConfig(BaseModel):
    """What is needed to build a generator.

    Attributes:
        system: which network.
        width: factor of the published numbers of channels.
        size: S, side of the faces it takes and gives, pixels. Published sizes: 96; 112 for
            speech2vid.
        frames: F, frames that are drawn together; 1: each by itself, any number at a time.
        sound_centre_s: the middle of a frame's window of sound lies so many seconds after the
            frame's presentation time. 0.02 is the middle of a frame at 25 a second.
        init: where the encoder of wav2lip_vit got its first weights.
        encoder: of wav2lip_vit: what `openmarlin.load` takes; a preset where `init` is none.
        encoder_size: side of the faces that this encoder sees, pixels.
        encoder_frozen: the encoder stays as it is while the rest is trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: System
    width: float = Field(1.0, gt=0, le=4)
    size: int = Field(96, ge=32, le=1024)
    frames: int = Field(1, gt=0)
    sound_centre_s: float = 0.02
    init: Init = "none"
    encoder: str = "base"
    encoder_size: int = Field(224, ge=32, le=1024)
    encoder_frozen: bool = True

    @model_validator(mode="before")
    @classmethod
    def _default_frames(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and fields.get("system") == "wav2lip_vit":
            return {"frames": 16, **fields}
        return fields

    @model_validator(mode="after")
    def _fits(self) -> GeneratorConfig:
        multiple, smallest = _MULTIPLE[self.system], _SMALLEST.get(self.system, 32)
        if self.size % multiple or self.size < smallest:
            raise ValueError(
                f"size {self.size} does not fit {self.system}: multiples of {multiple} from "
                f"{smallest} do"
            )
        if self.system != "wav2lip_vit" and self.frames != 1:
            raise ValueError(f"{self.system} draws frames one by one: frames is 1")
        if self.system == "wav2lip_vit" and self.encoder_size % 16:
            raise ValueError(f"encoder_size {self.encoder_size} is not a multiple of 16")
        return self

    @property
    def sound(self) -> SoundShape:
        """What it hears of a frame."""
        return LIPGAN_MFCC if self.system in ("speech2vid", "lipgan") else MEL

    @classmethod
    def of(cls, fields: Mapping[str, Any], *, where: str) -> GeneratorConfig:
        """A config from untrusted fields; pydantic's report becomes one line.

        Raises:
            ModelError: a field is unknown, missing or wrong, or they do not fit together.
        """
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            faults = faults_of(error)
            raise ModelError(f"{where}: no generator can be built of this: {faults}") from None
