"""Settings of the verbs that hand models on; see `openmarlin.settings`."""

from __future__ import annotations

from typing import Literal

from openmarlin.settings import Settings, UserPath, setting

FORMAT, OUTPUT, REPOSITORY = "Format", "Output", "Repository"


class ExportSettings(Settings):
    """For which program a model is written, and where."""

    to: Literal["onnx", "openvino", "transformers"] = setting(
        "onnx", "The program that will run it; transformers takes encoders alone.", group=FORMAT
    )
    out: UserPath = setting(..., "The folder of the export.", group=OUTPUT, saved=False)
    overwrite: bool = setting(False, "Replace an earlier export in OUT.", group=OUTPUT, saved=False)


class PushSettings(Settings):
    """How a folder is put on the hub."""

    private: bool = setting(
        False, "Only its owner sees the repository, if it is new.", group=REPOSITORY
    )
