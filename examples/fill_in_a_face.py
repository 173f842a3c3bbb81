"""What the model makes of a face when its mouth and eyes, or nine tenths of it, are hidden.

python examples/fill_in_a_face.py [VIDEO] [FOLDER]
"""

import sys
from pathlib import Path

import openmarlin

CLIP = Path(__file__).parent / "clips" / "single_face.mp4"


def main(video: Path = CLIP, out: Path = Path("reconstruction-out")) -> None:
    most = openmarlin.reconstruct(video, out=out / "most", windows=1)
    parts = openmarlin.reconstruct(
        video,
        out=out / "parts",
        windows=1,
        masking="random",
        mask_ratio=0.5,
        regions=("mouth", "left_eye", "right_eye"),
    )
    for name, result in (("nine tenths hidden", most), ("mouth, eyes and more hidden", parts)):
        overall = result.errors["overall"]
        print(f"{name}: {overall['psnr_db']:.1f} dB, look at {result.out / 'strips.png'}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
