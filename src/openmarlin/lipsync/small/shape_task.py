"""Learning to hear the shape of a mouth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from openmarlin.lipsync.small.model import SmallDubber
from openmarlin.lipsync.small.mouth_shape import Floats
from openmarlin.lipsync.small.settings import MouthSettings
from openmarlin.lipsync.small.shape_data import FRAME_RATE
from openmarlin.model.tensor_files import Tensors
from openmarlin.training.optim import make_adamw
from openmarlin.training.task import Batch, Losses, Monitor, Player, Progress, Task

MONITOR = Monitor("val_opening_r", "max")
_MOST_GAIN = 2.0


@dataclass(frozen=True)
class OpeningCurve:
    """The opening of a held-out mouth, 25 values a second, from its mean on.

    Attributes:
        name: of the track.
        real: (n,) as the mesh has it.
        heard: (n,) as the sound has it.
    """

    name: str
    real: Floats
    heard: Floats


class ShapeTask(Task):
    """One player: the network that hears shapes.

    Args:
        dubber: the model, without a renderer.
        groups: of the held-out tracks, by name.
        settings: of the run.
    """

    name = "mouth shape"
    monitor = MONITOR
    publish = "best"

    def __init__(
        self, dubber: SmallDubber, groups: Mapping[str, str], settings: MouthSettings
    ) -> None:
        self.dubber, self.groups, self.settings = dubber, groups, settings
        self.gain = dubber.config.gain
        net = dubber.shape_net
        self.players = {
            "shape": Player(net, make_adamw(settings), clip_grad=settings.clip_grad),
        }
        self._opening = torch.from_numpy(dubber.basis.opening)
        self._curves: list[OpeningCurve] = []

    def introduction(self) -> list[str]:
        count = sum(p.numel() for p in self.model.module.parameters())
        return [f"{count / 1e6:.2f} M parameters, {len(self._opening)} numbers of a shape"]

    def forward(self, batch: Batch) -> Tensor:
        shapes: Tensor = self.model.call(batch["mel"], batch["places"], batch.get("kept"))
        return shapes

    def losses(
        self,
        player: str,  # noqa: ARG002 - there is one
        batch: Batch,
        shared: Any,
        generator: torch.Generator,  # noqa: ARG002 - chance is in the samples
    ) -> Losses:
        settings = self.settings
        shapes, target, valid = shared, batch["shapes"], batch["valid"]
        place = _mean(functional.smooth_l1_loss(shapes, target, reduction="none"), valid)
        step = shapes.diff(dim=1), target.diff(dim=1)
        both = valid[:, 1:] & valid[:, :-1]
        velocity = _mean(functional.smooth_l1_loss(*step, reduction="none"), both)
        row = self._opening.to(shapes.device)
        unit = 1 / row.norm()  # an opening counts like a number of the shape
        gap = functional.smooth_l1_loss(shapes @ row * unit, target @ row * unit, reduction="none")
        opening = _mean(gap[..., None], valid)
        loss = place + settings.w_velocity * velocity + settings.w_opening * opening
        return {"loss": loss, "place": place, "velocity": velocity, "opening": opening}

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Correlation of the opening with the real one: a track, then its group, then all."""
        net = self.model.module.eval()
        row = self._opening.numpy()
        by_group: dict[str, list[float]] = defaultdict(list)
        losses, spreads = [], []
        self._curves = []
        for batch in batches:
            shapes = net(batch["mel"], batch["places"])
            losses.append(float(self.losses("shape", batch, shapes, torch.Generator())["loss"]))
            heard, real = (s.cpu().numpy() @ row for s in (shapes, batch["shapes"]))
            for name, ok, a, b in zip(
                batch["id"], batch["valid"].cpu().numpy(), real, heard, strict=True
            ):
                curve = OpeningCurve(name, a[ok] - a[ok].mean(), b[ok] - b[ok].mean())
                spreads.append((curve.real.std(), curve.heard.std()))
                by_group[self.groups[name]].append(correlation(curve.real, curve.heard))
                if len(curve.real) >= 2 * FRAME_RATE:
                    self._curves.append(curve)
        net.train()
        real_std, heard_std = np.mean(spreads, axis=0)
        # What is uncertain is drawn towards the mean: lips would hardly move.
        self.gain = float(np.clip(real_std / max(heard_std, 1e-6), 1, _MOST_GAIN))
        means = [float(np.mean(values)) for values in by_group.values()]
        return {
            "val_opening_r": float(np.mean(means)),
            "val_loss": float(np.mean(losses)),
            "val_gain": self.gain,
        }

    def pictures(self) -> Sequence[OpeningCurve]:
        return self._curves[: self.settings.pictures]

    def export(self, folder: Path, weights: Tensors, progress: Progress) -> None:
        config = replace(self.dubber.config, gain=self.gain)
        note = f"stage shape, step {progress.step} of {progress.steps}"
        self.dubber.with_shape(weights, config).write(folder, note)


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's r; 0 where something does not change."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else 0.0


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Of (B, N, K) where (B, N) is true."""
    weights = valid[..., None].to(values.dtype)
    return (values * weights).sum() / (weights.sum() * values.shape[-1]).clamp(min=1)
