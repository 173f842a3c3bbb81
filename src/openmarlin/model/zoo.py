"""Which models there are: shapes, names, and where weights live under which licence."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ModelConfig(BaseModel):
    """What is needed to build a model, and where its weights come from: `config.json`."""

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
    decoder_width: int | None = Field(None, gt=0)
    decoder_depth: int | None = Field(None, gt=0)
    decoder_heads: int | None = Field(None, gt=0)
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
    def cube_values(self) -> int:
        """P: values in one cube."""
        return 3 * self.tubelet * self.patch * self.patch

    @property
    def has_decoder(self) -> bool:
        """Whether the config describes the whole autoencoder or the encoder alone."""
        return self.decoder_width is not None

    def changed(self, **fields: Any) -> ModelConfig:
        """A validated copy with some fields replaced."""
        return ModelConfig.model_validate({**self.model_dump(), **fields})


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
