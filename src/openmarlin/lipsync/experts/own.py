"""Own experts for use: what `openmarlin lipsync train-expert` makes, and the one that ships."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from openmarlin.errors import ModelError
from openmarlin.files import file_sha256
from openmarlin.lipsync.experts.mouth_view import mouth_view
from openmarlin.lipsync.experts.network import (
    SOUND_RATE,
    SOUND_SKIP,
    WINDOW,
    ExpertConfig,
    ExpertNet,
    sound_columns,
)
from openmarlin.lipsync.mel import mel_spectrogram
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.model.tensor_files import read_json
from openmarlin.video.audio import Sound

Floats = NDArray[np.float32]

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"

_SEEN = {
    "points": "points of lips and jaw, in the head's own frame",
    "pixels": "a grey picture of the mouth, in the head's own frame",
    "mouth": "points of lips and jaw and a grey picture of the mouth, in the head's own frame",
}
_CONTEXT_COLUMNS = 10  # of sound before and after, so that no window sees a border
_PIECE = 2000  # windows embedded at once


class OwnExpert:
    """An own expert, see `openmarlin.lipsync.expert.Expert`.

    Args:
        folder: config.json and model.safetensors.

    Raises:
        ModelError: the folder holds something else, or is damaged.
    """

    window, margin = WINDOW, 0.07

    def __init__(self, folder: Path) -> None:
        about = read_json(folder / CONFIG_FILE)
        names = {field.name for field in fields(ExpertConfig)}
        try:
            config = ExpertConfig(**{key: about[key] for key in names})
            self.network = ExpertNet(config).eval().requires_grad_(requires_grad=False)
            self.network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        except (KeyError, TypeError, OSError, RuntimeError, ValueError) as error:
            raise ModelError(f"{folder}: not an expert, or damaged ({error})") from None
        self.name, self.framing = str(about.get("name", folder.name)), _SEEN[config.kind]
        self.digest = file_sha256(folder / WEIGHTS_FILE)[:12]

    def view(self, image: NDArray[np.uint8], points: Floats) -> NDArray[np.generic]:
        """What is kept of a frame."""
        return mouth_view(image, points)

    @torch.no_grad()
    def embed_faces(self, views: NDArray[np.generic]) -> Floats:
        """Embeddings (T - 14, 128) of views (T,)."""
        seen = views.view(np.recarray)
        points = torch.from_numpy(np.ascontiguousarray(seen.points))[None]
        mouths = None
        if self.network.config.kind != "points":
            mouths = torch.from_numpy(np.ascontiguousarray(seen.mouth))[None]
        return np.asarray(self.network.embed_faces(points, mouths)[0].numpy(), np.float32)

    @torch.no_grad()
    def embed_sound(self, sound: Sound, start_s: float, count: int) -> Floats:
        """Embeddings (count, 128) of windows of sound, one a tick."""
        pieces = [
            self._embed_piece(sound, start_s + first / TICK_RATE, min(_PIECE, count - first))
            for first in range(0, count, _PIECE)
        ]
        return np.concatenate(pieces)

    def _embed_piece(self, sound: Sound, start_s: float, count: int) -> Floats:
        context_s = _CONTEXT_COLUMNS / SOUND_RATE
        end_s = start_s + (count + WINDOW) / TICK_RATE + context_s
        mel = mel_spectrogram(sound.between(start_s - context_s, end_s), SOUND_RATE)
        mel = mel[:, _CONTEXT_COLUMNS + SOUND_SKIP :][:, : sound_columns(count)]
        heard = torch.from_numpy(np.ascontiguousarray(mel))[None]
        return np.asarray(self.network.embed_sound(heard)[0].numpy(), np.float32)


def load_own(folder: str | Path) -> OwnExpert:
    """Load a folder that `openmarlin lipsync train-expert` wrote (RUN/model), or the shipped one.

    Raises:
        ModelError: it holds something else, or is damaged.
    """
    return OwnExpert(Path(folder))
