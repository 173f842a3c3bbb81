"""`reconstruct`: what a masked autoencoder makes of a face that it sees a tenth of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.clips import ClipReader, FaceClip, Sampling, clip_labels, first_clips
from openmarlin.data.features import WindowRow
from openmarlin.errors import InputError, option
from openmarlin.face.landmarker import Landmarker
from openmarlin.jobs.settings import ReconstructSettings
from openmarlin.masking import make_mask, n_visible
from openmarlin.model.autoencoder import Autoencoder, denormalize
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import pick
from openmarlin.model.io import load, weights_sha256
from openmarlin.model.layers import patchify, to_model_input, unpatchify
from openmarlin.output import atomic
from openmarlin.regions import CELL_PX, to_cells
from openmarlin.regions import REGIONS as LAPA
from openmarlin.report.reconstruction import Shown, Video, film, paste, strips_sheet
from openmarlin.settings import documented, read_settings
from openmarlin.video.writer import write_video

PICTURE_FILE, FILM_FILE, ERRORS_FILE = "strips.png", "strips.mp4", "errors.json"

REGIONS = {
    "eyes": ("right_eye", "left_eye"),
    "nose": ("nose",),
    "mouth": ("mouth",),
    "hair": ("hair",),
    "skin": ("skin",),
    "background": ("background",),
}
"""What errors are told apart by; eyes include their brows (see `openmarlin.regions`)."""


@dataclass(frozen=True)
class Reconstructions:
    """What was written.

    Attributes:
        out: the folder.
        errors: what errors.json says, see `reconstruct`.
    """

    out: Path
    errors: dict[str, Any]


@documented(ReconstructSettings)
def reconstruct(
    video: str | Path,
    *,
    config: str | Path | None = None,
    progress: bool = False,  # noqa: ARG001 - every verb takes it; this one is done in seconds
    **settings: Any,
) -> Reconstructions:
    """Mask the largest face of a video and let a model fill in what is hidden.

    Writes into `out`: `strips.png`, for every window the original, what the model saw and the
    reconstruction; the same as a film, `strips.mp4`; and `errors.json`. In the reconstructions the
    visible patches are those of the original, pasted in: the model predicts masked ones only.

    Errors are those of masked pixels, predictions clipped to [0, 1]. For the whole, for every
    window, and there for every region of the face that has masked pixels:

    * `mse`: mean squared difference over pixels and their three channels, in [0, 1];
    * `psnr_db`: 10 log10(1 / mse), null where nothing differs;
    * `pixels`: how many pixels they are taken over.

    The numbers of the whole are taken over the pixels of all windows at once; frames that repeat
    the last one to fill a window do not count. `regions` is null where no face mesh was found.

    Args:
        video: a video with a face.
        config: a recipe, a YAML file of settings; arguments go over it.
        progress: changes nothing.
        {settings}

    Raises:
        OpenMarlinError: the video cannot be read or shows no face, the model is an encoder alone,
            an option is impossible, or `out` cannot be written.
    """
    s = read_settings(ReconstructSettings, config, settings)
    folder = _folder(s.out, s.overwrite)
    autoencoder = load(s.model, part="full")
    shape = autoencoder.config
    _mask(shape, None, s, 0)  # what is impossible shows before the video is read
    landmarker = Landmarker()
    sampling = Sampling(precropped=s.precropped, stride=shape.frames)
    reader = ClipReader(Path(video), sampling, landmarker, shape.image_size, shape.frames)
    done = [
        _reconstruct(autoencoder, clip, clip_labels(clip, landmarker), s)
        for clip in first_clips(reader, s.windows)
    ]
    errors = _record(Path(video), s, autoencoder, done)
    _write(folder, errors, done, reader.fps / sampling.rate)
    return Reconstructions(folder, errors)


def _folder(out: Path, overwrite: bool) -> Path:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a folder")
    there = [name for name in (PICTURE_FILE, FILM_FILE, ERRORS_FILE) if (out / name).exists()]
    if there and not overwrite:
        raise InputError(
            f"{out / there[0]}: exists already; add {option('overwrite', True)} or name another "
            "folder"
        )
    return out


@dataclass(frozen=True, slots=True)
class _Done:
    """One window, without the frames that only fill it.

    Attributes:
        row: which one it is.
        videos: original, what the model saw, reconstruction; each (T, S, S, 3).
        error: (T, S, S), squared, mean of the channels; NaN where the pixel was visible.
        labels: (T, S, S) classes of the pixels, or None.
    """

    row: WindowRow
    videos: tuple[Video, Video, Video]
    error: NDArray[np.float64]
    labels: NDArray[np.uint8] | None


def _reconstruct(
    autoencoder: Autoencoder,
    clip: FaceClip,
    labels: NDArray[np.uint8] | None,
    settings: ReconstructSettings,
) -> _Done:
    assert clip.pixels is not None
    config, row, real = autoencoder.config, clip.row, slice(clip.row.n_real)
    mask = _mask(config, labels, settings, row.window)
    cubes = _predict(autoencoder, clip.pixels, mask)
    videos = (clip.pixels, *paste(clip.pixels, mask, cubes, config))
    error = _squared_error(clip.pixels, mask, cubes, config)
    return _Done(
        row,
        (videos[0][real], videos[1][real], videos[2][real]),
        error[real],
        None if labels is None else labels[real],
    )


def _mask(
    config: ModelConfig,
    labels: NDArray[np.uint8] | None,
    settings: ReconstructSettings,
    window: int,
) -> NDArray[np.bool_]:
    """(N,), True = masked; without labels nothing is known of the face, as in a store."""
    if config.image_size % CELL_PX:
        cells = None
    elif labels is None:
        cells = np.zeros((config.frames, *[config.image_size // CELL_PX] * 2), np.uint16)
    else:
        cells = to_cells(labels)
    return make_mask(
        settings.masking,
        cells,
        grid=config.grid,
        ratio=settings.mask_ratio,
        rng=np.random.default_rng([settings.seed, window]),
        regions=settings.regions,
    )


@torch.inference_mode()
def _predict(
    autoencoder: Autoencoder, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The masked cubes (M, P) as pixels, of a clip (T, S, S, 3)."""
    config, hidden = autoencoder.config, torch.from_numpy(mask)[None]
    video = to_model_input(torch.from_numpy(pixels)[None])
    cubes = autoencoder(video, hidden)
    if config.normalize_targets:
        cubes = denormalize(cubes, pick(patchify(video, config.tubelet, config.patch), hidden))
    return np.asarray(cubes[0].float().numpy())


def _squared_error(
    pixels: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    cubes: NDArray[np.float32],
    config: ModelConfig,
) -> NDArray[np.float64]:
    """(T, S, S), mean of the channels; NaN where the pixel was visible."""
    values = torch.full((config.n_tokens, config.token_values), torch.nan, dtype=torch.float64)
    values[torch.from_numpy(mask)] = torch.from_numpy(cubes).double().clamp(0, 1)
    made = unpatchify(values[None], config.grid, config.tubelet, config.patch)[0]
    difference = made.permute(1, 2, 3, 0).numpy() - pixels / 255
    return np.asarray(np.square(difference).mean(axis=-1))


def _measure(error: NDArray[np.float64]) -> dict[str, Any]:
    """The numbers of some masked pixels (n,)."""
    if not error.size:
        return {"mse": None, "psnr_db": None, "pixels": 0}
    mse = float(error.mean())
    return {"mse": mse, "psnr_db": -10 * log10(mse) if mse else None, "pixels": error.size}


def _errors(windows: Sequence[_Done]) -> dict[str, Any]:
    """The numbers of all masked pixels of some windows, and by region."""
    masked = [np.isfinite(done.error) for done in windows]
    error = np.concatenate([w.error[m] for w, m in zip(windows, masked, strict=True)])
    known = [(w, m) for w, m in zip(windows, masked, strict=True) if w.labels is not None]
    by_region: dict[str, Any] | None = None
    if known:
        known_error = np.concatenate([w.error[m] for w, m in known])
        labels = np.concatenate([w.labels[m] for w, m in known if w.labels is not None])
        by_region = {
            name: _measure(known_error[np.isin(labels, [c for part in parts for c in LAPA[part]])])
            for name, parts in REGIONS.items()
        }
    return {**_measure(error), "regions": by_region}


def _record(
    video: Path, settings: ReconstructSettings, autoencoder: Autoencoder, windows: Sequence[_Done]
) -> dict[str, Any]:
    """What errors.json holds."""
    config = autoencoder.config
    tokens = config.n_tokens
    return {
        "video": str(video),
        "model": {
            "name": config.name,
            "sha256": weights_sha256(autoencoder),
            "trained": config.trained,
            "source": config.source,
            "licence": config.licence,
        },
        "settings": settings.recipe(),
        "notes": _notes(config),
        "tokens": tokens,
        "masked_tokens": tokens - n_visible(tokens, settings.mask_ratio),
        "overall": _errors(windows),
        "windows": [
            {
                "window": done.row.window,
                "face": done.row.face,
                "start_s": done.row.start_s,
                "end_s": done.row.end_s,
                "n_real": done.row.n_real,
                **_errors([done]),
            }
            for done in windows
        ],
    }


def _notes(config: ModelConfig) -> list[str]:
    """What a reader of pictures and numbers must know."""
    notes = [
        "Visible patches are pasted into the reconstructions: the model's own are only those that "
        "are grey in what it saw."
    ]
    if not config.trained:
        notes.append(f"The weights of '{config.name}' are untrained: what they make is noise.")
    if config.normalize_targets:
        notes.append(
            "The model predicts normalised patches: each got the mean and the deviation of the "
            "original's, so brightness and contrast are given, not predicted."
        )
    return notes


def _write(
    folder: Path, errors: dict[str, Any], windows: Sequence[_Done], frames_per_s: float
) -> None:
    shown = []
    for done, numbers in zip(windows, errors["windows"], strict=True):
        row, psnr = done.row, numbers["psnr_db"]
        line = f"window {row.window}, {row.start_s:.2f} to {row.end_s:.2f} s"
        line += "" if psnr is None else f": PSNR {psnr:.2f} dB on masked patches"
        shown.append(Shown(line, done.videos))
    settings, name = errors["settings"], errors["model"]["name"]
    how = " + ".join([settings["masking"], *settings["regions"]])
    title = (
        f"{Path(errors['video']).name}: {name}, {how}, "
        f"{errors['masked_tokens']:,} of {errors['tokens']:,} tokens masked"
    )
    strips_sheet(folder / PICTURE_FILE, shown, title=title, notes=errors["notes"])
    frames = film(shown, title=title, notes=errors["notes"])
    write_video(folder / FILM_FILE, frames, frames_per_s)
    with atomic(folder / ERRORS_FILE) as part:
        part.write_text(json.dumps(errors, indent=2) + "\n", encoding="utf-8")


def announce(result: Reconstructions) -> None:
    """Say in a few lines what came out and where to look."""
    errors = result.errors
    pasted, *warnings = errors["notes"]
    for warning in warnings:
        console.print(f"[yellow]{escape(warning)}[/]", soft_wrap=True)
    overall, count = errors["overall"], len(errors["windows"])
    psnr = overall["psnr_db"]
    told = "" if psnr is None else f", PSNR {psnr:.2f} dB on masked patches"
    console.print(
        f"{count} window{'' if count == 1 else 's'}, {errors['masked_tokens']:,} of "
        f"{errors['tokens']:,} tokens masked{told}"
    )
    console.print(pasted, soft_wrap=True)
    if overall["regions"] is None:
        console.print("No face mesh was found, so errors are not told apart by region.")
    console.print(f"Look at {escape(str(result.out / PICTURE_FILE))}", soft_wrap=True)
