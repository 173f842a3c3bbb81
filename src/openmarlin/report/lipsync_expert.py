"""What the report of an expert's training says beside its numbers."""

from __future__ import annotations

from openmarlin.lipsync.experts.settings import ExpertSettings
from openmarlin.lipsync.experts.task import MONITOR
from openmarlin.report.run import About, Plot


def about() -> About:
    """The report of a run."""
    plots = (
        Plot("Loss", {"loss": "training"}, "InfoNCE: to find the sound of a window in its clip."),
        Plot(
            "Offsets of held-out clips",
            {
                "val_within_0": "exact",
                "val_within_1": "within 1 frame",
                "val_within_2": "within 2 frames",
                "val_within_1_surest_third": "within 1 frame, the surest third",
            },
            "Share of clips whose sound is found in its place among shifts of 15 frames to each "
            "side. By chance: 3 %, 10 %, 16 %.",
            share=True,
        ),
        Plot(
            "Seconds in sync against shifted ones",
            {"val_auc": "AUC"},
            "How well one threshold tells a second of video with its sound from one with sound "
            "shifted by 3 to 15 frames. By chance: 0.5.",
        ),
    )
    return About(
        "lipsync train-expert",
        ExpertSettings,
        MONITOR,
        plots,
        footer="Score videos with it: openmarlin lipsync score VIDEO --expert FOLDER --out DIR.",
        publish="best",
    )
