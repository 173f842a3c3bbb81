"""What fine-tuning learns from, as a user names it: a store or videos, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmarlin.data.layouts import list_sources
from openmarlin.data.layouts.source import Source
from openmarlin.data.manifest import Row, read_manifest
from openmarlin.data.store import INDEX_FILE, Store
from openmarlin.errors import InputError, option
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.tasks.labelled_store import rows_of_store
from openmarlin.tasks.labels import Target, infer_target
from openmarlin.tasks.probe import check_parts
from openmarlin.tasks.splits import Split, find_leaks, make_split


@dataclass(frozen=True)
class NamedVideos:
    """What is learnt from, as it was named.

    Attributes:
        videos: of which a store is to be made; none where there is one.
        store: the store's folder.
        rows: of the manifest.
        target: what is predicted.
        split: of the rows with a label.
        notes: what a reader must know of it.
    """

    videos: Sequence[Source]
    store: Path
    rows: Sequence[Row]
    target: Target
    split: Split
    notes: Sequence[str]


def read_named_videos(request: FinetuneSettings, store: Path) -> NamedVideos:
    """Read what a request names: rows, what is predicted of them, who is trained and tested on.

    Args:
        request: the settings.
        store: the folder of the store that is to be made, where videos are named.

    Raises:
        InputError: something is not there, or the labels or the split cannot be learnt from.
    """
    is_store = (request.data / INDEX_FILE).is_file()
    videos = [] if is_store else list_sources(request.data)
    if request.labels is not None:
        rows = read_manifest(request.labels).rows
    elif is_store:
        rows = rows_of_store(Store(request.data))
    else:
        rows = [source.row for source in videos]
    target = infer_target(request.label, rows)
    labels = target.encode(rows)
    answered = [row for row, label in zip(rows, labels, strict=True) if np.isfinite(label).any()]
    split = make_split(answered, target, request.seed)
    used = [row for row in split.rows if row.split]
    notes = check_parts(used, target.encode(used), target)
    if request.self_blend:  # makes what train lacks
        notes = []
    leaks = find_leaks(used)
    if leaks and request.leaks == "refuse":
        raise InputError(
            f"{leaks.line()}; give them one part, leave the column 'split' out, or "
            f"{option('leaks', 'allow')}"
        )
    notes += [f"Allowed: {leaks.line()}. The numbers flatter."] if leaks else []
    return NamedVideos(videos, request.data if is_store else store, rows, target, split, notes)
