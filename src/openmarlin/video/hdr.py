"""High dynamic range to the range that the networks know: HLG and PQ, tone-mapped to SDR.

    signal -> light (nits) -> colours of BT.709 -> highlights rolled off -> signal of SDR

The curves are those of ITU-R BT.2100; the white of paper and of SDR pictures stands at 203 nits
(BT.2408). Below that next to nothing changes, so a face looks as it would in an SDR recording; what
shines brighter is compressed, not clipped. The whole map is one table of colours that FFmpeg's
`lut3d` interpolates, about 30 ms for 1920x1080.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from numpy.typing import NDArray

Curve = Literal["HLG", "PQ"]
Floats = NDArray[np.float64]

_CURVES: dict[int, Curve] = {16: "PQ", 18: "HLG"}  # FFmpeg's numbers of transfer characteristics
_BT709_PRIMARIES = 1  # FFmpeg's number; HDR video has those of BT.2020 unless it says this
_FORMAT = "gbrp16le"  # planar, for which `lut3d` has vector code

_WHITE_NITS = 203.0
_PEAK_NITS = 1000.0  # of the display that HLG is shown on; most PQ video is graded for it, too
_KNEE = 0.8  # of white, where highlights begin to be compressed
_GAMMA = 2.4  # of an SDR display (BT.1886)
_STEPS = 33
"""Of the table in each colour. Frames of three example clips, put into PQ and HLG and read back,
differ from the original by 0.6 levels of 255 on average and by 8 at most in 999 of 1000 values;
twice the steps make that 6, and take 0.3 s once and 0.07 s for each video."""

_BT2020_TO_BT709 = np.array(  # BT.2087, linear light
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)


def curve_of(frame: av.VideoFrame) -> Curve | None:
    """Which HDR curve a frame is tagged with, None for SDR."""
    return _CURVES.get(int(frame.color_trc))


class ToneMapper:
    """Turns HDR frames into SDR frames; one for the frames of one video."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._source: FilterContext | None = None
        self._sink: FilterContext | None = None
        self._kind: tuple[int, int, Curve, bool] | None = None
        self._count = 0

    def __call__(self, frame: av.VideoFrame, curve: Curve) -> av.VideoFrame:
        """The frame in SDR, planar RGB of the same size."""
        rgb = frame.reformat(format=_FORMAT, threads=1)
        wide = int(frame.color_primaries) != _BT709_PRIMARIES
        kind = rgb.width, rgb.height, curve, wide
        if kind != self._kind:
            self._kind = kind
            self._build(*kind)
        assert self._source is not None
        assert self._sink is not None
        rgb.pts, self._count = self._count, self._count + 1  # the filter wants rising times
        self._source.push(rgb)
        mapped = self._sink.pull()
        assert isinstance(mapped, av.VideoFrame)
        return mapped

    def _build(self, width: int, height: int, curve: Curve, wide: bool) -> None:
        graph = Graph()
        graph.threads = 1
        with tempfile.TemporaryDirectory(prefix="openmarlin-") as folder:
            table = Path(folder) / "hdr.cube"
            table.write_text(_cube(curve, wide), encoding="ascii")
            self._source = graph.add_buffer(
                width=width, height=height, format=av.VideoFormat(_FORMAT), time_base=Fraction(1)
            )
            lookup = graph.add("lut3d", file=str(table), interp="tetrahedral")
            self._sink = graph.add("buffersink")
            graph.link_nodes(self._source, lookup, self._sink).configure()
        self._graph = graph  # the two ends do not keep it


@lru_cache
def _cube(curve: Curve, wide: bool) -> str:
    """The table as a .cube file; red changes fastest."""
    levels = np.linspace(0, 1, _STEPS)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    colours = to_sdr(np.stack([red, green, blue], axis=-1).reshape(-1, 3), curve, wide=wide)
    lines = "\n".join(f"{r:.5f} {g:.5f} {b:.5f}" for r, g, b in colours.tolist())
    return f"LUT_3D_SIZE {_STEPS}\n{lines}\n"


def to_sdr(signal: Floats, curve: Curve, *, wide: bool = True) -> Floats:
    """The formula that the table holds.

    Args:
        signal: R'G'B' in [0, 1], (..., 3), as stored.
        curve: of BT.2100.
        wide: the colours are those of BT.2020, not BT.709.

    Returns:
        R'G'B' in [0, 1] for an SDR display, colours of BT.709.
    """
    light = (_pq_nits(signal) if curve == "PQ" else _hlg_nits(signal)) / _WHITE_NITS
    if wide:
        light = np.maximum(light @ _BT2020_TO_BT709.T, 0)
    # All three colours by one factor, that of the brightest: the hue stays.
    brightest = light.max(axis=-1, keepdims=True)
    light = light * (_roll_off(brightest) / np.maximum(brightest, 1e-9))
    return np.asarray(np.clip(light, 0, 1) ** (1 / _GAMMA))


def _pq_nits(signal: Floats) -> Floats:
    """BT.2100 table 4: the light of a PQ signal."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    return np.asarray(10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1))


def _hlg_nits(signal: Floats) -> Floats:
    """BT.2100 table 5: the light that a display of 1000 nits makes of an HLG signal."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return np.asarray(_PEAK_NITS * luminance[..., None] ** 0.2 * scene)


def _roll_off(light: Floats) -> Floats:
    """White is 1: untouched up to the knee, then ever flatter, the peak becomes 1."""
    peak = (_PEAK_NITS / _WHITE_NITS - _KNEE) / (1 - _KNEE)
    over = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    return np.where(
        light <= _KNEE, light, _KNEE + (1 - _KNEE) * over * (1 + over / peak**2) / (1 + over)
    )
