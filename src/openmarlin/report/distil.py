"""What the report of a distillation says beside its numbers."""

from __future__ import annotations

from openmarlin.distillation.settings import DistilSettings
from openmarlin.distillation.task import MONITOR
from openmarlin.report.run import About, Plot

_KINDS = (
    "blendshapes",
    "spread",
    "pose",
    "mesh",
    "dlib",
    "mobileface",
    "expression_features",
    "expression",
    "emotion",
)


def about() -> About:
    """The report of a run."""
    plots = (
        Plot(
            "What is known of faces nobody trained on",
            {MONITOR.metric: "mean of all kinds", **{f"val_{kind}": kind for kind in _KINDS}},
            "R²: the share of the variance of each kind of targets that the feature explains "
            "through a linear head; all tokens are seen.",
        ),
        Plot(
            "Training",
            {"loss": "loss", **{kind: kind for kind in _KINDS}},
            "Mean squared error in variances of the targets: knowing nothing costs about 1, and "
            "less where targets are cut off.",
        ),
    )
    return About(
        "distil",
        DistilSettings,
        MONITOR,
        plots,
        footer="Use the model as any other: openmarlin extract VIDEO --model FOLDER --out DIR.",
    )
