"""`reconstruct`: what a masked autoencoder makes of a face that it sees a tenth of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.clips import ClipReader, FaceClip, Sampling, clip_labels, first_clips
from openmarlin.data.features import WindowRow
from openmarlin.face.landmarker import Landmarker
from openmarlin.jobs.settings import ReconstructSettings
from openmarlin.masking import make_mask, n_visible
from openmarlin.model.autoencoder import Autoencoder, denormalize, pick_values
from openmarlin.model.config import ModelConfig
from openmarlin.model.io import load, weights_sha256
from openmarlin.model.layers import to_model_input
from openmarlin.output import OutputFolder
from openmarlin.pretraining.region_errors import region_errors, squared_error
from openmarlin.regions import CELL_PX, to_cells, unknown_cells
from openmarlin.report.reconstruct import Shown, Video, film, paste, strips_sheet
from openmarlin.settings import documented, read_settings
from openmarlin.video.writer import write_video

PICTURE_FILE, FILM_FILE, ERRORS_FILE = "strips.png", "strips.mp4", "errors.json"


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
    visible tokens are those of the original, pasted in: the model predicts masked ones only.

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
        progress: changes nothing: it is done in seconds.
        {settings}

    Raises:
        OpenMarlinError: the video cannot be read or shows no face, the model is an encoder alone,
            an option is impossible, or `out` cannot be written.
    """
    s = read_settings(ReconstructSettings, config, settings)
    files = (PICTURE_FILE, FILM_FILE, ERRORS_FILE)
    with OutputFolder(
        s.out, verb="reconstruct", settings=s, files=files, overwrite=s.overwrite
    ) as folder:
        autoencoder = load(s.model, part="full")
        shape = autoencoder.config
        _mask(shape, None, s, 0)  # what is impossible shows before the video is read
        landmarker = Landmarker()
        sampling = Sampling(precropped=s.precropped, stride=shape.frames)
        reader = ClipReader(Path(video), sampling, landmarker, shape.image_size, shape.frames)
        windows = [
            _reconstruct(autoencoder, clip, clip_labels(clip, landmarker), s)
            for clip in first_clips(reader, s.windows)
        ]
        errors = _record(Path(video), s, autoencoder, windows)
        folder.begin()
        _write(folder, errors, windows, reader.fps / sampling.rate)
    return Reconstructions(folder.path, errors)


@dataclass(frozen=True, slots=True)
class _Window:
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
) -> _Window:
    assert clip.pixels is not None
    config, row, real = autoencoder.config, clip.row, slice(clip.row.n_real)
    mask = _mask(config, labels, settings, row.window)
    values = _predict(autoencoder, clip.pixels, mask)
    videos = (clip.pixels, *paste(clip.pixels, mask, values, config))
    error = squared_error(clip.pixels, mask, values, config)
    return _Window(
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
        cells = unknown_cells(config.frames, config.image_size)
    else:
        cells = to_cells(labels)
    return make_mask(
        settings.masking,
        cells,
        grid=config.grid,
        mask_ratio=settings.mask_ratio,
        rng=np.random.default_rng([settings.seed, window]),
        regions=settings.regions,
    )


@torch.inference_mode()
def _predict(
    autoencoder: Autoencoder, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The masked tokens (M, P) as pixels in [0, 1], of a clip (T, S, S, 3)."""
    hidden = torch.from_numpy(mask)[None]
    video = to_model_input(torch.from_numpy(pixels)[None])
    values = autoencoder(video, hidden)
    if autoencoder.config.normalize_targets:
        values = denormalize(values, pick_values(video, hidden, autoencoder.config))
    return np.asarray(values[0].float().numpy())


def _record(
    video: Path, settings: ReconstructSettings, autoencoder: Autoencoder, windows: Sequence[_Window]
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
        "overall": region_errors([(w.error, w.labels) for w in windows]),
        "windows": [
            {
                "window": window.row.window,
                "face": window.row.face,
                "start_s": window.row.start_s,
                "end_s": window.row.end_s,
                "n_real": window.row.n_real,
                **region_errors([(window.error, window.labels)]),
            }
            for window in windows
        ],
    }


def _notes(config: ModelConfig) -> list[str]:
    """What a reader of pictures and numbers must know."""
    notes = [
        "Visible tokens are pasted into the reconstructions: the model's own are only those that "
        "are grey in what it saw."
    ]
    if not config.trained:
        notes.append(f"The weights of '{config.name}' are untrained: what they make is noise.")
    if config.normalize_targets:
        notes.append(
            "The model predicts normalised tokens: each got the mean and the deviation of the "
            "original's, so brightness and contrast are given, not predicted."
        )
    return notes


def _write(
    folder: OutputFolder, errors: dict[str, Any], windows: Sequence[_Window], frames_per_s: float
) -> None:
    shown = []
    for window, numbers in zip(windows, errors["windows"], strict=True):
        row, psnr = window.row, numbers["psnr_db"]
        line = f"window {row.window}, {row.start_s:.2f} to {row.end_s:.2f} s"
        line += "" if psnr is None else f": PSNR {psnr:.2f} dB on masked tokens"
        shown.append(Shown(line, window.videos))
    settings, name = errors["settings"], errors["model"]["name"]
    how = " + ".join([settings["masking"], *settings["regions"]])
    title = (
        f"{Path(errors['video']).name}: {name}, {how}, "
        f"{errors['masked_tokens']:,} of {errors['tokens']:,} tokens masked"
    )
    strips_sheet(folder.path / PICTURE_FILE, shown, title=title, notes=errors["notes"])
    frames = film(shown, title=title, notes=errors["notes"])
    write_video(folder.path / FILM_FILE, frames, frames_per_s)
    folder.write_json(ERRORS_FILE, errors)


def announce(result: Reconstructions) -> None:
    """Say in a few lines what came out and where to look."""
    errors = result.errors
    pasted, *warnings = errors["notes"]
    for warning in warnings:
        console.print(f"[yellow]{escape(warning)}[/]", soft_wrap=True)
    overall, count = errors["overall"], len(errors["windows"])
    psnr = overall["psnr_db"]
    score = "" if psnr is None else f", PSNR {psnr:.2f} dB on masked tokens"
    console.print(
        f"{count} window{'' if count == 1 else 's'}, {errors['masked_tokens']:,} of "
        f"{errors['tokens']:,} tokens masked{score}"
    )
    console.print(pasted, soft_wrap=True)
    if overall["regions"] is None:
        console.print("No face mesh was found, so errors are not told apart by region.")
    console.print(f"Look at {escape(str(result.out / PICTURE_FILE))}", soft_wrap=True)
