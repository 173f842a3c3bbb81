"""Settings of `lipsync generate`; see `openmarlin.settings`."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

from openmarlin.lipsync.shipped import DEFAULT_MOUTH_MODEL
from openmarlin.settings import Settings, UserPath, setting

MODEL, FACE, OUTPUT = "Model", "Face", "Output"

Silence = Literal["close", "keep", "model"]
Length = Literal["video", "audio"]

_SPEAKER = re.compile(r"auto|\d+(\+\d+)*|\d+(\.\d+)?,\d+(\.\d+)?")


class GenerateSettings(Settings):
    """How a video gets lips for another sound."""

    out: UserPath = setting(
        ...,
        "The video, an .mp4; NAME.lipsync beside it holds the report and what resumes a run.",
        group=OUTPUT,
        saved=False,
    )
    model: str = setting(
        DEFAULT_MOUTH_MODEL,
        "What draws the mouth: a name, a folder, or a Wav2Lip file.",
        group=MODEL,
    )
    quick: UserPath | None = setting(
        None,
        "Train the model for some minutes on the person of this video first (models of "
        "`lipsync train-mouth`).",
        group=MODEL,
        saved=False,
    )
    silence: Silence = setting(
        "close",
        "Where nobody speaks: the model hears silence (and closes the mouth), the pictures stay as "
        "they are, or the model hears what there is.",
        group=MODEL,
    )
    speaker: str = setting(
        "auto",
        "Whose mouth: auto (the face that speaks in the video, else the one that is largest and "
        "longest in view), the number of a track (several as 0+2), or X,Y, a point on the face.",
        group=FACE,
    )
    max_yaw: float = setting(
        50.0,
        "Faces turned further to the side, degrees, stay as they are.",
        group=FACE,
        gt=0,
        le=90,
    )
    length: Length = setting(
        "video",
        "The result is as long as the video, or as the sound: then a video that is too short is "
        "played back and forth.",
        group=OUTPUT,
    )
    crf: int = setting(
        18,
        "Of x264: 0 (all but lossless) to 51; at 18 loss is hard to see.",
        group=OUTPUT,
        ge=0,
        le=51,
    )
    cache: UserPath | None = setting(
        None,
        "The folder where tracks of faces are kept for the next run; lipsync-cache beside OUT "
        "without it.",
        group=OUTPUT,
        saved=False,
    )
    resume: bool = setting(
        False, "Go on with the run that made part of OUT.", group=OUTPUT, saved=False
    )
    overwrite: bool = setting(False, "Replace OUT.", group=OUTPUT, saved=False)

    @field_validator("speaker")
    @classmethod
    def _speaker(cls, speaker: str) -> str:
        text = speaker.replace(" ", "")
        if not _SPEAKER.fullmatch(text):
            raise ValueError("must be auto, a track such as 0 or 0+2, or a point such as 640,200")
        return text
