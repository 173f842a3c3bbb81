"""Features of a folder of videos, and which faces resemble each other.

python examples/similar_faces.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np

import openmarlin

CLIPS = Path(__file__).parent / "clips"


def main(folder: Path = CLIPS) -> None:
    windows = openmarlin.extract(folder, faces="all").to_pandas()
    windows["name"] = windows.video.map(lambda video: Path(video).stem)
    seen = windows[windows.ok].groupby(["name", "face"]).embedding
    faces = seen.apply(lambda rows: np.mean(np.stack(rows), axis=0))

    vectors = np.stack(faces) - np.mean(np.stack(faces), axis=0)  # what all faces share is left out
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = vectors @ vectors.T  # cosines
    np.fill_diagonal(similarity, -np.inf)
    for (name, face), cosines in zip(faces.index, similarity, strict=True):
        nearest, its_face = faces.index[cosines.argmax()]
        print(f"{name}, face {face}: like {nearest}, face {its_face} ({cosines.max():.2f})")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
