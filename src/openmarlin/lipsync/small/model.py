"""The small model of a moving mouth in one folder, and its use.

MODEL/config.json          `DubberConfig`
MODEL/model.safetensors    float16 networks, float32 basis
MODEL/README.md            the model card
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from openmarlin.errors import ModelError
from openmarlin.face.pose import face_cameras
from openmarlin.files import atomic_folder
from openmarlin.lipsync.mouth_opening import mouth_opening
from openmarlin.lipsync.small.mouth_shape import MOUTH, Floats, ShapeBasis, lips_apart
from openmarlin.lipsync.small.renderer import Renderer
from openmarlin.lipsync.small.shape_net import (
    ShapeNet,
    less_voice,
    mel_around,
    mel_of_voice,
    silent_columns,
    voice_bands,
)
from openmarlin.lipsync.small.window import (
    REFERENCES,
    Framing,
    View,
    move_camera,
    move_points,
    window_channels,
)
from openmarlin.model.tensor_files import CONFIG, WEIGHTS, Tensors, read_json, tensors_sha256
from openmarlin.video.audio import Sound

KIND = "small_dubber"
"""What `kind` says in the config.json of such a folder."""

Reference = tuple[NDArray[np.uint8], Floats]
"""A picture of a face and its mesh points (478, 2), in pixels of the picture."""

_BATCH = 16
_FEW = 8  # references whose mean is not yet the neutral shape
_USUAL_SHARE = 0.4  # from the most closed mouth of a track to the most open one, median of many
_USUAL_OPENING = 0.09  # likewise, in distances of the eyes


@dataclass(frozen=True)
class DubberConfig:
    """What the networks are.

    Attributes:
        name: of the model.
        components: K, numbers of a shape.
        shape_width: channels of the network that hears.
        gain: by which heard shapes are multiplied.
        size: side of the window that is drawn, pixels.
        renderer_width: channels of the network that draws; 0 where there is none yet.
    """

    name: str
    components: int
    shape_width: int
    gain: float = 1.0
    size: int = 96
    renderer_width: int = 0


@dataclass(frozen=True)
class HeardShapes:
    """What the sound says for some frames.

    Attributes:
        shapes: (N, K) deviations from the neutral shape.
        closed: (N,) in [0, 1]: how far each mouth is closed instead.
    """

    shapes: Floats
    closed: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    def closing(self, mask: NDArray[np.bool_] | Floats) -> HeardShapes:
        """The same with closed mouths where the mask (N,) is true.

        A mask of numbers in [0, 1] closes them by so much, so a tool can ease them in.
        """
        return replace(self, closed=np.asarray(mask, np.float32))


class SmallDubber:
    """Sound -> shape -> pixels, see `openmarlin.lipsync.mouth_model.MouthModel`.

    Args:
        config: of the networks.
        basis: of shapes.
        shape_net: hears them.
        renderer: draws them; None for a model that only hears.

    Attributes:
        name: of the model.
        digest: the first 12 hex digits of the SHA-256 of its weights.
        size: side of the face pictures that it takes and gives, pixels.
    """

    def __init__(
        self,
        config: DubberConfig,
        basis: ShapeBasis,
        shape_net: ShapeNet,
        renderer: Renderer | None = None,
    ) -> None:
        self.config, self.basis = config, basis
        self.shape_net, self.renderer = shape_net, renderer
        self.framing = Framing(config.size)
        self._last: tuple[Sound, Floats] | None = None  # a sound and the bands of its voice

    @classmethod
    def new(cls, config: DubberConfig, basis: ShapeBasis, seed: int) -> SmallDubber:
        """One with random networks."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            shape_net = ShapeNet(config.components, config.shape_width)
            renderer = Renderer(config.renderer_width) if config.renderer_width else None
        return cls(config, basis, shape_net, renderer)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def size(self) -> int:
        return self.framing.face_px

    @property
    def digest(self) -> str:
        return tensors_sha256(self._tensors())[:12]

    @torch.inference_mode()
    def hear(self, sound: Sound, times_s: NDArray[np.float64]) -> HeardShapes:
        """The shapes of the mouth at the presentation times (N,) of frames."""
        times_s = np.asarray(times_s, np.float64)
        if not len(times_s):
            return HeardShapes(np.zeros((0, len(self.basis)), np.float32), np.zeros(0, np.float32))
        mel, places = mel_around(sound, times_s)
        inputs = torch.from_numpy(less_voice(mel, self._bands(sound)))[None]
        shapes = self.shape_net.eval()(inputs, torch.from_numpy(places)[None])[0].numpy()
        silent = np.interp(places, np.arange(mel.shape[1]), silent_columns(mel))
        return HeardShapes(self.config.gain * shapes, silent.astype(np.float32))

    @torch.inference_mode()
    def draw(
        self,
        heard: HeardShapes,
        start: int,
        faces: NDArray[np.uint8],
        points: Floats,
        references: Sequence[Reference],
    ) -> NDArray[np.uint8]:
        """Draw the mouths of frames.

        Args:
            heard: of all frames of a chunk.
            start: place of the first of these frames among them.
            faces: (T, size, size, 3) pictures of the face, MARLIN's square.
            points: (T, 478, 2) its mesh points, in pixels of the pictures.
            references: pictures of the same face from other times, and their points. The most
                closed and the most open mouth are copied from; all of them together tell the
                neutral shape, which is guessed where they are fewer than eight.

        Returns:
            (T, size, size, 3): the same pictures but for the mouth and what moves with it.
        """
        renderer = self._need_renderer()
        shapes = heard.shapes[start : start + len(faces)]
        neutral = self._neutral(references)
        closed = heard.closed[start : start + len(faces), None]
        shapes = shapes + closed * (self.basis.closed(neutral) - shapes)
        cameras = self._cameras(points)
        rows, columns = self.framing.place
        drawn = self.basis.picture(neutral + self.basis.decode(shapes), cameras)
        mouths = move_points(points[:, MOUTH], self._to_window())
        views = self._references(references)
        result = faces.copy()
        for first in range(0, len(faces), _BATCH):
            batch = range(first, min(first + _BATCH, len(faces)))
            channels = [
                window_channels(
                    View(faces[i, rows, columns], cameras[i], mouths[i]),
                    drawn[i],
                    views,
                    neutral,
                    self.basis,
                )
                for i in batch
            ]
            image = renderer(torch.from_numpy(np.stack(channels))).image
            pixels = (image * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
            result[batch.start : batch.stop, rows, columns] = pixels.numpy()
        return result

    def save(self, folder: str | Path, note: str = "", *, overwrite: bool = False) -> None:
        """Write the model.

        Raises:
            InputError: the folder is not empty, or cannot be written.
        """
        with atomic_folder(Path(folder), overwrite=overwrite) as part:
            self.write(part, note)

    def write(self, folder: Path, note: str = "") -> None:
        """Write the files of the model to a folder that is there."""
        content = {"kind": KIND, **asdict(self.config), "note": note}
        (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        save_file(self._tensors(), folder / WEIGHTS, metadata={"format": "pt"})
        (folder / "README.md").write_text(_card(self, note), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> SmallDubber:
        """Read a model, in evaluation mode.

        Raises:
            ModelError: it is not there, or not what it should be.
        """
        path = Path(folder).expanduser()
        if not (path / CONFIG).is_file() and (path / "model" / CONFIG).is_file():
            path = path / "model"  # a run was named
        content = read_json(path / CONFIG)
        if content.pop("kind", None) != KIND:
            raise ModelError(
                f"{folder}: no small mouth model: name a run or model of "
                "`openmarlin lipsync train-mouth`"
            )
        content.pop("note", None)
        try:
            config = DubberConfig(**content)
            tensors = load_file(path / WEIGHTS)
            basis = ShapeBasis(
                *(
                    tensors.pop(f"basis.{name}").numpy()
                    for name in ("components", "spread", "depth")
                )
            )
            model = cls.new(config, basis, seed=0)
            for prefix, module in model._modules():
                own = {
                    k.removeprefix(prefix): t.float()
                    for k, t in tensors.items()
                    if k.startswith(prefix)
                }
                module.load_state_dict(own)
                module.eval()
        except (TypeError, KeyError, RuntimeError, OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{path}: damaged, or of another version: {reason}") from None
        return model

    def with_shape(self, weights: Tensors, config: DubberConfig) -> SmallDubber:
        """The same with other weights of the network that hears."""
        net = ShapeNet(config.components, config.shape_width)
        net.load_state_dict(weights)
        return SmallDubber(config, self.basis, net, self.renderer)

    def with_renderer(self, weights: Tensors) -> SmallDubber:
        """The same with other weights of the network that draws."""
        renderer = Renderer(self.config.renderer_width)
        renderer.load_state_dict(weights)
        return SmallDubber(self.config, self.basis, self.shape_net, renderer)

    def _modules(self) -> list[tuple[str, nn.Module]]:
        modules: list[tuple[str, nn.Module]] = [("shape.", self.shape_net)]
        return modules + ([("renderer.", self.renderer)] if self.renderer is not None else [])

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {
            prefix + name: t.detach().cpu().half().contiguous()
            for prefix, module in self._modules()
            for name, t in module.state_dict().items()
        }
        for name in ("components", "spread", "depth"):
            tensors[f"basis.{name}"] = torch.from_numpy(getattr(self.basis, name))
        return tensors

    def _need_renderer(self) -> Renderer:
        if self.renderer is None:
            raise ModelError(
                f"model '{self.name}' hears mouths and does not draw them: train the stage "
                "renderer on it with `openmarlin lipsync train-mouth`"
            )
        return self.renderer.eval()

    def _to_window(self) -> NDArray[np.float64]:
        """The map from pixels of the face to those of the window."""
        return np.array([[1.0, 0, -self.framing.left], [0, 1.0, -self.framing.top]])

    def _cameras(self, points: Floats) -> NDArray[np.float64]:
        return move_camera(face_cameras(points), self._to_window())

    def _bands(self, sound: Sound) -> Floats:
        """Of the voice in a sound; the chunks of a video ask for the same one again."""
        if self._last is None or self._last[0] is not sound:
            usual = self.shape_net.usual.numpy()
            self._last = sound, voice_bands(mel_of_voice(sound), usual)
        return self._last[1]

    def _neutral(self, references: Sequence[Reference]) -> Floats:
        """The mean shape (M, 2) of a face as its references tell it: the same in every chunk.

        Few of them are not the mean of all: with the most closed and the most open mouth it is
        `_USUAL_SHARE` of the way, with one alone it is open by `_USUAL_OPENING`.
        """
        meshes = np.stack([mesh for _, mesh in references])
        planes = self.basis.plane(meshes[:, MOUTH], face_cameras(meshes))
        mean = np.asarray(planes.mean(axis=0), np.float32)
        if len(planes) >= _FEW:
            return mean
        apart = [lips_apart(plane) for plane in planes]
        target = min(apart) + _USUAL_SHARE * (max(apart) - min(apart))
        if len(planes) == 1:
            target = _USUAL_OPENING
        return np.asarray(mean + self.basis.decode(self.basis.opened(mean, target)[None])[0])

    def _references(self, references: Sequence[Reference]) -> list[View]:
        """The windows of the most closed and of the most open mouth."""
        meshes = np.stack([mesh for _, mesh in references])
        order = np.argsort(mouth_opening(meshes), kind="stable")
        cameras, (rows, columns) = self._cameras(meshes), self.framing.place
        mouths = move_points(meshes[:, MOUTH], self._to_window())
        chosen = [int(order[0]), int(order[-1])][:REFERENCES]
        return [View(references[i][0][rows, columns], cameras[i], mouths[i]) for i in chosen]


def _card(model: SmallDubber, note: str) -> str:
    counts = {
        name.rstrip("."): sum(p.numel() for p in m.parameters()) for name, m in model._modules()
    }
    parts = ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in counts.items())
    return (
        f"# {model.name}\n\nA small model that moves the mouth of a face to a sound, in two "
        "stages: sound to the shape of the mouth, shape to pixels. Use it with `openmarlin lipsync "
        f"generate VIDEO SOUND --model FOLDER`.\n\nParameters: {parts}. Window "
        f"{model.config.size} px of a face of {model.size} px. {note}\n\nTrained on faces of "
        "people who talk; the licence of the weights is that of the data. What it draws is not "
        "what was said: mark it as generated.\n"
    )
