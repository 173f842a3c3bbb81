"""The seven systems of the paper's table of lip sync, what each is, and what was published.

Settings follow the sources as docs/lipsync-train.md lists them; what no source says is a choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TableRow:
    """A row of the table.

    Attributes:
        name: for files and options.
        title: as the table says.
        settings: of `lipsync train` that make it.
        has_expert: it is trained with an expert of lips and sound.
        published: LSE-D, LSE-C and FID on LRS2, as the MARLIN poster has them; None: no FID there.
    """

    name: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)
    has_expert: bool = True
    published: tuple[float, float, float | None] = (0.0, 0.0, None)


def _vit(init: str) -> dict[str, Any]:
    return {"system": "wav2lip_vit", "init": init}


ROWS = (
    TableRow(
        "speech2vid",
        "Speech2Vid",
        {"system": "speech2vid"},
        has_expert=False,
        published=(14.230, 1.587, 12.320),
    ),
    TableRow(
        "lipgan",
        "LipGAN",
        {"system": "lipgan", "w_joint": 0.01},
        has_expert=False,
        published=(10.330, 3.199, 4.861),
    ),
    TableRow("wav2lip", "Wav2Lip", {"system": "wav2lip"}, published=(7.521, 6.406, 4.887)),
    TableRow(
        "attn_wav2lip", "AttnWav2Lip", {"system": "attn_wav2lip"}, published=(7.339, 6.530, None)
    ),
    TableRow("vit", "Wav2Lip + ViT", _vit("none"), published=(8.996, 2.807, 13.352)),
    TableRow(
        "vit_videomae",
        "Wav2Lip + ViT + VideoMAE",
        _vit("videomae"),
        published=(7.316, 5.096, 4.097),
    ),
    TableRow(
        "vit_marlin", "Wav2Lip + ViT + MARLIN", _vit("marlin"), published=(7.127, 5.528, 3.452)
    ),
)
