"""The store that the default encoder learns from: `python -m benchmarks.distil_corpus CORPUS ... `.

    python -m benchmarks.distil_corpus list CORPUS ... --held-out-of CORPUS --out clips.csv
    openmarlin prepare clips.csv --min-frames 1 --min-face-px 40 --out CLIPS
    python -m benchmarks.distil_corpus photos STILLS --out PHOTOS
    python -m benchmarks.distil_corpus join CLIPS PHOTOS --out STORE

`list` takes clips of every known kind, and none of the groups that the probes are measured on.
`photos` cuts photographs where their table says that the face is, which takes a minute; `prepare`
would find the same faces in an hour. `join` links the shards of several stores into one.
"""

from __future__ import annotations

import argparse
import csv
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import console
from benchmarks.corpus import read_corpus
from openmarlin.data.store import StoreWriter
from openmarlin.data.store.index import Index, Shard, Track, read_index, write_index
from openmarlin.data.store.shards import shard_name
from openmarlin.face.crop import crop, marlin_square
from openmarlin.jobs.settings import PrepareSettings
from openmarlin.regions import CELL_PX

BOX = ("box_x1", "box_y1", "box_x2", "box_y2")


def list_clips(corpora: list[Path], probed: Path | None, out: Path) -> None:
    """A table of clips for `prepare`."""
    rows = [
        (clip.path.resolve(), f"{corpus.name}-{clip.group}", clip.kind)
        for corpus in corpora
        for clip in read_corpus(corpus)
        if clip.kind != "unknown" and not (corpus == probed and clip.held_out)
    ]
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "group", "kind"])
        writer.writerows(rows)
    console.print(f"{len(rows)} clips, {len({group for _, group, _ in rows})} groups -> {out}")


def cut_photos(stills: Path, out: Path) -> None:
    """A store of photographs, a track of one frame each, with no regions."""
    fields = PrepareSettings.model_fields
    face_px, margin = fields["size"].default, fields["margin"].default
    size = face_px + 2 * margin
    cells = np.zeros((1, size // CELL_PX, size // CELL_PX), np.uint16)
    archives: dict[str, zipfile.ZipFile] = {}
    with (
        (stills / "stills.csv").open(newline="", encoding="utf-8") as file,
        StoreWriter(out, size=size, settings={"margin": margin}) as store,
    ):
        for row in csv.DictReader(file):
            name = row["archive"]
            archive = archives.setdefault(name, zipfile.ZipFile(stills / name))
            data = np.frombuffer(archive.read(row["file"]), np.uint8)
            image = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            cx, cy, side = marlin_square(np.array([float(row[key]) for key in BOX]))
            face = crop(np.asarray(image, np.uint8), cx, cy, side * size / face_px, 0.0, size)
            group = f"{stills.name}-{row['group']}"
            store.add(row["file"].replace("/", "-"), face[None], cells, group=group)


def join(stores: list[Path], out: Path) -> None:
    """One store of the shards of several, which share their disk space with it."""
    out.mkdir(parents=True)
    shards: list[Shard] = []
    tracks: list[Track] = []
    indices = [read_index(store) for store in stores]
    for store, index in zip(stores, indices, strict=True):
        first = len(shards)
        for shard in index.shards:
            name = shard_name(len(shards))
            os.link(store / shard.file, out / name)
            shards.append(Shard(name, shard.n_bytes, shard.sha256))
        tracks += [track._replace(shard=track.shard + first) for track in index.tracks]
    write_index(out, Index(indices[0].size, shards, tracks, indices[0].info))
    console.print(f"{len(tracks)} tracks -> {out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser("list")
    listing.add_argument("inputs", type=Path, nargs="+")
    listing.add_argument("--held-out-of", type=Path)
    cutting, joining = verbs.add_parser("photos"), verbs.add_parser("join")
    cutting.add_argument("input", type=Path)
    joining.add_argument("inputs", type=Path, nargs="+")
    for each in (listing, cutting, joining):
        each.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.verb == "list":
        list_clips(args.inputs, args.held_out_of, args.out)
    elif args.verb == "photos":
        cut_photos(args.input, args.out)
    else:
        join(args.inputs, args.out)


if __name__ == "__main__":
    main()
