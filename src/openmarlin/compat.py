"""The class of marlin-pytorch 0.3.4, so that a program changes one import:

    from openmarlin.compat import Marlin  # was: from marlin_pytorch import Marlin

Same methods, arguments and numbers; where it behaves otherwise, docs/compat.md says how and why.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from openmarlin.console import console
from openmarlin.data.clips import ClipReader, Sampling
from openmarlin.errors import InputError, ModelError, VideoError
from openmarlin.face.landmarker import Landmarker
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load, load_as_saved
from openmarlin.model.layers import to_model_input
from openmarlin.model.runner import Pixels
from openmarlin.model.zoo import RELEASED, Released, clean_cache
from openmarlin.video.reader import VideoReader
from openmarlin.video.windows import WindowStream, needs_tick


class Marlin(nn.Module):
    """A model by its sizes, with random weights; `from_file` and `from_online` give a trained one.

    With `as_feature_extractor` it is the encoder alone. Of the settings that no released model uses
    (`qk_scale`, the drop rates, `init_values`) only the released values are known.

    Raises:
        ModelError: the sizes do not fit together, or a setting is not known.
    """

    def __init__(
        self,
        img_size: int,
        patch_size: int,
        n_frames: int,
        encoder_embed_dim: int,
        encoder_depth: int,
        encoder_num_heads: int,
        decoder_embed_dim: int,
        decoder_depth: int,
        decoder_num_heads: int,
        mlp_ratio: float,
        qkv_bias: bool,
        qk_scale: float | None,
        drop_rate: float,
        attn_drop_rate: float,
        norm_layer: str,
        init_values: float,
        tubelet_size: int,
        as_feature_extractor: bool = True,
    ) -> None:
        super().__init__()
        only = (qkv_bias, qk_scale, drop_rate, attn_drop_rate, norm_layer, init_values)
        if only != (True, None, 0, 0, "LayerNorm", 0):
            raise ModelError(
                "qkv_bias, qk_scale, drop_rate, attn_drop_rate, norm_layer and init_values can "
                f"only be as released, (True, None, 0, 0, 'LayerNorm', 0), not {only}"
            )
        fields = {
            "name": "marlin",
            "image_size": img_size,
            "patch": patch_size,
            "frames": n_frames,
            "tubelet": tubelet_size,
            "width": encoder_embed_dim,
            "depth": encoder_depth,
            "heads": encoder_num_heads,
            "decoder_width": decoder_embed_dim,
            "decoder_depth": decoder_depth,
            "decoder_heads": decoder_num_heads,
            "mlp_ratio": mlp_ratio,
        }
        config = ModelConfig.of(fields, where="this Marlin")
        alone = config.encoder_alone()
        self._hold(Encoder(alone) if as_feature_extractor else Autoencoder(config))

    @classmethod
    def from_file(cls, model_name: str, path: str | os.PathLike[str]) -> Self:
        """A model out of a file: the encoder or the whole, as the file holds it.

        Args:
            model_name: a released name, whose sizes the file must have.
            path: .encoder.pt, .full.pt, .ckpt, or whatever else `openmarlin.load` reads.

        Raises:
            ModelError: there is no such name or file, or they do not fit.
        """
        released = _released(model_name).config
        model = load_as_saved(path)
        sizes = [(c.width, c.depth, c.heads) for c in (model.config, released)]
        if sizes[0] != sizes[1]:
            raise ModelError(
                f"{path} is not of {model_name}: its width, depth and heads are {sizes[0]}, "
                f"not {sizes[1]}"
            )
        return cls._around(model)

    @classmethod
    def from_online(cls, model_name: str, full_model: bool = False) -> Self:
        """A released model, fetched once and then kept in the cache of the hub.

        Raises:
            ModelError: there is no such name, or it can neither be found nor fetched.
        """
        name = _released(model_name).name
        return cls._around(load(name, "full") if full_model else load(name))

    @classmethod
    def clean_cache(cls, verbose: bool = True) -> None:
        """Deletes the released models that `from_online` has fetched."""
        freed = sum(clean_cache(released) for released in RELEASED.values())
        if verbose:
            console.print(f"Marlin checkpoints cache cleaned ({freed / 1e6:.0f} MB).")

    @classmethod
    def _around(cls, model: Encoder | Autoencoder) -> Self:
        marlin = cls.__new__(cls)
        nn.Module.__init__(marlin)
        marlin._hold(model)
        return marlin.eval()

    def _hold(self, model: Encoder | Autoencoder) -> None:
        self.as_feature_extractor = isinstance(model, Encoder)
        self.config = model.config
        self.clip_frames = model.config.frames
        self.encoder = model if isinstance(model, Encoder) else model.encoder
        self.enc_dec_proj = None if isinstance(model, Encoder) else model.enc_dec_proj
        self.decoder = None if isinstance(model, Encoder) else model.decoder

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.norm.weight.device

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The pixel values (B, M, P) of the masked tokens, as predicted.

        Args:
            x: float (B, 3, T, H, W) in [0, 1].
            mask: bool (B, N), True = VISIBLE, as in marlin-pytorch; elsewhere here True = masked.

        Raises:
            ModelError: this is the encoder alone, or there is no mask.
        """
        if self.decoder is None or self.enc_dec_proj is None:
            raise ModelError(
                "this model is the encoder alone: use extract_features or extract_video, or load "
                "the full model"
            )
        if mask is None:
            raise ModelError("the full model needs a mask, bool (B, N), True = visible")
        tokens = self.enc_dec_proj(self.encoder(x, ~mask))
        return self.decoder(tokens, ~mask)  # type: ignore[no-any-return]

    @torch.no_grad()
    def extract_features(self, x: Tensor, keep_seq: bool = True) -> Tensor:
        """Features of clips, without gradients.

        Args:
            x: float (B, 3, T, H, W) in [0, 1], face crops.
            keep_seq: all tokens (B, N, D), or one vector a clip (B, D).
        """
        return self.encoder(x) if keep_seq else self.encoder.features(x)

    @torch.no_grad()
    def extract_video(
        self,
        video_path: str | os.PathLike[str],
        crop_face: bool = False,
        sample_rate: int = 2,
        stride: int = 16,
        reduction: str = "none",
        keep_seq: bool = False,
        detector_device: str | None = None,  # noqa: ARG002 - faces are found on the CPU
    ) -> Tensor:
        """Features of a video, a row a window, by the window rules of marlin-pytorch.

        Args:
            video_path: the video; without `crop_face` its frames must be face crops of model size.
            crop_face: follow the largest face and crop it.
            sample_rate: a frame is taken every so many.
            stride: taken frames from the start of one window to that of the next.
            reduction: "none" (W, D), or "mean" or "max" over the windows that have a face, (D).
            keep_seq: all tokens, with an axis of N before D.
            detector_device: without effect.

        Returns:
            Features; a window without a face is NaN.

        Raises:
            VideoError, InputError: the video, its size or an argument cannot be used.
        """
        if reduction not in ("none", "mean", "max"):
            raise InputError(f"reduction '{reduction}' does not exist: choose none, mean or max")
        path = Path(video_path)
        crops = self._face_crops if crop_face else self._frames
        rows = [self._row(clip, keep_seq) for clip in crops(path, sample_rate, stride)]
        if not rows:
            raise VideoError(f"{path} has no frames")
        features = torch.stack(rows)
        if reduction == "none":
            return features
        seen = features[~features.flatten(1).isnan().any(dim=1)]
        if len(seen) == 0:
            return features[0]
        return seen.mean(dim=0) if reduction == "mean" else seen.amax(dim=0)

    def _row(self, clip: Pixels | None, keep_seq: bool) -> Tensor:
        if clip is None:
            shape = (self.config.n_tokens, self.config.width) if keep_seq else (self.config.width,)
            return torch.full(shape, torch.nan, device=self.device)
        video = to_model_input(torch.from_numpy(clip)[None].to(self.device))
        return self.extract_features(video, keep_seq)[0]

    def _frames(self, path: Path, rate: int, stride: int) -> Iterator[Pixels | None]:
        """Windows by frame number, as marlin-pytorch counts, whatever the frames' times are."""
        length, size = self.clip_frames, self.config.image_size
        stream = WindowStream(length=length, rate=rate, stride=stride, tail="reference")
        held: dict[int, Pixels] = {}
        with VideoReader(path) as video:
            for frame in video:
                if (frame.width, frame.height) != (size, size):
                    raise InputError(
                        f"{path} is {frame.width}x{frame.height}: give face crops "
                        f"of {size}x{size}, or crop_face=True"
                    )
                if needs_tick(frame.index, length=length, rate=rate, tail="reference"):
                    held[frame.index] = frame.image
                for window in stream.push(frame.index):
                    yield np.stack([held[tick] for tick in window.ticks])
                for old in [tick for tick in held if tick < stream.keep_from]:
                    del held[old]
        for window in stream.finish():
            yield np.stack([held[tick] for tick in window.ticks])

    def _face_crops(self, path: Path, rate: int, stride: int) -> Iterator[Pixels | None]:
        sampling = Sampling(rate, stride, tail="reference")
        reader = ClipReader(
            path, sampling, Landmarker(), self.config.image_size, frames=self.clip_frames
        )
        for clip in reader:
            yield clip.pixels


def _released(name: str) -> Released:
    if name not in RELEASED:
        raise ModelError(f"there is no released model '{name}': choose {', '.join(RELEASED)}")
    return RELEASED[name]
