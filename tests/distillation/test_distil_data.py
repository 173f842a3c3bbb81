"""Samples: the tokens that the model would see, with the targets of those very pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from openmarlin.data.store import Store
from openmarlin.data.transforms import crop_images, face_view
from openmarlin.distillation.data import DistilDataset, View, distil_data
from openmarlin.distillation.measuring import POSE, measure
from openmarlin.distillation.settings import DistilSettings
from openmarlin.distillation.targets import turn_pose
from openmarlin.errors import InputError
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.pose import head_pose
from openmarlin.model.autoencoder import pick_values
from openmarlin.model.config import PRESETS

CONFIG = PRESETS["tiny"].encoder_alone()


def settings(store: Store, **fields: object) -> DistilSettings:
    return DistilSettings(data=store.path, out=store.path / "run", steps=1, val_share=0.3, **fields)


def dataset(store: Store, *, augment: bool, **fields: object) -> DistilDataset:
    data, _ = distil_data(store, measure(store, None), CONFIG, settings(store, **fields))
    found = data.train if augment else data.held_out
    assert isinstance(found, DistilDataset)
    return found


def test_an_unchanged_view_is_the_crop(store: Store) -> None:
    images = store.read(0, [0, 4])[0]
    margin = (store.size - 224) // 2
    seen = View().show(images, 224, 224)
    assert np.array_equal(seen, crop_images(images, face_view(store.size, margin), 224))
    smaller = View(shrunk=0.5).show(images, 224, 224)
    assert smaller.std() < seen.std()


def test_pose_is_turned_as_the_picture_is(store: Store) -> None:
    """Mirror and turn a crop, and measure it again."""
    landmarker, box = Landmarker(), np.array([20, 20, 204, 204], np.float32)
    measured = measure(store, None)
    errors = []
    for number in range(len(store)):
        view = View(mirrored=True, turned=0.25)
        seen = view.show(store.read(number, [0])[0], 224, 224)
        face = landmarker.follow([seen[0]], [[box]])[0][0]
        before = measured.values[POSE][measured.starts[number]]
        if face is not None and np.isfinite(before).all():
            pose = np.radians(head_pose(face.points[None]))
            said = turn_pose((before * (-1, 1, -1))[None], 0.25)
            errors.append(np.abs(said - pose)[0])
    assert len(errors) >= 3
    assert np.median(errors, axis=0).max() < np.radians(4)


def test_tokens_are_the_models(store: Store) -> None:
    data = dataset(store, augment=False, pictures=3)
    sample = data[0, 0]
    N, P = CONFIG.n_tokens, CONFIG.token_values
    assert sample["clip"].shape == (N, P)
    assert not sample["clip_mask"].any()
    assert sample["pictures"].shape == (3, 196, P)
    assert (~sample["picture_masks"]).sum(dim=1).tolist() == [196] * 3
    assert sample["clip_target"].shape == (data.targets.plain.shape[1] + 55,)
    number = int(data.clips[0])
    start = int(np.random.default_rng([0, 0]).integers(_starts(store, number)))
    frames = np.minimum(4 * start + 2 * np.arange(16), store.tracks[number].n_frames - 1)
    video = View().show(store.read(number, frames.tolist())[0], data.side, 224)
    whole = pick_values(torch.from_numpy(video)[None], torch.ones(1, N, dtype=torch.bool), CONFIG)
    assert torch.equal(sample["clip"].float() / 255, whole[0])


def _starts(store: Store, number: int) -> int:
    return max(1, (store.tracks[number].n_frames - 1) // 4 - CONFIG.grid[0] + 2)


def test_samples_depend_on_their_key_alone(store: Store) -> None:
    data = dataset(store, augment=True)
    first, again, other = data[0, 1], data[0, 1], data[1, 1]
    for name, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value.nan_to_num(), again[name].nan_to_num()), name
    assert not torch.equal(first["clip"], other["clip"])
    V = round(0.25 * 196)
    assert first["clip"].shape[0] == CONFIG.grid[0] * V
    per_step = (~first["clip_mask"]).reshape(CONFIG.grid[0], -1).sum(dim=1)
    assert per_step.tolist() == [V] * CONFIG.grid[0]
    assert len(first["clip"]) == int(per_step.sum())


def test_no_face_is_on_both_sides(store: Store) -> None:
    learnt, held_out = (dataset(store, augment=augment) for augment in (True, False))
    groups = [{store.tracks[n].group for n in data.clips.tolist()} for data in (learnt, held_out)]
    assert groups[0].isdisjoint(groups[1])
    assert all(groups)


def test_sizes_that_do_not_fit(store: Store) -> None:
    odd = CONFIG.changed(tubelet=8)
    with pytest.raises(InputError, match="tubelet 8 does not divide 4 frames"):
        distil_data(store, measure(store, None), odd, settings(store))
    long = CONFIG.changed(frames=512)
    with pytest.raises(InputError, match=r"no track of 512 frames to learn from"):
        distil_data(store, measure(store, None), long, settings(store))
