"""What a worker does for the page: one verb on a user's files, and what there is to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from pyarrow.csv import write_csv

from openmarlin.errors import VideoError
from openmarlin.face.landmarker import shared_landmarker
from openmarlin.video.audio import RATE, read_sound
from openmarlin.video.reader import VideoReader


@dataclass(frozen=True)
class Shown:
    """What a tab shows of a result.

    Attributes:
        report: the verb's own page, HTML; empty where it makes none.
        film: a video.
        files: to be downloaded.
        told: a line on what is in it.
    """

    report: str = ""
    film: Path | None = None
    files: list[str] = field(default_factory=list)
    told: str = ""


def check_clip(path: Path, max_seconds: float) -> float:
    """How long a clip lasts, seconds.

    Raises:
        VideoError: it is no video, or too long.
    """
    with VideoReader(path) as video:
        lasts_s = video.info.duration_s
        if lasts_s is None:  # as of what browsers record
            lasts_s = 0.0
            for frame in video:
                lasts_s = frame.time_s
                if lasts_s > max_seconds:
                    break
    if lasts_s > max_seconds:
        raise VideoError(
            f"{path.name} lasts {lasts_s:.0f} s: this page takes {max_seconds:g} s at most"
        )
    return lasts_s


def check_sound(path: Path, max_seconds: float) -> float:
    """When a sound ends, seconds; it may begin late.

    Raises:
        VideoError: there is no sound in it, or it is too long.
    """
    sound = read_sound(path, end_s=max_seconds + 1)
    if sound is None:
        raise VideoError(f"{path.name}: there is no sound in it that can be read")
    ends_s = sound.start_s + len(sound.samples) / RATE
    if ends_s > max_seconds:
        raise VideoError(f"{path.name} is too long: this page takes {max_seconds:g} s at most")
    return ends_s


def name_models(models: Sequence[str]) -> list[tuple[str, str]]:
    """Models of tasks with what they say: names for the page, and their folders.

    Raises:
        OpenMarlinError: one of them cannot be loaded.
    """
    from openmarlin.tasks.model import TaskModel

    named = []
    for model in models:
        columns = TaskModel.load(model).target.columns
        folder = Path(model).resolve()
        where = folder.parent.name if folder.name == "model" else folder.name
        named.append((f"{', '.join(columns[:3])} ({where})", model))
    return named


def warm_up() -> None:
    """Import what takes seconds, and load the nets that every verb needs."""
    for name in ("extract", "faces", "lipsync_generate", "lipsync_score", "predict", "reconstruct"):
        import_module(f"openmarlin.jobs.{name}")
    shared_landmarker()


def measure(clip: Path, out: Path, limit_s: float) -> Shown:
    """Faces, head pose and expressions, and the clip with meshes drawn on it."""
    from openmarlin.jobs.faces import faces

    result = faces(clip, out=out, overlay=True, limit_seconds=limit_s, workers=1)
    _check(result.failures, result.meta["counts"])
    table = out / "faces.csv"
    write_csv(result.table, table)
    return Shown(_page(out), _overlay(out), [str(table)])


def reconstruct(clip: Path, out: Path, strategy: str, ratio: float, regions: list[str]) -> Shown:
    """What a masked autoencoder makes of what it does not see."""
    from openmarlin.jobs.reconstruct import reconstruct as run

    result = run(clip, out=out, masking=strategy, mask_ratio=ratio, regions=tuple(regions))
    errors = result.errors
    psnr = errors["overall"]["psnr_db"]
    told = f"{errors['masked_tokens']:,} of {errors['tokens']:,} tokens hidden"
    told += "" if psnr is None else f" · PSNR {psnr:.1f} dB on what was hidden"
    return Shown("", out / "strips.mp4", [str(out / "strips.png")], told)


def extract(clips: Sequence[Path], out: Path, limit_s: float) -> Shown:
    """Features of several clips: their map, and how similar the faces are."""
    from openmarlin.jobs.extract import extract as run

    result = run(list(clips), out=out, faces="all", limit_seconds=limit_s, workers=1)
    _check(result.failures, result.meta["counts"])
    return Shown(_page(out), None, [str(out / "features.parquet")])


def predict(clip: Path, out: Path, model: str, limit_s: float) -> Shown:
    """What a model of a task says over time."""
    from openmarlin.jobs.predict import predict as run

    result = run(clip, out=out, model=model, overlay=True, limit_seconds=limit_s, workers=1)
    _check(result.failures, result.meta["counts"])
    return Shown(_page(out), _overlay(out), [str(out / "windows.csv")])


def score(clip: Path, out: Path, limit_s: float) -> Shown:
    """How well lips and sound go together."""
    from openmarlin.jobs.lipsync_score import score as run

    result = run(clip, out=out, limit_seconds=limit_s, workers=1)
    _check(result.failures, result.meta["counts"])
    return Shown(_page(out), None, [str(out / "scores.csv")])


def generate(clip: Path, sound: Path, out: Path) -> Shown:
    """The clip with lips for another sound."""
    from openmarlin.jobs.lipsync_generate import generate as run

    film = out / f"{clip.stem}-{sound.stem}.mp4"
    result = run(clip, sound, out=film)
    told = f"{result.meta['drawn']:,} of {result.meta['frames']:,} frames drawn"
    report = result.report.read_text(encoding="utf-8")
    return Shown(report, film, [str(film)], told)


def _check(failures: Mapping[str, str], counts: Mapping[str, Any]) -> None:
    """A verb over many videos lists what it cannot read; of one video that is an error."""
    if failures and not counts["videos_done"]:
        raise VideoError("; ".join(failures.values()))


def _page(out: Path) -> str:
    return (out / "report.html").read_text(encoding="utf-8")


def _overlay(out: Path) -> Path | None:
    return next(iter(sorted((out / "overlay").glob("*.mp4"))), None)
