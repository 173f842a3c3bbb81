"""The clips of a store as pre-training sees them: masked, and augmented where they are to learn."""

from __future__ import annotations

from openmarlin.data.dataset import ClipDataset, SampleStream, TrainingData, split_tracks
from openmarlin.data.store import Store
from openmarlin.data.transforms import Colour, Crop, Mask, Transform, flip
from openmarlin.model.config import ModelConfig
from openmarlin.pretraining.settings import PretrainSettings


def pretraining_data(store: Store, config: ModelConfig, settings: PretrainSettings) -> TrainingData:
    """Clips to learn from, and held-out ones of other groups of faces.

    Raises:
        InputError: masking, regions or sizes do not exist or do not fit, or a clip is damaged.
    """
    train, held_out = split_tracks(store.tracks, settings.val_share)
    clips = ClipDataset(
        store,
        train,
        frames=config.frames,
        rate=settings.rate,
        transforms=_transforms(store, config, settings, augment=True),
        seed=settings.seed,
    )
    _ = clips[0, 0]  # what does not fit shows here, not in a loader worker
    groups = [store.tracks[number].group for number in train]
    stream = SampleStream(groups, settings.seed, settings.per_group)
    an_epoch = f" ({len(stream)} an epoch)" if settings.per_group else ""
    validation = (
        f"{len(held_out)} tracks held out"
        if held_out
        else "none held out: one group of faces alone, so validation shows training clips"
    )
    return TrainingData(
        train=clips,
        held_out=ClipDataset(
            store,
            held_out or train,
            frames=config.frames,
            rate=settings.rate,
            transforms=_transforms(store, config, settings, augment=False),
            seed=None,
        ),
        stream=stream,
        val_clips=settings.val_clips,
        notes=[
            f"{len(clips)} tracks to train on{an_epoch}, {validation}",
            *(f"left out: {problem}" for problem in store.problems),
        ],
    )


def _transforms(
    store: Store, config: ModelConfig, settings: PretrainSettings, *, augment: bool
) -> list[Transform]:
    margin = store.margin
    crop = settings.crop if augment else 0.0
    transforms: list[Transform] = [Crop(store.size, margin, config.image_size, crop)]
    if augment and settings.flip:
        transforms.append(flip)
    if augment and settings.colour:
        transforms.append(Colour(settings.colour))
    mask = Mask(
        settings.masking,
        config.grid,
        config.patch,
        settings.mask_ratio,
        settings.regions,
        settings.decode_ratio if augment else 1.0,
    )
    return [*transforms, mask]
