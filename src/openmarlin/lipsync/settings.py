"""What the verbs that measure lip synchronisation may be told; see `openmarlin.settings`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from openmarlin.lipsync.shipped import DEFAULT_EXPERT
from openmarlin.settings import Settings, UserPath, setting

_EXPERT = "Name, folder or published file of the network that compares lips and sound."


class ScoreSettings(Settings):
    """How lip synchronisation is scored. Equal settings and videos give equal numbers."""

    out: UserPath = setting(
        ..., "A folder (which can be resumed), or one .csv file.", group="Output", saved=False
    )
    expert: str = setting(DEFAULT_EXPERT, _EXPERT, group="Expert")
    faces: Literal["largest", "all"] | Annotated[int, Field(ge=1)] = setting(
        "all", "Of faces seen at the same time the largest, all, or the N largest.", group="Faces"
    )
    limit_seconds: float | None = setting(
        None, "Read at most this much of each video.", group="Faces", gt=0
    )
    reference: UserPath | None = setting(
        None,
        "Real videos (a video, folder or CSV): also tells how far the faces are from theirs, as a "
        "Fréchet distance.",
        group="Distance to real faces",
    )
    reference_net: UserPath | None = setting(
        None,
        "Whose features are compared: the .onnx of an Inception network; without it the features "
        "of openmarlin_vit_tiny.",
        group="Distance to real faces",
    )
    workers: int | None = setting(
        None, "Processes; one a core without it.", group="Output", free=True, ge=1
    )
    resume: bool = setting(
        False,
        "Go on with an interrupted run in OUT, or add videos to a finished one.",
        group="Output",
        saved=False,
    )
    overwrite: bool = setting(False, "Replace an earlier run in OUT.", group="Output", saved=False)


class FixSettings(Settings):
    """How a video's sound is moved."""

    out: UserPath = setting(
        ..., "The new video: .mp4, .m4v, .mov, .mkv or .webm.", group="Output", saved=False
    )
    offset_ms: float | None = setting(
        None,
        "By how much the sound leads, below 0 by how much it lags; measured without it.",
        group="Offset",
    )
    expert: str = setting(DEFAULT_EXPERT, _EXPERT, group="Expert")
    limit_seconds: float | None = setting(
        None, "Measure at most this much of the video.", group="Offset", gt=0
    )
    overwrite: bool = setting(False, "Replace OUT if it is there.", group="Output", saved=False)
