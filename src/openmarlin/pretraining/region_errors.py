"""How far reconstructions are off, over the whole picture and by region of the face."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.model.config import ModelConfig
from openmarlin.model.layers import unpatchify
from openmarlin.regions import REGIONS

GROUPS = {
    "eyes": ("right_eye", "left_eye"),
    **{name: (name,) for name in ("nose", "mouth", "hair", "skin", "background")},
}
"""What errors are told apart by -> regions; eyes include their brows."""

ClipError = tuple[NDArray[np.float64], NDArray[np.uint8] | None]
"""Of a clip: squared errors (T, S, S), NaN where visible, and class ids (T, S, S) or None."""


def squared_error(
    pixels: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    values: NDArray[np.float32],
    config: ModelConfig,
) -> NDArray[np.float64]:
    """Squared error of each masked pixel, predictions clipped to [0, 1].

    Args:
        pixels: uint8 RGB (T, S, S, 3).
        mask: bool (N,), True = masked.
        values: (M, P), the masked tokens as predicted.
        config: of the model.

    Returns:
        (T, S, S), mean of the channels; NaN where the pixel was visible.
    """
    tokens = torch.full((config.n_tokens, config.token_values), torch.nan, dtype=torch.float64)
    tokens[torch.from_numpy(mask)] = torch.from_numpy(values).double().clamp(0, 1)
    video = unpatchify(tokens[None], config.grid, config.tubelet, config.patch)[0]
    difference = video.permute(1, 2, 3, 0).numpy() - pixels / 255
    return np.asarray(np.square(difference).mean(axis=-1))


def region_errors(clips: Sequence[ClipError]) -> dict[str, Any]:
    """mse, psnr_db and pixels over all masked pixels of some clips, and the same by region.

    `regions` is None where no clip has labels.
    """
    everything = np.concatenate([error[np.isfinite(error)] for error, _ in clips])
    labelled = [(e[np.isfinite(e)], c[np.isfinite(e)]) for e, c in clips if c is not None]
    by_region: dict[str, Any] | None = None
    if labelled:
        errors, labels = (np.concatenate(parts) for parts in zip(*labelled, strict=True))
        by_region = {
            name: _summary(errors[np.isin(labels, [c for part in parts for c in REGIONS[part]])])
            for name, parts in GROUPS.items()
        }
    return {**_summary(everything), "regions": by_region}


def _summary(error: NDArray[np.float64]) -> dict[str, Any]:
    """The numbers of some masked pixels (n,)."""
    if not error.size:
        return {"mse": None, "psnr_db": None, "pixels": 0}
    mse = float(error.mean())
    return {"mse": mse, "psnr_db": -10 * log10(mse) if mse else None, "pixels": error.size}
