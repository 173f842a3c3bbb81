"""Which models there are: shapes, names, and where weights live under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from openmarlin.config import DEFAULT_MODEL
from openmarlin.errors import ModelError


class ModelConfig(BaseModel):
    """What is needed to build a model, and where its weights come from: `config.json`.

    `positions` are sinusoids of the flattened `index` of a token, as in all published models, or of
    its time, row and column apart (`axes`), which a model learns to use in far fewer steps.
    `normalize_targets` says that the decoder predicts cubes less their mean, by their deviation.
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
    def cube_values(self) -> int:
        """P: values in one cube."""
        return 3 * self.tubelet * self.patch * self.patch

    @property
    def encoder_parameters(self) -> int:
        """Values in the encoder, its frozen position table included."""
        D = self.width
        embedding = self.cube_values * D + D
        return embedding + self.n_tokens * D + self.depth * self._block(D) + 2 * D

    @property
    def decoder_parameters(self) -> int:
        """Values in the decoder, its frozen position table included; 0 without one."""
        if self.decoder_width is None or self.decoder_depth is None:
            return 0
        D, P = self.decoder_width, self.cube_values
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
            faults = "; ".join(
                f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors()
            )
            raise ModelError(f"{where} cannot be built: {faults}") from None


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


@dataclass(frozen=True)
class Released:
    """Weights published by the authors of MARLIN. Nothing of them is part of this project."""

    name: str
    preset: str
    trained_on: str = "YouTube Faces"
    licence: str = "CC-BY-NC-4.0"

    @property
    def config(self) -> ModelConfig:
        """The shape of the model, and where it comes from."""
        return PRESETS[self.preset].changed(
            name=self.name, trained=True, source=self.page, licence=self.licence
        )

    @property
    def repo(self) -> str:
        """The hub repository that holds the encoder as safetensors."""
        return f"ControlNet/{self.name}"

    @property
    def page(self) -> str:
        """Where a person reads about it."""
        return f"https://huggingface.co/{self.repo}"

    @property
    def full_url(self) -> str:
        """The whole autoencoder, which only stands beside the authors' code."""
        place = "https://github.com/ControlNet/MARLIN/releases/download/model_v1"
        return f"{place}/{self.name}.full.pt"


RELEASED: dict[str, Released] = {
    f"marlin_vit_{size}_ytf": Released(f"marlin_vit_{size}_ytf", size)
    for size in ("small", "base", "large")
}


@dataclass(frozen=True)
class Shipped:
    """Weights inside this package: the encoder, and beside it the rest of the autoencoder.

    They were trained on clips for research only, so their licence is not that of the code.
    """

    name: str
    preset: str
    trained_on: str
    licence: str
    caution: str
    """What a user should know before relying on its features."""

    @property
    def folder(self) -> Path:
        """The model folder inside the package."""
        return Path(__file__).parents[1] / "weights" / self.name


SHIPPED: dict[str, Shipped] = {
    DEFAULT_MODEL: Shipped(
        DEFAULT_MODEL,
        "tiny",
        "983 tracks, inside",
        "research, non-commercial",
        "The weights are small and were trained for an hour on two CPU cores: their features tell "
        "people and head poses apart better than random weights do, and no better than raw pixels "
        "(docs/probes.md). For work that counts choose others with --model (see `openmarlin "
        "models`).",
    )
}


def caution(config: ModelConfig) -> str:
    """What a user must know before relying on a model's features; empty if nothing."""
    if not config.trained:
        return (
            f"The weights of '{config.name}' are untrained: the features have the right shape and "
            "no meaning. Choose trained ones with --model (see `openmarlin models`)."
        )
    return SHIPPED[config.name].caution if config.name in SHIPPED else ""


@dataclass(frozen=True)
class Listing:
    """One line of the catalogue: a name that `load` understands."""

    name: str
    width: int
    encoder_parameters: int
    download_mb: float
    """Of the encoder; 0 where nothing is fetched."""
    trained_on: str
    licence: str
    source: str


def catalogue() -> list[Listing]:
    """Every name that `load` understands: shipped, untrained, released."""
    shipped = [
        Listing(
            m.name,
            PRESETS[m.preset].width,
            PRESETS[m.preset].encoder_parameters,
            0.0,
            m.trained_on,
            m.licence,
            str(m.folder),
        )
        for m in SHIPPED.values()
    ]
    presets = [
        Listing(c.name, c.width, c.encoder_parameters, 0.0, "", "", c.source)
        for c in PRESETS.values()
    ]
    released = [
        Listing(
            r.name,
            r.config.width,
            r.config.encoder_parameters,
            round(r.config.encoder_parameters * 4 / 1e6, 1),
            r.trained_on,
            r.licence,
            r.page,
        )
        for r in RELEASED.values()
    ]
    return shipped + presets + released
