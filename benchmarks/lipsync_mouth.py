"""Does the small mouth model do its work? `python benchmarks/lipsync_mouth.py STORE MODEL`.

Faces of people that the model has not seen are given a mouth for their own sound, for the sound of
somebody else, and for silence. Openings are measured by the face mesh on what was drawn. Numbers
are means over the tracks of a group, then over groups, with a 95 % bootstrap over groups. A track
counts if it is at least 3 s long, is heard, and its mouth moves (`shape_data`): a rule fixed
beforehand.

    --part val|test    of a store with a column `split`; else a share of the groups is held out
    --expert E         an expert that was not used in training: offsets of drawn and of real faces
    --pictures DIR     rows of frames to look at
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import console, save
from openmarlin.data.store import Store
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.mesh import fill_gaps
from openmarlin.lipsync.experts.load import load_expert
from openmarlin.lipsync.mel import mel_spectrogram
from openmarlin.lipsync.mouth_opening import mouth_opening
from openmarlin.lipsync.offsets import TICK_RATE, measure_offset
from openmarlin.lipsync.small.model import HeardShapes, SmallDubber
from openmarlin.lipsync.small.shape_net import SILENCE
from openmarlin.lipsync.small.shape_task import correlation
from openmarlin.lipsync.store_tracks import split_store_tracks, track_sound
from openmarlin.video.audio import Sound

LEAST_S, MOST_S = 3.0, 8.0
PER_GROUP = 2
SHOWN = 12
EYES = [33, 133, 362, 263]  # corners
PAIRS = {
    "in_sync_real": ("real", "own"),
    "in_sync_drawn": ("own", "own"),
    "in_sync_drawn_for_other_sound": ("other", "own"),
    "in_sync_wrong": ("real", "other"),
}
"""Whose mouth an expert sees with whose sound."""

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Talk:
    """A held-out track: crops as stored, points in their pixels, times and sound."""

    name: str
    group: str
    images: Images
    points: Floats
    times_s: NDArray[np.float64]
    sound: Sound


def read_talks(store: Store, numbers: Sequence[int], most: int) -> list[Talk]:
    """Tracks that count, of many people before many of one."""
    taken: dict[str, int] = defaultdict(int)
    talks: list[Talk] = []
    for number in numbers:
        track = store.tracks[number]
        if len(talks) >= most or taken[track.group] >= PER_GROUP:
            continue
        n = min(track.n_frames, int(MOST_S * track.fps))
        meshes = store.points(number, range(n))
        if n / track.fps < LEAST_S or meshes is None:
            continue
        points = fill_gaps([mesh if np.isfinite(mesh).all() else None for mesh in meshes])
        early = track_sound(store, number)
        sound = Sound(early.between(0.0, n / track.fps), 0.0)
        loud = np.quantile(mel_spectrogram(sound.samples).max(axis=0), 0.9) > SILENCE + 1
        if points is None or mouth_opening(points).std() < 0.01 or not loud:
            continue
        images, _ = store.read(number, range(n))
        taken[track.group] += 1
        talks.append(Talk(track.name, track.group, images, points, np.arange(n) / track.fps, sound))
    return talks


class Drawer:
    """Draws the mouths of a talk for any sound, into the stored crops."""

    def __init__(self, dubber: SmallDubber, store: Store) -> None:
        self.dubber = dubber
        self.margin = int(store.info["settings"]["margin"])
        self.side = store.size - 2 * self.margin

    def draw(self, talk: Talk, heard: HeardShapes) -> Images:
        size, inner = self.dubber.size, slice(self.margin, self.margin + self.side)
        how = cv2.INTER_AREA if size < self.side else cv2.INTER_LINEAR
        faces = np.stack(
            [
                cv2.resize(image[inner, inner], (size, size), interpolation=how)
                for image in talk.images
            ]
        )
        points = (talk.points - self.margin) * np.float32(size / self.side)
        order = np.argsort(mouth_opening(points))
        references = [(faces[i], points[i]) for i in (order[0], order[-1])]
        drawn = self.dubber.draw(heard, 0, faces, points, references)
        result = talk.images.copy()
        for image, mouth, face in zip(result, drawn, faces, strict=True):
            change = mouth.astype(np.int16) - face
            large = cv2.resize(change, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
            image[inner, inner] = np.clip(image[inner, inner] + large, 0, 255).astype(np.uint8)
        return result


def meshes_of(images: Images, points: Floats, landmarker: Landmarker) -> Floats:
    """The meshes (T, 478, 2) of drawn faces, straight lines in time where none is seen.

    The net looks where the eyes of the real face are, in squares of one size: a box of the real
    mesh would tell it how far the real jaw is down.
    """
    eyes = points[:, EYES].mean(axis=1)
    low = np.median(points.min(axis=1) - eyes, axis=0)
    high = np.median(points.max(axis=1) - eyes, axis=0)
    boxes = np.concatenate([eyes + low, eyes + high], axis=1).tolist()
    found = landmarker.follow(list(images), [[tuple(box)] for box in boxes])
    meshes = fill_gaps(
        [None if face is None else np.asarray(face.points, np.float32)[:, :2] for (face,) in found]
    )
    return np.full_like(points, np.nan) if meshes is None else meshes


def r_of(a: Floats, b: Floats) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    return correlation(a[both], b[both]) if both.sum() > 10 else float("nan")


def by_group(talks: Sequence[Talk], values: Sequence[float]) -> dict[str, Any]:
    """Mean over tracks, then groups, with a 95 % interval from resampled groups."""
    groups: dict[str, list[float]] = defaultdict(list)
    for talk, value in zip(talks, values, strict=True):
        if np.isfinite(value):
            groups[talk.group].append(value)
    means = np.array([np.mean(v) for v in groups.values()])
    rng = np.random.default_rng(0)
    again = rng.choice(means, (2000, len(means))).mean(axis=1)
    low, high = np.quantile(again, (0.025, 0.975))
    return {
        "mean": float(means.mean()),
        "low": float(low),
        "high": float(high),
        "groups": len(means),
    }


def offset_is_found(expert: Any, talk: Talk, images: Images, meshes: Floats, sound: Sound) -> float:
    """1 where an expert finds sound and lips within a tick of each other, else 0."""
    n = int(talk.times_s[-1] * TICK_RATE) + 1
    nearest = np.abs(talk.times_s[:, None] - np.arange(n) / TICK_RATE).argmin(axis=0)
    views = np.stack([expert.view(images[i], meshes[i]) for i in nearest])
    faces = expert.embed_faces(views)
    sounds = expert.embed_sound(sound, 0.0, len(faces))
    try:
        return float(abs(measure_offset(faces, sounds).ticks) <= 1)
    except ValueError:
        return float("nan")  # too short


def look(folder: Path, talk: Talk, rows: Sequence[Images]) -> None:
    """Some frames of each version below each other."""
    folder.mkdir(parents=True, exist_ok=True)
    name = talk.name.replace("/", "_")
    some = np.linspace(0, len(talk.images) - 1, SHOWN).astype(int)
    sheet = np.vstack([np.hstack(list(images[some])) for images in rows])
    cv2.imwrite(str(folder / f"{name}.jpg"), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def measure(
    talks: Sequence[Talk], drawer: Drawer, expert: Any, pictures: Path | None
) -> Iterator[dict[str, float]]:
    """The numbers of each talk."""
    dubber, landmarker = drawer.dubber, Landmarker()
    for number, talk in enumerate(talks):
        other = next(t for t in (*talks[number + 1 :], *talks) if t.group != talk.group)
        nothing = Sound(np.zeros_like(talk.sound.samples), 0.0)
        sounds = {"own": talk.sound, "other": other.sound, "silence": nothing}
        heard = {name: dubber.hear(sound, talk.times_s) for name, sound in sounds.items()}
        drawn = {name: drawer.draw(talk, what) for name, what in heard.items()}
        pictures_of = {"real": talk.images, **drawn}
        meshes = {n: meshes_of(i, talk.points, landmarker) for n, i in pictures_of.items()}
        seen = {name: mouth_opening(mesh) for name, mesh in meshes.items()}
        real = seen["real"]
        asked = heard["own"].shapes @ dubber.basis.opening
        apart = np.abs(drawn["own"].astype(int) - drawn["other"]).mean(axis=(0, 3))
        mouth = talk.points[:, [61, 291]].mean(axis=(0, 1))
        far = np.hypot(*(np.indices(apart.shape)[::-1] - mouth[:, None, None])) > 0.35 * drawer.side
        row = {
            "r_heard": r_of(asked, real),
            "r_drawn": r_of(seen["own"], real),
            "r_drawn_for_other_sound": r_of(seen["other"], real),
            "r_drawn_as_heard": r_of(seen["own"], asked),
            "movement": float(np.nanstd(seen["own"]) / real.std()),
            "opening_real": float(real.mean()),
            "opening_in_silence": float(np.nanmedian(seen["silence"])),
            "two_sounds_at_mouth": float(apart[~far].mean()),
            "two_sounds_far_from_it": float(apart[far].mean()),
        }
        if expert is not None:
            for name, (face, voice) in PAIRS.items():
                row[name] = offset_is_found(
                    expert, talk, pictures_of[face], meshes[face], sounds[voice]
                )
        if pictures is not None:
            look(pictures, talk, [talk.images, *drawn.values()])
        console.print(talk.name, {k: round(v, 3) for k, v in row.items()})
        yield row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--part", default="val", choices=("val", "test"))
    parser.add_argument("--val-share", type=float, default=0.15)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--expert")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--name", default="lipsync_mouth")
    args = parser.parse_args()
    store, dubber = Store(args.store), SmallDubber.load(args.model)
    if args.part == "test":
        numbers = [i for i, part in enumerate(store.columns["split"]) if part == "test"]
    else:
        numbers = split_store_tracks(store, range(len(store)), args.val_share)[1]
    talks = read_talks(store, numbers, args.clips)
    expert = None
    if args.expert:
        expert = load_expert(args.expert)
    rows = list(measure(talks, Drawer(dubber, store), expert, args.pictures))
    summary = {name: by_group(talks, [row[name] for row in rows]) for name in rows[0]}
    for name, value in summary.items():
        console.print(f"{name:28} {value['mean']:.3f}  ({value['low']:.3f} to {value['high']:.3f})")
    about = {"model": dubber.digest, "part": args.part, "tracks": len(talks)}
    about |= {"expert": None if expert is None else f"{expert.name} {expert.digest}"}
    save(args.name, {**about, "summary": summary})


if __name__ == "__main__":
    main()
