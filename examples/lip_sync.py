"""Whether lips and sound of a video go together, face by face.

python examples/lip_sync.py [VIDEO] [FOLDER]
"""

import sys
from pathlib import Path

import openmarlin

CLIP = Path(__file__).parent / "clips" / "single_face.mp4"


def main(video: Path = CLIP, out: Path = Path("lipsync-out")) -> None:
    scores = openmarlin.lipsync.score(video, out=out)
    for name, faces in scores.tracks.items():
        for face in faces:
            print(f"{name}, face {face.track}, {face.start_s:.1f} to {face.end_s:.1f} s:", end=" ")
            offset = face.scores.get("valid")
            if offset is None:
                print("nothing can be measured:", ", ".join(face.flags))
                continue
            sure = "sure" if face.is_sure else "not sure"
            print(f"the sound leads by {offset.ticks * 40} ms ({sure});", end=" ")
            print(f"LSE-D {offset.lse_d:.2f}, LSE-C {offset.lse_c:.2f};", ", ".join(face.flags))
    print(f"Look at {out / 'report.html'}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
