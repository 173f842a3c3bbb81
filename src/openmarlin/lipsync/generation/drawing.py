"""Drawing test pairs with a generator, and scoring what it draws.

Faces stay in MARLIN's square, as stores keep them. The reference of a clip is the clip itself in
another order of time: a frame is drawn from one half the clip away, and does not see its own lips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.data.store import Store
from openmarlin.data.transforms import crop_images, face_view
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.mesh import fill_gaps
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.generation.data import count_ticks, frame_of
from openmarlin.lipsync.generation.pairs import Pair
from openmarlin.lipsync.generators.generator import Generator, network_inputs
from openmarlin.lipsync.offsets import TICK_RATE, Offset, measure_offset
from openmarlin.lipsync.sound_windows import sound_windows
from openmarlin.lipsync.store_tracks import track_sound
from openmarlin.video.audio import Sound

Images = NDArray[np.uint8]

_AT_ONCE = 16  # frames


@dataclass(frozen=True)
class DrawnPair:
    """A test pair.

    Attributes:
        real: uint8 (T, S, S, 3), the face as it is, 25 frames a second.
        drawn: uint8 (T, S, S, 3), as a generator draws it.
        sound: that it was drawn to; time 0 is the first frame.
    """

    real: Images
    drawn: Images
    sound: Sound


def real_faces(store: Store, pair: Pair, size: int, ticks: int) -> Images:
    """The first ticks of a pair's face, uint8 (T, S, S, 3), as many as the sound has, too."""
    face = store.tracks[pair.face]
    count = min(ticks, count_ticks(face), count_ticks(store.tracks[pair.sound]))
    margin = store.margin
    images, _ = store.read(pair.face, [frame_of(face, tick) for tick in range(count)])
    return crop_images(images, face_view(store.size, margin), size)


@torch.no_grad()
def draw_pair(generator: Generator, store: Store, pair: Pair, ticks: int) -> DrawnPair:
    """Draw the first ticks of a pair.

    Args:
        generator: in evaluation mode.
        store: of the pair.
        pair: face and sound.
        ticks: frames at most; as many as both have, in whole clips of the generator.
    """
    config = generator.config
    real = real_faces(store, pair, config.size, ticks)
    length = config.frames if config.frames > 1 else _AT_ONCE
    # Frames that are drawn together come in whole clips only.
    count = len(real) - (len(real) % length if config.frames > 1 else 0)
    real = real[:count]
    reference = np.roll(real, count // 2, axis=0)
    sound = track_sound(store, pair.sound)
    heard = torch.from_numpy(sound_windows(sound, np.arange(count) / TICK_RATE, config))
    drawn = []
    for first in range(0, count, length):
        part = slice(first, first + length)
        faces = (torch.from_numpy(each[part].copy())[None] for each in (real, reference))
        picture = generator(heard[None, part], network_inputs(*faces)[1])
        drawn.append((255 * picture[0]).round().byte().permute(1, 2, 3, 0).numpy())
    return DrawnPair(real, np.concatenate(drawn), sound)


def score_pictures(
    pictures: Images, sound: Sound, expert: Expert, landmarker: Landmarker
) -> Offset | None:
    """LSE of faces in pictures, in the published variant; None where no face is found.

    Args:
        pictures: uint8 (T, S, S, 3), one face each, 25 a second.
        sound: time 0 is the first picture.
        expert: that scores.
        landmarker: finds the mesh in each picture: what was drawn counts, not what was meant.
    """
    found = [landmarker.search(picture) for picture in pictures]
    meshes = fill_gaps([faces[0].points[:, :2] if faces else None for faces in found])
    if meshes is None or len(pictures) < expert.window:
        return None
    views = [expert.view(*each) for each in zip(pictures, meshes, strict=True)]
    faces = expert.embed_faces(np.stack(views))
    sounds = expert.embed_sound(sound, 0.0, len(faces))
    return measure_offset(faces, sounds, variant="compat")
