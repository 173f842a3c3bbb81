"""`extract`: videos -> face tracks -> windows -> one feature vector a window, with a report."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.progress import Progress

from openmarlin.config import DEFAULT_MODEL, Backend, ExtractSettings, Precision, Tail
from openmarlin.console import console, job_progress
from openmarlin.data.clips import FaceClip
from openmarlin.data.features import Features, WindowRow
from openmarlin.data.feed import VideoEnd, read_videos
from openmarlin.data.formats import SUFFIXES
from openmarlin.data.inputs import list_videos
from openmarlin.data.run_folder import REPORT_FILE, RunFolder
from openmarlin.data.thumbs import ThumbKeeper, WindowThumb, make_thumb
from openmarlin.errors import InputError
from openmarlin.face.landmarker import Landmarker
from openmarlin.model.io import load, weights_sha256
from openmarlin.model.runner import EncoderRunner, choose
from openmarlin.model.zoo import caution
from openmarlin.report.html import write_report

MAX_WORKERS = 8
"""More readers than this outrun any encoder, and each holds seconds of video."""


@dataclass(frozen=True, repr=False)
class Extraction(Features):
    """Features with what a report shows besides.

    Attributes:
        thumbs: crops of some windows.
        failures: {video: reason} of what could not be read, or only in part.
    """

    thumbs: list[WindowThumb] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report, one self-contained HTML file."""
        return write_report(Path(path), self, self.thumbs, list(self.failures.items()))


def extract(
    inputs: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    model: str | Path = DEFAULT_MODEL,
    faces: Literal["largest", "all"] | int = "largest",
    precropped: bool = False,
    align: bool = False,
    rate: int = 2,
    stride: int = 16,
    tail: Tail = "pad",
    tokens: bool = False,
    precision: Precision = "auto",
    backend: Backend = "auto",
    batch: int = 8,
    workers: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    limit_seconds: float | None = None,
    progress: bool = False,
) -> Extraction:
    """Turn videos of faces into features.

    Args:
        inputs: a video, a folder, a CSV with a `video` column, or several of them.
        out: a folder to write to (resumable), or one .parquet, .npz or .csv file; None for nothing.
        model: anything `openmarlin.load` takes.
        faces: in each window the largest face, the N largest, or all.
        precropped: the videos show one face crop already; no face is looked for.
        align: rotate crops so that the eyes are level.
        rate: take every `rate`-th frame.
        stride: sampled frames from one window to the next.
        tail: what happens to the last, incomplete window: `pad`, `drop`, or as the `reference`.
        tokens: also write the tokens of each window (with a folder as `out`).
        precision: of the encoder; `auto` takes the fastest that is faithful on this machine.
        backend: what runs the encoder; `auto` takes the faster.
        batch: clips encoded at once at most, from any video.
        workers: videos read at the same time; None for one a core, 8 at most.
        resume: go on with an interrupted run in `out`.
        overwrite: replace an earlier run in `out`.
        limit_seconds: read at most so much of each video.
        progress: show a progress bar.

    Returns:
        The features, in the order of the inputs, windows and faces.

    Raises:
        OpenMarlinError: the request cannot be carried out. Videos that fail do not raise: they
            are listed in `.failures`, and the rest goes on.
    """
    settings = ExtractSettings.of(
        model=str(model),
        faces=faces,
        precropped=precropped,
        align=align,
        rate=rate,
        stride=stride,
        tail=tail,
        tokens=tokens,
        precision=precision,
        backend=backend,
        limit_seconds=limit_seconds,
    )
    target = Path(out) if out is not None else None
    is_file = target is not None and target.suffix.lower() in SUFFIXES
    _check_target(target, is_file=is_file, resume=resume, overwrite=overwrite, tokens=tokens)
    videos = list_videos([inputs] if isinstance(inputs, str | Path) else inputs)
    encoder = _Encoder(settings, batch)
    with TemporaryDirectory(prefix="openmarlin-") as scratch, job_progress("videos") as bar:
        bar.disable = bar.disable or not progress
        in_folder = target is not None and not is_file
        path = target if target is not None and in_folder else Path(scratch) / "run"
        folder = RunFolder(path, encoder.asked, encoder.dim, resume=resume, overwrite=overwrite)
        run = _Run(folder, encoder, bar)
        run(videos, workers or min(os.cpu_count() or 1, MAX_WORKERS))
        throughput = run.throughput
        features, thumbs = folder.merge(videos)
    meta = _meta(features, encoder, videos, folder.failures, throughput)
    result = Extraction(features.table, meta, thumbs, folder.failures)
    if target is not None:
        result.save(target)
    if in_folder:
        result.report(path / REPORT_FILE)
    return result


def _check_target(
    target: Path | None, *, is_file: bool, resume: bool, overwrite: bool, tokens: bool
) -> None:
    if target is None or is_file:
        if resume or tokens:
            option = "--resume" if resume else "--tokens"
            raise InputError(f"{option} needs a folder as --out, not {target or 'nothing'}")
        if target is not None and target.exists() and not overwrite:
            raise InputError(f"{target}: exists already; add --overwrite or name another file")


@cache
def _landmarker() -> Landmarker:
    """The face nets, loaded once a process: it takes a second or two."""
    return Landmarker(precise=False)


class _Encoder:
    """The model as the settings ask for it, and the face nets beside it."""

    def __init__(self, settings: ExtractSettings, batch: int) -> None:
        if batch < 1:
            raise InputError("--batch: must be at least 1")
        module = load(settings.model, part="encoder")
        self.settings, self.batch = settings, batch
        self.config = module.config
        self.dim = self.config.width
        self.sha256 = weights_sha256(module)
        engine = settings.precision, settings.backend
        device = next(module.parameters()).device
        choose(*engine, device)  # what cannot be is refused before anything is read
        starter = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._runner = starter.submit(EncoderRunner, module, *engine, shared=True)
        starter.shutdown(wait=False)
        self.landmarker = None if settings.precropped else _landmarker()

    @property
    def run(self) -> EncoderRunner:
        """Compiling it takes a second, in which the first video is being read already."""
        return self._runner.result()

    def __call__(
        self, pixels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """uint8 (B, T, S, S, 3) -> embeddings (B, D), and tokens (B, N, D) when asked for."""
        if self.settings.tokens:
            return self.run(pixels, tokens=True)
        return self.run(pixels), None

    @property
    def asked(self) -> dict[str, Any]:
        """What decides the numbers of a run."""
        return {**self.settings.model_dump(mode="json"), "model_sha256": self.sha256}


@dataclass(slots=True)
class _Open:
    """A video that is being read: what is known of it so far."""

    rows: list[WindowRow] = field(default_factory=list)
    thumbs: ThumbKeeper = field(default_factory=ThumbKeeper)
    tokens: dict[str, NDArray[np.float16]] = field(default_factory=dict)


class _Run:
    """One sitting: reads what is not done yet, encodes in batches that mix videos, commits."""

    def __init__(self, folder: RunFolder, encoder: _Encoder, bar: Progress) -> None:
        self.folder, self.encoder, self.bar = folder, encoder, bar
        self.open: dict[Path, _Open] = {}
        self.windows, self.video_s, self.start = 0, 0.0, time.perf_counter()

    def __call__(self, videos: Sequence[Path], workers: int) -> None:
        todo = [video for video in videos if not self.folder.is_done(video)]
        self.open = {video: _Open() for video in todo}
        done = len(videos) - len(todo)
        self.task = self.bar.add_task("extract", total=len(videos), completed=done, note="")
        feed = read_videos(
            todo,
            self.encoder.settings,
            self.encoder.landmarker,
            size=self.encoder.config.image_size,
            frames=self.encoder.config.frames,
            workers=workers,
            most=self.encoder.batch,
        )
        for items in feed:
            self.encode([(video, item) for video, item in items if isinstance(item, FaceClip)])
            for video, item in items:
                if isinstance(item, VideoEnd):
                    self.close(video, item)

    def encode(self, clips: Sequence[tuple[Path, FaceClip]]) -> None:
        """Every clip becomes a row; those with a face go through the encoder as one batch."""
        for video, clip in clips:
            self.open[video].rows.append(clip.row)
        self.windows += len(clips)
        shown = [(video, clip, clip.pixels) for video, clip in clips if clip.pixels is not None]
        if not shown:
            return
        embeddings, tokens = self.encoder(np.stack([pixels for _, _, pixels in shown]))
        for i, (video, clip, pixels) in enumerate(shown):
            state, row = self.open[video], clip.row
            row.embedding, row.ok = embeddings[i], True
            if tokens is not None:
                state.tokens[f"{row.window}-{row.face}"] = tokens[i].astype(np.float16)
            if state.thumbs.wants_next():
                thumb = make_thumb(row.video, row.face, row.window, pixels, clip.points)
                state.thumbs.keep(thumb)

    def close(self, video: Path, end: VideoEnd) -> None:
        """A video was read to its end, and all its clips are encoded: commit it."""
        state = self.open.pop(video)
        self.video_s += end.seconds
        if end.error is None:
            self.folder.commit(
                video,
                state.rows,
                state.thumbs.thumbs,
                state.tokens,
                seconds=end.seconds,
                problems=end.problems,
            )
        else:
            self.folder.fail(video, end.error)
        speed = self.throughput["times_real_time"]
        note = f"{self.windows} windows, {speed:.1f}x real time"
        self.bar.update(self.task, advance=1, note=note)

    @property
    def throughput(self) -> dict[str, float]:
        """Of this sitting; a resumed run counts only what it did itself."""
        wall_s = time.perf_counter() - self.start
        return {
            "windows_per_s": self.windows / wall_s,
            "video_s": self.video_s,
            "wall_s": wall_s,
            "times_real_time": self.video_s / wall_s,
        }


def _meta(
    features: Features,
    encoder: _Encoder,
    videos: Sequence[Path],
    failures: dict[str, str],
    throughput: dict[str, float],
) -> dict[str, Any]:
    """What meta.json holds (docs/features.md)."""
    ok = np.asarray(features.table.column("ok").to_numpy())
    faces = set(
        zip(*(features.table.column(n).to_pylist() for n in ("video", "face")), strict=True)
    )
    config = encoder.config
    return {
        "model": {
            "name": config.name,
            "sha256": encoder.sha256,
            "trained": config.trained,
            "source": config.source,
            "licence": config.licence,
            "caution": caution(config),
        },
        "settings": encoder.settings.model_dump(mode="json"),
        "precision": encoder.run.precision,
        "backend": encoder.run.backend,
        "reason": encoder.run.reason,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("openmarlin", "torch", "openvino", "av", "numpy")},
        },
        "counts": {
            "videos": len(videos),
            "videos_done": len(features.meta),
            "failures": len(failures),
            "faces": len({face for face in faces if face[1] >= 0}),
            "windows": len(features),
            "windows_without_face": int((~ok).sum()),
        },
        "throughput": throughput,
    }


def announce(result: Extraction, out: Path) -> None:
    """Say in a few lines what was done and where to look."""
    counts, model = result.meta["counts"], result.meta["model"]
    if model["licence"]:
        console.print(f"Weights: {model['name']}, {model['licence']}.")
    if model["caution"]:
        console.print(f"[yellow]{escape(model['caution'])}[/]", soft_wrap=True)
    for video, reason in result.failures.items():
        console.print(f"[red]failed[/] {escape(f'{video}: {reason}')}", soft_wrap=True)
    console.print(
        f"{counts['videos_done']} of {counts['videos']} videos, {counts['faces']} faces, "
        f"{counts['windows']} windows ({counts['windows_without_face']} without a face), "
        f"{result.meta['throughput']['times_real_time']:.1f}x real time -> {out}"
    )
    if (out / REPORT_FILE).is_file():
        console.print(f"Look at {out / REPORT_FILE}")
