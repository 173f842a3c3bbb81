"""How close bfloat16 features stay to the reference's float32: `python -m benchmarks.accuracy`.

On real face clips, cut by the project's own face front-end out of the example clips (and of other
videos, given as arguments). Trained weights cannot be had here, and the features of fresh weights
are nearly the same for any clip, which flatters a cosine. So weights are also sharpened until they
react to what is seen, and the cosine is also taken after the mean feature is subtracted.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.common import console, pair, save
from openmarlin.data.clips import ClipReader, Sampling
from openmarlin.data.manifest import read_manifest
from openmarlin.errors import OpenMarlinError
from openmarlin.face.landmarker import Landmarker
from openmarlin.model.encoder import Encoder
from openmarlin.model.layers import to_model_input
from openmarlin.model.runner import EncoderRunner

EXAMPLES = Path(__file__).parents[1] / "examples" / "clips"
Floats = NDArray[np.float32]


def face_clips(folders: list[Path], most: int) -> NDArray[np.uint8]:
    """Up to `most` windows with a face, uint8 (B, 16, 224, 224, 3), evenly out of all found."""
    landmarker, clips = Landmarker(), []
    for row in read_manifest(folders).rows:
        reader = ClipReader(row, Sampling(), landmarker, size=224, frames=16)
        clips += [clip.pixels for clip in reader if clip.pixels is not None]
    if not clips:
        raise OpenMarlinError(f"no face in {', '.join(map(str, folders))}")
    return np.stack(clips[:: -(-len(clips) // most)])


WEIGHTS = {"fresh": 0.0, "sharpened": 1.5, "harsh": 2.5}
"""How much queries and keys are enlarged (0: nothing is changed at all). Attention scores then have
a deviation of 1 to 2, or of 3.3 to 6, where a third of a token's attention is on one other."""


def sharpen(encoder: Encoder, focus: float, seed: int = 0) -> None:
    """Give fresh weights what trained ones have: texture filters, uneven gains, attention with a
    focus, and a few channels much louder than the rest."""
    generator = torch.Generator().manual_seed(seed)
    width = encoder.config.width

    def noise(n: int, deviation: float) -> torch.Tensor:
        return deviation * torch.randn(n, generator=generator)

    loud = torch.randperm(width, generator=generator)[: width // 128]
    with torch.no_grad():
        filters = encoder.patch_embedding.projection.weight
        filters -= filters.mean((2, 3, 4), keepdim=True)
        filters *= 8
        for block in encoder.blocks:
            for norm in (block.norm1, block.norm2):
                norm.weight.copy_(noise(width, 0.4).exp())
                norm.bias.copy_(noise(width, 0.2))
            block.attn.qkv.weight[: 2 * width] *= focus
            block.attn.q_bias.copy_(noise(width, 0.5))
            block.mlp.layers[1].linear.weight[loud] *= 6
        encoder.norm.weight.copy_(noise(width, 0.3).exp())


def cosines(a: Floats, b: Floats) -> Floats:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def between_clips(features: Floats) -> float:
    """Mean cosine between the features of different clips: 1 where weights do not look at all."""
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    n = len(unit)
    return float(((unit @ unit.T).sum() - n) / (n * n - n))


def in_turn(run: EncoderRunner, clips: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    parts = [run(clip[None], tokens=True) for clip in clips]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def compare(preset: str, weights: str, clips: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """One row a backend: worst cosines to float32 over the clips."""
    theirs, encoder = pair(preset)
    if WEIGHTS[weights]:
        sharpen(encoder, WEIGHTS[weights])
    exact, exact_tokens = in_turn(EncoderRunner(encoder, "fp32", "torch"), clips)
    if weights == "fresh":
        with torch.inference_mode():
            video = to_model_input(torch.from_numpy(clips[:1]))
            reference = theirs.extract_features(video, keep_seq=False).numpy()
        np.testing.assert_allclose(exact[:1], reference, atol=1e-4)
    mean = exact.mean(0)
    rows = []
    for backend in ("torch", "openvino"):
        features, tokens = in_turn(EncoderRunner(encoder, "bf16", backend), clips)
        rows.append(
            {
                "preset": preset,
                "weights": weights,
                "backend": backend,
                "between_clips": between_clips(exact),
                "features_worst": float(cosines(exact, features).min()),
                "tokens_worst": float(cosines(exact_tokens, tokens).min()),
                "tokens_median": float(np.median(cosines(exact_tokens, tokens))),
                "centred_worst": float(cosines(exact - mean, features - mean).min()),
                "centred_median": float(np.median(cosines(exact - mean, features - mean))),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("more", nargs="*", type=Path, help="further videos or folders")
    parser.add_argument("--presets", nargs="+", default=["small", "base"])
    parser.add_argument("--most", type=int, default=24, help="clips used at most")
    args = parser.parse_args()
    clips = face_clips([EXAMPLES, *args.more], args.most)
    rows = [
        row
        for preset in args.presets
        for weights in WEIGHTS
        for row in compare(preset, weights, clips)
    ]
    table = Table(*rows[0], title=f"bfloat16 against float32, {len(clips)} face clips")
    for row in rows:
        table.add_row(*(v if isinstance(v, str) else f"{v:.5f}" for v in row.values()))
    console.print(table)
    save("accuracy", {"clips": len(clips), "rows": rows})


if __name__ == "__main__":
    main()
