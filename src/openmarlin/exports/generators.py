"""Generators of lip sync as networks that take pictures as they are: bytes.

Legend: B clips, F frames, S pixels, R rows and C columns of sound, K numbers of a mouth's shape.
"""

from __future__ import annotations

from dataclasses import asdict

from torch import Tensor, nn

from openmarlin.exports.encoders import source_of
from openmarlin.exports.network import Network, Port
from openmarlin.lipsync.generators.generator import Generator, network_inputs
from openmarlin.lipsync.mel import MEL_BANDS, MEL_RATE
from openmarlin.lipsync.small.model import SmallDubber
from openmarlin.lipsync.small.renderer import Renderer
from openmarlin.lipsync.small.shape_net import ShapeNet
from openmarlin.lipsync.small.window import CHANNELS

_LOW, _HIGH = -4, 4  # of mel spectrograms, and not far from those of the others


class GeneratorNetwork(nn.Module):
    """Sound (B, F, 1, R, C), faces and references uint8 (B, F, S, S, 3) -> pictures in [0, 1]."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, sound: Tensor, faces: Tensor, references: Tensor) -> tuple[Tensor]:
        drawn = self.generator(sound, network_inputs(faces, references)[1])
        return (drawn.permute(0, 2, 3, 4, 1),)


class ShapeNetwork(nn.Module):
    """Mel spectrograms (B, 80, T) and places (B, N) -> shapes (B, N, K)."""

    def __init__(self, net: ShapeNet, gain: float) -> None:
        super().__init__()
        self.net, self.gain = net, gain

    def forward(self, mel: Tensor, places: Tensor) -> tuple[Tensor]:
        return (self.gain * self.net(mel, places),)


class RendererNetwork(nn.Module):
    """Windows uint8 (B, S, S, channels) -> pictures (B, S, S, 3) in [0, 1]."""

    def __init__(self, renderer: Renderer) -> None:
        super().__init__()
        self.renderer = renderer

    def forward(self, windows: Tensor) -> tuple[Tensor]:
        return (self.renderer(windows).image.permute(0, 2, 3, 1),)


def generator_network(generator: Generator, name: str) -> Network:
    """A generator of the paper's table, or a published Wav2Lip."""
    config, sound = generator.config, generator.config.sound
    pictures = ("clips", config.frames, config.size, config.size, 3)
    faces = Port(pictures, "faces to draw, RGB from 0 to 255", "uint8", high=256)
    others = Port(pictures, "the same person at other times", "uint8", high=256)
    shape = ("clips", config.frames, 1, sound.rows, sound.columns)
    encoder = getattr(generator, "encoder", None)
    return Network(
        name=name,
        kind="generator",
        module=GeneratorNetwork(generator).eval(),
        inputs={
            "sound": Port(shape, f"{sound.kind} windows of the frames", low=_LOW, high=_HIGH),
            "faces": faces,
            "references": others,
        },
        outputs={"pictures": Port(pictures, "RGB in [0, 1]")},
        about={
            "preprocessing": {
                "faces": "squares as `openmarlin lipsync generate` cuts them; the network itself "
                "hides their lower half",
                "sound": f"openmarlin.lipsync.sound_windows, {MEL_RATE} columns of mel a second",
                "sound_centre_s": config.sound_centre_s,
            },
            "system": config.system,
            "source": source_of(encoder.config) if encoder is not None else "",
        },
    )


def dubber_networks(model: SmallDubber) -> dict[str, Network]:
    """The two stages of a small model of a mouth: `shape` hears, `renderer` draws."""
    config, size = model.config, model.config.size
    about = {"dubber": asdict(config)}
    shapes = Port(("clips", "places", config.components), "shapes of the mouth")
    hearing = Network(
        name=config.name,
        kind="mouth shape",
        module=ShapeNetwork(model.shape_net, config.gain).eval(),
        inputs={
            "mel": Port(
                ("clips", MEL_BANDS, "columns"),
                f"mel spectrograms, {MEL_RATE} columns a second, less the voice "
                "(openmarlin.lipsync.small.shape_net.less_voice)",
                low=_LOW,
                high=_HIGH,
            ),
            "places": Port(("clips", "places"), "columns, which need not be whole", high=2),
        },
        outputs={"shapes": shapes},
        about=about,
    )
    if model.renderer is None:
        return {"shape": hearing}
    windows = Port(
        ("clips", size, size, CHANNELS),
        "windows (openmarlin.lipsync.small.window.window_channels)",
        "uint8",
        high=256,
    )
    drawing = Network(
        name=config.name,
        kind="mouth renderer",
        module=RendererNetwork(model.renderer).eval(),
        inputs={"windows": windows},
        outputs={"pictures": Port(("clips", size, size, 3), "RGB in [0, 1]")},
        about=about,
    )
    return {"shape": hearing, "renderer": drawing}
