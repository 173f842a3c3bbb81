"""LRS2 (Afouras et al., 2018): sentences of BBC programmes, for lip reading and lip sync.

    ROOT/{train,val,test}.txt               lines `PROGRAMME/NNNNN`, those of test with a mark
    ROOT/main/PROGRAMME/NNNNN.mp4           160 x 160 px, 25 frames a second, with sound

The longer pieces of ROOT/pretrain are left out.
ROOT is the folder mvlrs_v1 or the one around it. Clips of a programme are one group.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import SPLITS, Layout, Listing, damaged, locate, read_lines
from openmarlin.data.manifest import Row


def read(root: Path, options: Mapping[str, Any]) -> Listing:  # noqa: ARG001 - it has no settings
    """All clips of the lists; see `Layout.read`."""
    listing = Listing("clips")
    for split in SPLITS:
        path = locate(root, [f"{split}.txt", f"mvlrs_v1/{split}.txt"], "LRS2")
        for line in read_lines(path):
            clip = line.split()[0]
            parts = clip.split("/")
            if len(parts) != 2 or not all(parts):
                raise damaged(path, f"the line '{line}'")
            video = path.parent / "main" / f"{clip}.mp4"
            listing.add(Row(video, split=split, group=parts[0]))
    return listing


LAYOUT = Layout("lrs2", "LRS2: sentences of BBC programmes, with sound", read)
