"""How an expert learns: lips are to find their sound among all times of the clip, and back.

InfoNCE (van den Oord et al., 2018) inside a clip. Windows of other clips are no negatives: they
could be told apart by the speaker or the microphone. Windows one tick away count neither way.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

_TOO_NEAR = 1  # ticks


def in_clip_loss(faces: Tensor, sounds: Tensor, n_windows: Tensor, scale: Tensor) -> Tensor:
    """Mean cross entropy over windows, of both directions.

    Args:
        faces, sounds: (B, N, D) embeddings of length 1.
        n_windows: (B,) how many of the N are there; what follows is padding.
        scale: of cosines, 1 / temperature.

    Returns:
        A scalar; ln n where nothing is learnt and clips have n windows.
    """
    count = faces.shape[1]
    places = torch.arange(count, device=faces.device)
    there = places < n_windows[:, None]
    apart = (places[:, None] - places).abs()
    cosines = scale * (faces.float() @ sounds.float().mT)
    unused = ~there[:, None] | ~there[:, :, None] | ((apart > 0) & (apart <= _TOO_NEAR))
    cosines = cosines.masked_fill(unused & (apart > 0), -1e4)
    losses = [
        cross_entropy(each.flatten(0, 1), places.repeat(len(each)), reduction="none")
        for each in (cosines, cosines.mT)
    ]
    kept = there.flatten().float()
    return torch.stack([(each * kept).sum() for each in losses]).mean() / kept.sum()
