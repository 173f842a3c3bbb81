"""What draws mouths: the interface of `lipsync generate`, and an adapter for generators.

model = load_mouth_model("openmarlin_dub")
heard = model.hear(sound, times_s)
model.draw(heard, 0, faces, points, references)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import ModelError
from openmarlin.lipsync.shipped import DEFAULT_MOUTH_MODEL
from openmarlin.lipsync.sound_windows import sound_windows
from openmarlin.model.zoo import find_model
from openmarlin.video.audio import Sound
from openmarlin.video.picture import Image

Floats = NDArray[np.float32]

Reference = tuple[Image, Floats]
"""A face of the same person, uint8 RGB (size, size, 3), and its mesh points (478, 2) in pixels."""

_CONFIG, _SMALL_DUBBER = "config.json", "small_dubber"


class MouthModel(Protocol):
    """Draws faces whose mouths fit a sound."""

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def digest(self) -> str:
        """The first 12 hex digits of the sha256 of its weights."""

    @property
    def size(self) -> int:
        """Side of the face pictures that it takes and gives, pixels."""

    def hear(self, sound: Sound, times_s: NDArray[np.float64]) -> Any:
        """What the sound says at the times of N frames in a row; given to `draw` as it is.

        Args:
            sound: all of it; it is silent where it has nothing.
            times_s: (N,) when the frames are shown, on the clock of the sound: frames that are
                drawn and, where there are any, some before and after them.
        """

    def draw(
        self,
        heard: Any,
        start: int,
        faces: NDArray[np.uint8],
        points: Floats,
        references: list[Reference],
    ) -> NDArray[np.uint8]:
        """Draw T frames in a row.

        Args:
            heard: what `hear` gave.
            start: which of its N frames the first of the faces is.
            faces: RGB (T, size, size, 3), MARLIN's square without margin, smoothed and upright.
            points: (T, 478, 2) their mesh points in pixels of the pictures.
            references: faces of the same person from other moments, eight at most; the first with
                the mouth closed, the second, where there is one, with the mouth open, the others
                as they come over time. They are the same for all frames of a person in a shot.

        Returns:
            uint8 RGB (T, size, size, 3): whole faces, of which only the mouth is used.
        """


class GeneratorMouth:
    """A `lipsync.generators` network as a `MouthModel`.

    Networks that take several frames at a time are given windows side by side; the last one is
    moved back to be full, and where there are too few frames at all the last is repeated.

    Args:
        run: a `Generator` or a `GeneratorRunner`: sound (B, F, 1, R, C) and faces (B, 6, F, S, S)
            to faces (B, 3, F, S, S), and `config`.
        name: of the model.
        digest: the first 12 hex digits of the sha256 of its weights.
        batch: frames that go through the network at a time.
    """

    def __init__(self, run: Any, name: str, digest: str, *, batch: int = 16) -> None:
        self._run, self._config = run, run.config
        self.name, self.digest = name, digest
        self.size = int(self._config.size)
        self._batch = batch

    def hear(self, sound: Sound, times_s: NDArray[np.float64]) -> object:
        """The windows of sound (N, 1, R, C) of the frames."""
        return sound_windows(sound, times_s, self._config)

    def draw(
        self,
        heard: object,
        start: int,
        faces: NDArray[np.uint8],
        points: Floats,  # noqa: ARG002 - the networks see pictures alone
        references: list[Reference],
    ) -> NDArray[np.uint8]:
        """See `MouthModel.draw`; the first reference is what the networks are shown."""
        import torch

        from openmarlin.lipsync.generators.generator import network_inputs

        assert isinstance(heard, np.ndarray)
        spans = windows_of(len(faces), int(self._config.frames))
        drawn = np.empty_like(faces)
        together = max(1, self._batch // spans.shape[1])
        for first in range(0, len(spans), together):
            part = spans[first : first + together]
            sound = torch.from_numpy(np.ascontiguousarray(heard[start + part]))
            shown = torch.from_numpy(faces[part])
            reference = torch.from_numpy(references[0][0]).expand_as(shown)
            with torch.inference_mode():
                given = self._run(sound, network_inputs(shown, reference)[1])
            pictures = (given.clamp(0, 1) * 255).round().to(torch.uint8)
            drawn[part.ravel()] = pictures.permute(0, 2, 3, 4, 1).flatten(0, 1).numpy()
        return drawn


def windows_of(n_frames: int, length: int) -> NDArray[np.intp]:
    """Which frames go through a network together: windows (n, length) that cover all frames.

    The last window is moved back to be full; with too few frames the last one is repeated.
    """
    starts = np.minimum(np.arange(0, n_frames, length), max(0, n_frames - length))
    return np.asarray(np.minimum(starts[:, None] + np.arange(length), n_frames - 1), np.intp)


def load_mouth_model(name_or_path: str | Path = DEFAULT_MOUTH_MODEL) -> MouthModel:
    """A model by its name, the folder of a small dubber or generator, or a published Wav2Lip file.

    Raises:
        ModelError: there is no such model, or it cannot be loaded.
    """
    from openmarlin.lipsync.generators.make import load_generator
    from openmarlin.lipsync.generators.runner import GeneratorRunner
    from openmarlin.lipsync.small.model import SmallDubber
    from openmarlin.model.tensor_files import tensors_sha256

    path = find_model(name_or_path)
    if not path.exists():
        raise ModelError(
            f"{name_or_path}: there is no such model; name a folder, a file with weights, or "
            f"'{DEFAULT_MOUTH_MODEL}'"
        )
    if (path / "model" / _CONFIG).is_file() and not (path / _CONFIG).is_file():
        path = path / "model"  # a run was named
    if path.is_dir() and _kind(path) == _SMALL_DUBBER:
        return SmallDubber.load(path)
    generator = load_generator(path)
    digest = tensors_sha256(generator.state_dict())[:12]
    return GeneratorMouth(GeneratorRunner(generator), path.stem, digest)


def _kind(folder: Path) -> str:
    """The "kind" that the config.json of a model's folder names; "" where it names none."""
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: has no {_CONFIG}, so it is not a model's folder") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / _CONFIG}: cannot be read: {error}") from None
    return str(config.get("kind", "")) if isinstance(config, dict) else ""
