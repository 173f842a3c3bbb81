"""Labelled tables out of the corpora of faces, for `benchmarks.tasks`.

    python -m benchmarks.task_labels CORPUS... --faces FACES --stills STILLS --out LABELS

FACES is what `openmarlin faces` wrote for the clips of all corpora. Written are

    actions.csv        parts of real clips: smile, mouth_open, blink, brow_raise, head_turn
    real_or_fake.csv   real clips and lip-sync fakes of the same people in the same encoding
    emotion.csv        clips whose emotion is labelled
    expressions.csv    stills with one of seven expressions, as clips that do not move
"""

from __future__ import annotations

import argparse
import csv
import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.common import console
from benchmarks.corpus import Clip, read_corpus
from openmarlin.data.manifest import key_of
from openmarlin.files import atomic
from openmarlin.video.writer import write_video

Columns = dict[str, NDArray[Any]]

PART_S = 1.28  # a window of 16 frames at rate 2 and 25 frames a second
PARTS_A_CLIP, PARTS_A_GROUP = 3, 3  # of some people there are dozens of clips
SMILE, MOUTH_OPEN, BLINK, BROW_RAISE, HEAD_TURN_DEG = 0.4, 0.25, 0.45, 0.35, 20.0
"""Mean of the two mouthSmile; largest jawOpen; largest mean of the two eyeBlink; mean of
browInnerUp; mean of |yaw|: at or above them the action is there."""

ACTIONS = ("smile", "mouth_open", "blink", "brow_raise", "head_turn")
_STILL_FRAMES, _STILL_FPS = 32, 25.0
_EASY_FAKES = ("PC-AVS",)  # shows the border of a pasted square


def actions_of(columns: Columns) -> dict[str, int]:
    """0 or 1 for every action, of the frames of one face in one part.

    Args:
        columns: of the table of `openmarlin faces`, (n,) each.
    """

    def pair(name: str) -> NDArray[Any]:
        return (columns[name + "Left"] + columns[name + "Right"]) / 2

    return {
        "smile": int(pair("mouthSmile").mean() >= SMILE),
        "mouth_open": int(columns["jawOpen"].max() >= MOUTH_OPEN),
        "blink": int(pair("eyeBlink").max() >= BLINK),
        "brow_raise": int(columns["browInnerUp"].mean() >= BROW_RAISE),
        "head_turn": int(np.abs(columns["yaw"]).mean() >= HEAD_TURN_DEG),
    }


def label_actions(clips: Sequence[Clip], faces: Path) -> list[dict[str, Any]]:
    """Rows for some parts of real clips in which the largest face is seen throughout."""
    names = ["video", "time_s", "face", "ok", "x1", "x2", "yaw", "jawOpen", "browInnerUp"]
    names += [f"{name}{side}" for name in ("mouthSmile", "eyeBlink") for side in ("Left", "Right")]
    table = pq.read_table(faces, columns=names)
    columns: Columns = {name: table.column(name).to_numpy() for name in names}
    order = np.argsort(columns["video"], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    videos, starts = np.unique(columns["video"], return_index=True)
    places = dict(zip(videos, np.split(np.arange(len(order)), starts[1:]), strict=True))
    rows = []
    for clip in clips:
        if clip.kind == "real" and str(clip.path) in places:
            own = {name: values[places[str(clip.path)]] for name, values in columns.items()}
            rows += _parts(clip, own)
    rows.sort(key=lambda row: key_of(f"{row['video']}{row['start_s']}"))
    counts: Counter[str] = Counter()
    kept = []
    for row in rows:
        counts[row["group"]] += 1
        if counts[row["group"]] <= PARTS_A_GROUP:
            kept.append(row)
    return kept


def _parts(clip: Clip, columns: Columns) -> list[dict[str, Any]]:
    seen = columns["ok"]
    if not seen.any():
        return []
    sizes = np.where(seen, columns["x2"] - columns["x1"], 0)
    largest = columns["face"][sizes.argmax()]
    rows = []
    for number in range(PARTS_A_CLIP):
        start_s, end_s = number * 2 * PART_S, (number * 2 + 1) * PART_S
        inside = (columns["time_s"] >= start_s) & (columns["time_s"] < end_s)
        chosen = inside & seen & (columns["face"] == largest)
        frames = len(np.unique(columns["time_s"][inside]))
        if frames < 8 or chosen.sum() < 0.9 * frames:
            continue
        actions = actions_of({name: values[chosen] for name, values in columns.items()})
        row = {"video": clip.path, "start_s": start_s, "end_s": round(end_s, 3)}
        rows.append({**row, "group": clip.group, **actions})
    return rows


def label_fakes(clips: Sequence[Clip], labels: dict[Path, dict[str, str]]) -> list[dict[str, Any]]:
    """Rows of the two sources whose real clips and fakes share people and encoding."""
    rows = []
    for clip in clips:
        own = labels[clip.path]
        fair = clip.source in ("lipreadingquiz", "diff2lip") and clip.kind in ("real", "generated")
        if not fair or own.get("method") in _EASY_FAKES:
            continue
        label = "real" if clip.kind == "real" else "fake"
        method = "original" if label == "real" else own.get("method", "Wav2Lip")
        row = {"video": clip.path, "group": clip.group, "label": label, "method": method}
        rows.append({**row, "source": clip.source, "pair": own.get("pair", "")})
    return rows


def label_stills(stills: Path, folder: Path) -> list[dict[str, Any]]:
    """Stills with an expression become clips of `folder`."""
    rows = []
    with (stills / "stills.csv").open(newline="", encoding="utf-8") as file:
        table = [row for row in csv.DictReader(file) if row["expression"]]
    for row in table:
        with zipfile.ZipFile(stills / row["archive"]) as archive:
            data = np.frombuffer(io.BytesIO(archive.read(row["file"])).getvalue(), np.uint8)
        image = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        path = folder / (row["file"].replace("/", "-").rpartition(".")[0] + ".mp4")
        write_video(path, [image] * _STILL_FRAMES, _STILL_FPS)
        shown = {"sex": row["sex"], "source": row["source"]}
        rows.append({"video": path, "group": row["group"], "emotion": row["expression"], **shown})
    return rows


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A CSV with the keys of the rows as columns; `video` is absolute."""
    with atomic(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "video": Path(row["video"]).absolute()} for row in rows)
    console.print(f"{len(rows)} rows -> {path}")


def read_labels(corpus: Path) -> dict[Path, dict[str, str]]:
    """`key=value` labels of a corpus by video."""
    with (corpus / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return {
            corpus / row["video"]: dict(
                pair.partition("=")[::2] for pair in row["labels"].split(";") if "=" in pair
            )
            for row in csv.DictReader(file)
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "corpora", type=Path, nargs="+", help="folders with manifest.csv and videos/"
    )
    parser.add_argument("--faces", type=Path, required=True, help="faces.parquet of their clips")
    parser.add_argument("--stills", type=Path, help="folder with stills.csv and its archives")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    clips = [clip for corpus in args.corpora for clip in read_corpus(corpus.absolute())]
    labels = {
        path: own for corpus in args.corpora for path, own in read_labels(corpus.absolute()).items()
    }
    write(args.out / "actions.csv", label_actions(clips, args.faces))
    write(args.out / "real_or_fake.csv", label_fakes(clips, labels))
    emotions = [clip for clip in clips if clip.emotion]
    rows = [{"video": c.path, "group": c.group, "emotion": c.emotion} for c in emotions]
    write(args.out / "emotion.csv", rows)
    if args.stills is not None:
        folder = args.out / "stills"
        folder.mkdir(parents=True, exist_ok=True)
        write(args.out / "expressions.csv", label_stills(args.stills, folder))


if __name__ == "__main__":
    main()
