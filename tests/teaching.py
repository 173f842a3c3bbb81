"""A teacher for tests, and a store with faces to ask it about."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmarlin.data.store import Store
from openmarlin.jobs.prepare import prepare
from openmarlin.native import ov


def write_teacher(folder: Path, name: str, size: int, values: int, seed: int = 0) -> Path:
    """An OpenVINO file: pictures (B, size, size, 3) averaged over 4 x 4 fields, times a matrix."""
    from openvino import opset13 as ops

    pictures = ops.parameter([-1, size, size, 3], np.float32, "pictures")
    channels = ops.transpose(pictures, np.array([0, 3, 1, 2]))
    fields = ops.adaptive_avg_pool(channels, np.array([4, 4]))
    flat = ops.reshape(fields, np.array([-1, 48]), False)
    matrix = np.random.default_rng(seed).normal(size=(48, values)).astype(np.float32) / 255
    model = ov.Model([ops.matmul(flat, matrix, False, False)], [pictures], name)
    path = folder / f"{name}.xml"
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def face_store(clips: Path, folder: Path) -> Store:
    """Three signers, a pair and a single face, for two seconds each."""
    names = ("signer_yes.mkv", "signer_help.mkv", "single_face.mp4", "two_people.mp4")
    prepare([clips / name for name in names], out=folder, limit_seconds=2.0, min_face_px=40)
    return Store(folder)
