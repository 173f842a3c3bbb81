"""What the verbs that read videos may be told; see `openmarlin.settings`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from openmarlin.data.pool import ray_setting
from openmarlin.model.zoo import DEFAULT_AUTOENCODER, DEFAULT_ENCODER
from openmarlin.settings import Precision, Settings, UserPath, UserPlace, setting
from openmarlin.video.windows import Tail

Backend = Literal["auto", "torch", "openvino"]

FACES, WINDOWS, ENCODER, OUTPUT = "Faces", "Windows", "Encoder", "Output"
CROPS, TRACKS, MASKING, FRAMES = "Crops", "Tracks", "Masking", "Frames"
DATA_SET = "Data set"


class ExtractSettings(Settings):
    """How features are extracted. Two runs with equal settings give equal tables."""

    out: UserPlace | None = setting(
        None,
        "A folder or its URL (which can be resumed), or one .parquet, .npz or .csv file.",
        group=OUTPUT,
        saved=False,
    )
    model: str = setting(
        DEFAULT_ENCODER, "Name, folder or checkpoint; see `openmarlin models`.", group=ENCODER
    )
    precision: Precision = setting(
        "auto", "Of the arithmetic; auto is the fastest that is faithful here.", group=ENCODER
    )
    backend: Backend = setting(
        "auto", "What runs the encoder; auto is the faster one.", group=ENCODER
    )
    batch: int = setting(
        8, "Clips encoded at once at most, from any video.", group=ENCODER, free=True, ge=1
    )
    tokens: bool = setting(
        False, "Also write the tokens of each window (needs a folder).", group=OUTPUT
    )

    faces: Literal["largest", "all"] | Annotated[int, Field(ge=1)] = setting(
        "largest", "In each window the largest face, all, or the N largest.", group=FACES
    )
    precropped: bool = setting(
        False, "The videos are face crops already: no face is looked for.", group=FACES
    )
    align: bool = setting(False, "Rotate crops so that the eyes are level.", group=FACES)

    rate: int = setting(2, "Take every RATE-th frame.", group=WINDOWS, ge=1)
    stride: int = setting(16, "Sampled frames from one window to the next.", group=WINDOWS, ge=1)
    tail: Tail = setting(
        "pad",
        "The last, incomplete window: repeat its last frame, drop it, or do as the reference.",
        group=WINDOWS,
    )
    limit_seconds: float | None = setting(
        None, "Read at most this much of each video.", group=WINDOWS, gt=0
    )

    workers: int | None = setting(
        None, "Videos read at once; one a core without it.", group=OUTPUT, free=True, ge=1
    )
    ray: str | None = ray_setting()
    resume: bool = setting(
        False, "Go on with the run in OUT where it stopped.", group=OUTPUT, saved=False
    )
    overwrite: bool = setting(False, "Replace an earlier run in OUT.", group=OUTPUT, saved=False)


class PrepareSettings(Settings):
    """How a store is made. Equal settings and videos give equal stores, byte for byte."""

    out: UserPlace = setting(..., "The store, a folder or its URL.", group=OUTPUT, saved=False)
    size: int = setting(224, "Side of a face crop in pixels.", group=CROPS, ge=32, multiple_of=8)
    margin: int = setting(
        16, "Pixels around a crop, room for augmentation.", group=CROPS, ge=0, multiple_of=8
    )
    min_frames: int = setting(29, "Leave shorter tracks out.", group=TRACKS, ge=1)
    max_frames: int = setting(300, "Cut longer tracks into pieces.", group=TRACKS, ge=1)
    min_face_px: float = setting(64, "Leave smaller faces out.", group=TRACKS, ge=0)
    sound: bool = setting(False, "Keep the sound of each track, 16 kHz mono.", group=TRACKS)
    points: bool = setting(
        False, "Keep the 478 mesh points of each frame, as self-blended clips need.", group=TRACKS
    )
    limit_seconds: float | None = setting(
        None, "Read at most this much of each video.", group=TRACKS, gt=0
    )
    workers: int | None = setting(
        None, "Processes; one a core without it.", group=OUTPUT, free=True, ge=1
    )
    ray: str | None = ray_setting()
    resume: bool = setting(
        False,
        "Go on with an interrupted run in OUT, or add videos to a finished one.",
        group=OUTPUT,
        saved=False,
    )
    overwrite: bool = setting(False, "Replace an earlier store in OUT.", group=OUTPUT, saved=False)


class ReconstructSettings(Settings):
    """What is reconstructed. Equal settings, videos and models give equal numbers."""

    out: UserPath = setting(
        ..., "A folder for strips.png, strips.mp4 and errors.json.", group=OUTPUT, saved=False
    )
    model: str = setting(
        DEFAULT_AUTOENCODER, "A whole autoencoder: name, folder or checkpoint.", group="Model"
    )
    masking: str = setting("fasking", "The strategy; see `openmarlin masks`.", group=MASKING)
    mask_ratio: float = setting(
        0.9, "Share of the tokens that is masked.", group=MASKING, gt=0, lt=1
    )
    regions: tuple[str, ...] = setting(
        (), "Parts of the face that are hidden first, separated by commas.", group=MASKING
    )
    seed: int = setting(0, "Of the random choice of tokens.", group=MASKING, ge=0)
    windows: int = setting(
        4, "How many to reconstruct: the first ones with a face.", group=WINDOWS, ge=1, le=64
    )
    precropped: bool = setting(
        False, "The video is a face crop already: no face is looked for.", group=WINDOWS
    )
    overwrite: bool = setting(
        False, "Replace an earlier reconstruction in OUT.", group=OUTPUT, saved=False
    )


class MasksSettings(Settings):
    """Which masks are drawn."""

    out: UserPath = setting(..., "The picture, a PNG.", group=OUTPUT, saved=False)
    mask_ratio: float = setting(
        0.9, "Share of the tokens that is masked.", group=MASKING, gt=0, lt=1
    )
    regions: tuple[str, ...] = setting(
        ("left_eye", "right_eye", "mouth"),
        "Parts of the face that the last row hides first, separated by commas.",
        group=MASKING,
    )
    seed: int = setting(0, "Of the random choice of tokens.", group=MASKING, ge=0)


class ManifestSettings(Settings):
    """What is taken of a published data set. Each has some of these settings; see docs/datasets.md.

    Equal settings and folders give equal tables.
    """

    out: UserPath = setting(..., "The table, a .csv.", group=OUTPUT, saved=False)
    split: str | None = setting(
        None,
        "CelebV-HQ: paper-like (by clip), leak-free (by YouTube video; without it), given (the "
        "lists in its folder) or none.",
        group=DATA_SET,
    )
    labels: tuple[str, ...] = setting(
        (), "CelebV-HQ: appearance, action (both without it) or emotion.", group=DATA_SET
    )
    fold: int | None = setting(
        None,
        "DFEW, MAFW, CREMA-D, RAVDESS: which is tested on; 1 without it.",
        group=DATA_SET,
        ge=1,
    )
    compression: str | None = setting(
        None,
        "FaceForensics++, DFD: c0, c23 (without it), c40, or c23_c40 (compressed twice).",
        group=DATA_SET,
    )
    methods: tuple[str, ...] = setting(
        (),
        "FaceForensics++: the four of the paper without it; FaceShifter is one more.",
        group=DATA_SET,
    )
    overwrite: bool = setting(False, "Replace an earlier table.", group=OUTPUT, saved=False)


class FacesSettings(Settings):
    """How faces are measured. Two runs with equal settings give equal tables."""

    out: UserPlace | None = setting(
        None,
        "A folder or its URL (which can be resumed), or one .parquet or .csv file.",
        group=OUTPUT,
        saved=False,
    )
    points: bool = setting(False, "Also write the 478 mesh points (not in a CSV).", group=OUTPUT)
    overlay: bool = setting(
        False, "Also write each video with its faces drawn on it (needs a folder).", group=OUTPUT
    )

    faces: Literal["largest", "all"] | Annotated[int, Field(ge=1)] = setting(
        "all", "In each frame the largest face, all, or the N largest.", group=FACES
    )
    rate: int = setting(1, "A row for every RATE-th frame.", group=FRAMES, ge=1)
    limit_seconds: float | None = setting(
        None, "Read at most this much of each video.", group=FRAMES, gt=0
    )

    workers: int | None = setting(
        None, "Processes; one a core without it.", group=OUTPUT, free=True, ge=1
    )
    ray: str | None = ray_setting()
    resume: bool = setting(
        False,
        "Go on with an interrupted run in OUT, or add videos to a finished one.",
        group=OUTPUT,
        saved=False,
    )
    overwrite: bool = setting(False, "Replace an earlier run in OUT.", group=OUTPUT, saved=False)
