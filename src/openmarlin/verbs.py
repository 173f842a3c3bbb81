"""The verbs with settings: what each is told, what it reads, what its help says."""

from __future__ import annotations

import re
from dataclasses import dataclass

from openmarlin.data.layouts import LAYOUTS
from openmarlin.distillation.settings import DistilSettings
from openmarlin.exports.settings import ExportSettings, PushSettings
from openmarlin.jobs.settings import (
    ExtractSettings,
    FacesSettings,
    ManifestSettings,
    MasksSettings,
    PrepareSettings,
    ReconstructSettings,
)
from openmarlin.lipsync.experts.settings import ExpertSettings
from openmarlin.lipsync.generate_settings import GenerateSettings
from openmarlin.lipsync.generation.settings import GeneratorSettings
from openmarlin.lipsync.generation.table_settings import TableSettings
from openmarlin.lipsync.settings import FixSettings, ScoreSettings
from openmarlin.lipsync.small.settings import MouthSettings
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.settings import Settings
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.tasks.settings import EvaluateSettings, PredictSettings, ProbeSettings
from openmarlin.web.settings import ServeSettings


@dataclass(frozen=True)
class Verb:
    """A verb with settings.

    Attributes:
        settings: its class; its fields are the options.
        summary: the first line of its help.
        inputs: what it reads, as the help names it; empty where it reads nothing.
        several: it takes any number of inputs.
        names: of its inputs, one each, where it does not take any number; none for no input.
        memory: the function of `native` that tells glibc what suits the work.
        home: the module of its Python twin; one of `openmarlin.jobs` without it.
    """

    settings: type[Settings]
    summary: str
    inputs: str
    several: bool = False
    names: tuple[str, ...] = ("INPUT",)
    memory: str = ""
    home: str = ""

    @property
    def usage(self) -> str:
        """The inputs as the usage line shows them."""
        return "INPUT..." if self.several else " ".join(self.names)


VERBS = {
    "extract": Verb(
        ExtractSettings,
        "Turn videos of faces into features: one vector a window, and a report.",
        "Videos, folders, CSV tables with a column 'video'.",
        several=True,
        memory="return_large_blocks",
    ),
    "faces": Verb(
        FacesSettings,
        "Measure faces in every frame: boxes, head pose, 52 expressions, perhaps the mesh.",
        "Videos, folders, CSV tables with a column 'video'.",
        several=True,
        memory="return_large_blocks",
    ),
    "manifest": Verb(
        ManifestSettings,
        "Turn a published data set, as it lies on disk, into a table of videos and labels.",
        f"A layout ({', '.join(LAYOUTS)}) and the folder of the data set (csv: the table).",
        names=("LAYOUT", "ROOT"),
    ),
    "probe": Verb(
        ProbeSettings,
        "Train a classifier on frozen features of labelled videos, and judge it.",
        "A CSV of videos with their labels.",
        names=("LABELS",),
        memory="return_large_blocks",
    ),
    "finetune": Verb(
        FinetuneSettings,
        "Train a model on labelled faces, and test it.",
        "The store that `openmarlin prepare` wrote, or a CSV of videos with labels.",
        memory="keep_freed_memory",
    ),
    "evaluate": Verb(
        EvaluateSettings,
        "Judge a trained model, or anybody's predictions, by labelled videos.",
        "The folder of a model or a CSV of predictions, and a CSV of labels.",
        names=("MODEL", "LABELS"),
    ),
    "predict": Verb(
        PredictSettings,
        "Say what a trained model of a task sees in new videos: tables, a report, overlays.",
        "Videos, folders, CSV tables with a column 'video'.",
        several=True,
        memory="return_large_blocks",
    ),
    "prepare": Verb(
        PrepareSettings,
        "Turn videos of faces into a store of crops and regions to train from.",
        "Videos, folders, CSV tables with a column 'video', YouTube Faces.",
        several=True,
    ),
    "pretrain": Verb(
        PretrainSettings,
        "Pre-train a model on a store.",
        "The store that `openmarlin prepare` wrote.",
        memory="keep_freed_memory",
    ),
    "distil": Verb(
        DistilSettings,
        "Teach a model what trained nets and the face mesh see in a store.",
        "The store that `openmarlin prepare` wrote.",
        memory="keep_freed_memory",
    ),
    "reconstruct": Verb(
        ReconstructSettings,
        "Show what a pre-trained model makes of a masked face.",
        "A video with a face.",
    ),
    "masks": Verb(
        MasksSettings,
        "Draw what every masking strategy hides of a face.",
        "A video with a face.",
    ),
    "export": Verb(
        ExportSettings,
        "Write a model for onnxruntime, OpenVINO or transformers, and show that it is the same.",
        "Name, folder or checkpoint of an encoder, a model of a task, or a generator.",
        names=("MODEL",),
    ),
    "push": Verb(
        PushSettings,
        "Put a model or an export on the Hugging Face hub.",
        "The folder of a model or export, and the repository, NAME or OWNER/NAME.",
        names=("FOLDER", "REPO"),
    ),
    "serve": Verb(
        ServeSettings,
        "Show a page on which all this can be tried in a browser.",
        "",
        names=(),
        home="openmarlin.web.serve",
    ),
    "lipsync score": Verb(
        ScoreSettings,
        "Measure how well lips and sound go together: offset, LSE-D and LSE-C of every face.",
        "Videos, folders, CSV tables with a column 'video'.",
        several=True,
        memory="return_large_blocks",
    ),
    "lipsync fix": Verb(
        FixSettings,
        "Bring the sound of a video in step with the lips; nothing is encoded anew.",
        "A video with a face that speaks.",
        memory="return_large_blocks",
    ),
    "lipsync generate": Verb(
        GenerateSettings,
        "Give the speaker of a video lips that fit another sound.",
        "A video (or picture) with a face, and a sound (or a video with one).",
        names=("VIDEO", "AUDIO"),
        memory="return_large_blocks",
    ),
    "lipsync train": Verb(
        GeneratorSettings,
        "Train a generator of talking faces: the systems of the paper's table.",
        "The store that `openmarlin prepare --sound --points` wrote.",
        memory="keep_freed_memory",
    ),
    "lipsync table": Verb(
        TableSettings,
        "Train and score the systems of the paper's table at an equal budget.",
        "The store that `openmarlin prepare --sound --points` wrote.",
        memory="keep_freed_memory",
    ),
    "lipsync train-expert": Verb(
        ExpertSettings,
        "Train an expert on how lips and sound fit together.",
        "The store that `openmarlin prepare --sound --points` wrote.",
        memory="keep_freed_memory",
    ),
    "lipsync train-mouth": Verb(
        MouthSettings,
        "Train the small model that moves a mouth to a sound, one stage after the other.",
        "The store that `openmarlin prepare --sound --points` wrote.",
        memory="keep_freed_memory",
    ),
}


def job_of(name: str) -> str:
    """The module that holds a verb's Python twin."""
    return VERBS[name].home or f"openmarlin.jobs.{identifier(name)}"


def identifier(name: str) -> str:
    """A verb's name in Python."""
    return re.sub(r"[ -]", "_", name)
