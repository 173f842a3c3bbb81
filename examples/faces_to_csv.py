"""Faces in numbers: box, head pose, 52 expressions and the mesh of every frame, as a CSV.

python examples/faces_to_csv.py [VIDEO] [TABLE.csv]
"""

import sys
from pathlib import Path

import pandas as pd

import openmarlin

CLIP = Path(__file__).parent / "clips" / "two_people.mp4"


def main(video: Path = CLIP, out: Path = Path("faces.csv")) -> None:
    faces = openmarlin.faces(video, points=True)
    names = [f"{axis}{point}" for point in range(478) for axis in "xyz"]
    mesh = pd.DataFrame(faces.points.reshape(-1, len(names)), columns=names)  # source pixels
    table = faces.to_pandas().drop(columns="points")
    pd.concat([table, mesh], axis=1).to_csv(out, index=False)

    for face, rows in table[table.ok].groupby("face"):
        yaw, pitch, roll = rows[["yaw", "pitch", "roll"]].mean()
        print(f"face {face}: {len(rows)} frames, ", end="")
        print(f"yaw {yaw:.0f}, pitch {pitch:.0f}, roll {roll:.0f} degrees on average")
    print(f"{len(table)} rows in {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
