"""Runs this export with transformers: python run.py CLIPS.npy [OUT.npz]

CLIPS.npy holds what export.json says. Features are the final norm of the mean token, not the mean
of normed tokens, hence the norm is taken out of the model and applied behind it.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import VideoMAEModel

FOLDER, FILES, BATCH = Path(__file__).parent, sys.argv[1:], 4


@torch.inference_mode()
def main() -> None:
    model = VideoMAEModel.from_pretrained(FOLDER).eval()
    norm, model.layernorm = model.layernorm, torch.nn.Identity()
    clips = torch.from_numpy(np.load(FILES[0]))
    features, tokens = [], []
    for part in clips.split(BATCH):
        pixels = part.permute(0, 1, 4, 2, 3).float() / 255  # (B, T, 3, H, W) in [0, 1]
        x = model(pixel_values=pixels).last_hidden_state
        features.append(norm(x.mean(dim=1)).numpy())
        tokens.append(norm(x).numpy())
    results = {"features": np.concatenate(features), "tokens": np.concatenate(tokens)}
    for name, values in results.items():
        print(name, values.shape)
    if FILES[-1].endswith(".npz"):
        np.savez(FILES[-1], **results)


if __name__ == "__main__":
    if not FILES:
        sys.exit(__doc__)
    main()
