"""A model of a task: an encoder, a head, and what its answers mean. One folder, which may travel.

MODEL/config.json        of the encoder, with a table `task`: see `TaskConfig`
MODEL/model.safetensors  the encoder
MODEL/head.safetensors   the head
MODEL/README.md          the model card

Heads that come with the package share an encoder: their config.json has its name as `encoder`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from openmarlin.data.clips import Sampling
from openmarlin.errors import ModelError
from openmarlin.files import atomic_folder
from openmarlin.model.card import CARD
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load, save_folder, weights_sha256
from openmarlin.model.tensor_files import CONFIG, read, read_json
from openmarlin.model.zoo import SHIPPED_TASKS, find_model
from openmarlin.tasks.heads import Head, make_head
from openmarlin.tasks.labels import Target, Values

HEAD = "head.safetensors"
MODEL = "model"
"""The folder of a run that holds its model."""


class TaskConfig(BaseModel):
    """What the answers of a head mean, and where it comes from: `task` in config.json.

    Attributes:
        target: see `Target.as_dict`.
        head: see `Head.config`.
        sampling: which frames and faces it was trained on: fields of `Sampling`.
        over_time: how the windows of a video are put together: the mean of their pooled vectors is
            answered (probes learn from those), or their answers are averaged.
        over_faces: what becomes of several faces of one video.
        temperature: logits are divided by it (chosen on validation).
        thresholds: from which probability on a yes is a yes, one an output (chosen on validation);
            none for class, ordinal and regression.
        prior: answer where there is nothing to see: the means over the training labels.
        trained_on: what it has learnt from: rows, groups, split, labels, recipe.
        chosen_on: what was chosen on validation, and how well it does there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: dict[str, Any]
    head: dict[str, Any]
    sampling: dict[str, Any] = {}
    over_time: Literal["features", "answers"] = "features"
    over_faces: Literal["mean", "max"] = "mean"
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()
    prior: tuple[float, ...] = ()
    trained_on: dict[str, Any] = {}
    chosen_on: dict[str, Any] = {}


@dataclass(frozen=True)
class TaskModel:
    """An encoder, a head on it, and what the answers mean."""

    encoder: Encoder
    head: Head
    config: TaskConfig

    @property
    def target(self) -> Target:
        return Target.of(self.config.target)

    @property
    def sampling(self) -> Sampling:
        return Sampling(**self.config.sampling)

    @property
    def sha256(self) -> str:
        """SHA-256 over encoder, head and config: the same for models that answer the same."""
        digest = hashlib.sha256(weights_sha256(self.encoder).encode())
        digest.update(json.dumps(self.encoder.config.model_dump(mode="json")).encode())
        digest.update(json.dumps(self.config.model_dump(mode="json"), sort_keys=True).encode())
        for name, tensor in sorted(self.head.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
            digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @torch.inference_mode()
    def answer(self, pooled: NDArray[np.float32]) -> Values:
        """Pooled vectors (n, E) -> calibrated probabilities, or values of a regression, (n, C).

        Rows that are not finite (windows without a face) stay NaN.
        """
        answers = np.full((len(pooled), len(self.target.outputs)), np.nan)
        finite = np.isfinite(pooled).all(axis=1)
        if finite.any():
            device = next(self.encoder.parameters()).device
            rows = torch.from_numpy(pooled[finite]).to(device)
            logits = self.head.answer(rows).double().cpu().numpy()
            answers[finite] = as_scores(logits, self.target, self.config.temperature)
        return answers

    def save(self, path: Path, card: str, *, overwrite: bool = False) -> None:
        """Write the folder.

        Args:
            path: of the folder.
            card: what README.md says, beside the facts of the encoder.
            overwrite: replace what is there.

        Raises:
            InputError: the folder is not empty, or cannot be written.
        """
        with atomic_folder(path, overwrite=overwrite) as folder:
            save_folder(self.encoder, folder, overwrite=True)
            content = {**read_json(folder / CONFIG), "task": self.config.model_dump(mode="json")}
            (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            tensors = {
                name: t.detach().cpu().contiguous() for name, t in self.head.state_dict().items()
            }
            save_file(tensors, folder / HEAD, metadata={"format": "pt"})
            (folder / CARD).write_text(card, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> TaskModel:
        """A task model in evaluation mode.

        Args:
            path: of its folder, or the name of one that ships: "expression", "actions".
            device: where to.

        Raises:
            ModelError: there is none, it has no head, or head and encoder do not fit.
        """
        path = find_model(path)
        if not (path / CONFIG).is_file():
            raise ModelError(f"{path}: {_why_none(path)}")
        content = read_json(path / CONFIG)
        table = content.get("task")
        if table is None or not (path / HEAD).is_file():
            raise ModelError(
                f"{path}: an encoder without a head: train one with `openmarlin probe` or "
                "`openmarlin finetune`"
            )
        try:
            config = TaskConfig.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ModelError(f"{path / CONFIG}: task.{where}: {first['msg']}") from None
        try:
            Target.of(config.target), Sampling(**config.sampling)
        except (KeyError, TypeError) as error:
            raise ModelError(f"{path / CONFIG}: task: {error}: damaged, or too new") from None
        encoder = load(content.get("encoder", path), part="encoder", device=device)
        return cls(encoder, _load_head(path, config, device), config)


def _why_none(path: Path) -> str:
    """Why a path is no folder of a model, and what may have been meant."""
    if not path.exists():
        return (
            "no such folder; name the folder `model` of a probe or fine-tuning run, or "
            f"{' or '.join(SHIPPED_TASKS)}, which come with the package"
        )
    if (path / MODEL / CONFIG).is_file():
        return f"is a run; its model is {path / MODEL}"
    return "no model of a task: name the folder `model` of a probe or fine-tuning run"


def _load_head(path: Path, config: TaskConfig, device: str) -> Head:
    try:
        with torch.device("meta"):  # a config that is damaged may say any size
            head = make_head(config.head)
    except ModelError as error:
        raise ModelError(f"{path / CONFIG}: {error}") from None
    n_outputs = len(Target.of(config.target).outputs)
    if config.head.get("n_outputs") != n_outputs:
        raise ModelError(
            f"{path / CONFIG}: a head of {config.head.get('n_outputs')} outputs does not fit a "
            f"target of {n_outputs}"
        )
    try:
        head.load_state_dict(read(path / HEAD), assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path / HEAD} does not fit {path / CONFIG}: {reason}") from None
    return head.to(device).eval()


def as_scores(logits: Values, target: Target, temperature: float = 1.0) -> Values:
    """Logits (n, C) -> probabilities (n, C); values of a regression stay as they are."""
    return np.asarray(scores(torch.from_numpy(logits), target, temperature).numpy())


def scores(logits: Tensor, target: Target, temperature: float = 1.0) -> Tensor:
    """The same of tensors."""
    if target.kind == "regression":
        return logits
    scaled = logits / temperature
    return scaled.softmax(dim=1) if target.is_one_of else scaled.sigmoid()


def prior_of(labels: Values, target: Target) -> tuple[float, ...]:
    """The mean answer to labels (N, K): how often each output applies, or a mean quantity (C,).

    An output that no row has a label of is as good as a coin, and a quantity 0.
    """
    if target.is_one_of:
        numbers = labels[np.isfinite(labels[:, 0]), 0]
        return tuple(float((numbers == i).mean()) for i in range(len(target.classes)))
    unknown = 0.0 if target.kind == "regression" else 0.5
    columns = [column[np.isfinite(column)] for column in labels.T]
    return tuple(float(column.mean()) if len(column) else unknown for column in columns)


def decide(scores: Values, target: Target, thresholds: Sequence[float] = ()) -> Values:
    """Probabilities (n, C) -> labels (n, K), as `Target.encode` gives them; NaN stays NaN.

    Of an ordinal target the median of its distribution, of a class target the likeliest.
    """
    if target.kind == "regression":
        return scores
    if target.is_one_of:
        best = scores.argmax(axis=1)
        if target.kind == "ordinal":
            best = (np.cumsum(scores, axis=1) >= 0.5).argmax(axis=1)
        return np.where(np.isfinite(scores).all(axis=1), best, np.nan)[:, None]
    limits = np.asarray(thresholds or [0.5] * scores.shape[1])
    return np.where(np.isfinite(scores), scores >= limits, np.nan)
