"""The shape of a model, and where its weights come from: `ModelConfig` and the presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from openmarlin.errors import ModelError


class ModelConfig(BaseModel):
    """What is needed to build a model, and where its weights come from: `config.json`.

    `positions` are sinusoids of the flattened `index` of a token, as in all published models, or of
    its time, row and column apart (`axes`), which a model learns to use in far fewer steps.
    `normalize_targets` says that the decoder predicts the values of a token less their mean, by
    their deviation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "custom"
    image_size: int = Field(224, gt=0)
    frames: int = Field(16, gt=0)
    patch: int = Field(16, gt=0)
    tubelet: int = Field(2, gt=0)
    width: int = Field(gt=0)
    depth: int = Field(gt=0)
    heads: int = Field(gt=0)
    mlp_ratio: float = Field(4.0, gt=0)
    layer_norm_eps: float = Field(1e-5, gt=0)
    positions: Literal["index", "axes"] = "index"
    decoder_width: int | None = Field(None, gt=0)
    decoder_depth: int | None = Field(None, gt=0)
    decoder_heads: int | None = Field(None, gt=0)
    normalize_targets: bool = False
    trained: bool = False
    source: str = ""
    licence: str = ""

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        for whole, part in (
            ("image_size", "patch"),
            ("frames", "tubelet"),
            ("width", "heads"),
            ("decoder_width", "decoder_heads"),
        ):
            a, b = getattr(self, whole), getattr(self, part)
            if a is not None and b is not None and a % b:
                raise ValueError(f"{whole} {a} is not a multiple of {part} {b}")
        decoder = (self.decoder_width, self.decoder_depth, self.decoder_heads)
        if None in decoder and any(decoder):
            raise ValueError("decoder_width, decoder_depth and decoder_heads go together")
        return self

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        side = self.image_size // self.patch
        return self.frames // self.tubelet, side, side

    @property
    def n_tokens(self) -> int:
        """N: tokens a clip."""
        t, h, w = self.grid
        return t * h * w

    @property
    def token_values(self) -> int:
        """P: pixel values in one token."""
        return 3 * self.tubelet * self.patch * self.patch

    @property
    def encoder_parameters(self) -> int:
        """Values in the encoder, its frozen position table included."""
        D = self.width
        embedding = self.token_values * D + D
        return embedding + self.n_tokens * D + self.depth * self._block(D) + 2 * D

    @property
    def decoder_parameters(self) -> int:
        """Values in the decoder, its frozen position table included; 0 without one."""
        if self.decoder_width is None or self.decoder_depth is None:
            return 0
        D, P = self.decoder_width, self.token_values
        return D + self.n_tokens * D + self.decoder_depth * self._block(D) + 2 * D + P * D + P

    def _block(self, D: int) -> int:
        hidden = round(D * self.mlp_ratio)
        return 4 * D * D + 2 * D * hidden + hidden + 8 * D

    def encoder_alone(self) -> ModelConfig:
        """The same without a decoder."""
        decoder = dict.fromkeys(("decoder_width", "decoder_depth", "decoder_heads"))
        return self.changed(**decoder, normalize_targets=False)

    def changed(self, **fields: Any) -> ModelConfig:
        """A copy with some fields replaced.

        Raises:
            ModelError: the fields do not fit together.
        """
        return ModelConfig.of({**self.model_dump(), **fields}, where=f"model '{self.name}'")

    @classmethod
    def of(cls, fields: Mapping[str, Any], *, where: str) -> ModelConfig:
        """A config from untrusted fields; pydantic's report becomes one line.

        Raises:
            ModelError: a field is unknown, missing or wrong, or they do not fit together.
        """
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            raise ModelError(f"{where} cannot be built: {faults_of(error)}") from None


def faults_of(error: ValidationError) -> str:
    """Pydantic's report in one line."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors())


def _preset(name: str, encoder: tuple[int, int, int], decoder: tuple[int, int, int]) -> ModelConfig:
    return ModelConfig(
        name=name,
        width=encoder[0],
        depth=encoder[1],
        heads=encoder[2],
        decoder_width=decoder[0],
        decoder_depth=decoder[1],
        decoder_heads=decoder[2],
        source="untrained preset",
    )


PRESETS: dict[str, ModelConfig] = {
    preset.name: preset
    for preset in (
        _preset("tiny", (192, 12, 3), (192, 4, 3)),
        _preset("small", (384, 12, 6), (192, 4, 3)),
        _preset("base", (768, 12, 12), (384, 4, 6)),
        _preset("large", (1024, 24, 16), (512, 12, 8)),
    )
}
