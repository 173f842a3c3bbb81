"""A linear probe on your own labels, and its answers to a video.

labels.csv says of parts of six clips whether the hands of the person are up. So few rows teach
nothing; a table of your own has the same columns.

    python examples/own_labels.py [LABELS.csv] [COLUMN] [FOLDER]
"""

import sys
from pathlib import Path

import openmarlin

HERE = Path(__file__).parent


def main(
    labels: str | Path = HERE / "labels.csv", column: str = "signs", out: str = "probe-out"
) -> None:
    probed = openmarlin.probe(labels, label=column, out=f"{out}/probe")
    metric = probed.evaluation.main
    score = probed.evaluation.scores[metric]
    print(f"{metric} on test: {score.value:.2f} [{score.low:.2f}, {score.high:.2f}]")

    clip = HERE / "clips" / "signer_thanks.mkv"
    answers = openmarlin.predict(clip, model=probed.model, out=f"{out}/answers")
    shown = [name for name in answers.videos[0] if name.startswith(("p_", "predicted_"))]
    print(answers.to_pandas()[["start_s", "end_s", "face", *shown]].to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
