"""HDR video comes out as the SDR recording would have looked."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media import Image, number_of, numbered, write_video
from numpy.typing import NDArray

from openmarlin.video.hdr import Curve, to_sdr
from openmarlin.video.reader import VideoReader

BT2020, LIMITED = 9, 1
TRANSFERS: dict[Curve, int] = {"PQ": 16, "HLG": 18}
# BT.2087: light of BT.709 in the primaries of BT.2020.
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])

Floats = NDArray[np.float64]


def pq(nits: Floats) -> Floats:
    """SMPTE ST 2084, the signal of a light."""
    power = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: Floats) -> Floats:
    """ARIB STD-B67, the signal of a light on a display of 1000 nits."""
    luminance = nits @ np.array([0.2627, 0.6780, 0.0593]) / 1000
    scene = nits / 1000 * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def to_hdr(image: Image, curve: Curve, white_nits: float = 203) -> Floats:
    """The signal R'G'B' in [0, 1] of an SDR picture whose white is shown at 203 nits."""
    nits = (image / 255) ** 2.4 * white_nits @ TO_BT2020.T
    return pq(nits) if curve == "PQ" else hlg(nits)


def write_hdr(path: Path, signals: list[Floats], curve: Curve, codec: str = "ffv1") -> Path:
    """10 bits, 4:2:0, tagged."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        height, width = signals[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p10le"
        if codec == "libx264":
            stream.options = {"crf": "4"}
        context = stream.codec_context
        context.colorspace = context.color_primaries = BT2020
        context.color_trc, context.color_range = TRANSFERS[curve], LIMITED
        for index, signal in enumerate(signals):
            picture = av.VideoFrame.from_ndarray(
                np.round(signal * 65535).astype(np.uint16), format="rgb48le"
            ).reformat(format="yuv420p10le", dst_colorspace=BT2020, dst_color_range=LIMITED)
            picture.pts, picture.time_base = index, Fraction(1, 25)
            picture.color_primaries, picture.color_trc = BT2020, TRANSFERS[curve]
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("curve", ["PQ", "HLG"])
@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "ffv1"), ("a.mp4", "libx264")])
def test_a_real_picture_comes_back(tmp_path, clips, curve, name, codec):
    (original, *_) = VideoReader(clips / "single_face.mp4")
    signal = to_hdr(original.image, curve)
    video = VideoReader(write_hdr(tmp_path / name, [signal] * 2, curve, codec))
    assert video.info.hdr == curve
    for frame in video:
        apart = np.abs(frame.image.astype(int) - original.image)
        assert apart.mean() < 2.5
        assert np.percentile(apart, 99) < 15  # halved colours and 10 bits included
    as_sdr = np.abs(signal * 255 - original.image)
    assert as_sdr.mean() > 20  # what reading it as SDR would give
    assert video.problems == []
    assert len(video.notes) == 1
    assert curve in video.notes[0]


@pytest.mark.parametrize("curve", ["PQ", "HLG"])
def test_greys_are_kept_and_highlights_keep_their_order(curve):
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    greys = np.repeat(levels[:, None], 3, axis=1)
    back = to_sdr(to_hdr(greys, curve), curve) * 255
    assert np.ptp(back, axis=1).max() < 1  # no cast
    assert np.abs(back[:, 0] - levels)[levels < 232].max() < 1
    assert 238 < back[-1, 0] < 250  # white at 203 nits leaves room for what is brighter
    bright = to_sdr(to_hdr(greys[-1:], curve, 1000), curve) * 255
    assert bright[0, 0] == pytest.approx(255, abs=1)
    nits = np.linspace(150, 1000, 50)
    signal = np.repeat(
        (pq if curve == "PQ" else hlg)(np.repeat(nits[:, None], 3, axis=1)), 1, axis=1
    )
    assert (np.diff(to_sdr(signal, curve)[:, 0]) > 0).all()


def test_colours_beyond_bt_709_are_clipped_to_it():
    green = np.array([[0.0, 0.6, 0.0]])
    back = to_sdr(green, "PQ")
    assert back.min() == 0
    assert back.max() <= 1
    assert back[0, 1] > 0.9


def test_a_change_of_size_and_threads(tmp_path):
    """The table is built again for another size; frames may be converted long after reading."""
    small, large = numbered(2), numbered(2, 128, 96, first=2)
    paths = [
        write_hdr(tmp_path / f"{i}.h264", [to_hdr(x, "HLG") for x in images], "HLG", "libx264")
        for i, images in enumerate((small, large))
    ]
    both = tmp_path / "both.h264"
    both.write_bytes(b"".join(path.read_bytes() for path in paths))
    frames = list(VideoReader(both))
    assert [number_of(frame.image) for frame in reversed(frames)] == [3, 2, 1, 0]
    assert [frame.image.shape[0] for frame in frames] == [48, 48, 96, 96]


@pytest.mark.parametrize("transfer", [1, 14, 15])  # BT.709, BT.2020 in 10 and 12 bits: SDR
def test_wide_colours_alone_are_not_hdr(tmp_path, transfer):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        stream.codec_context.color_trc = transfer
        picture = av.VideoFrame.from_ndarray(numbered(1)[0], format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode())
    video = VideoReader(path)
    assert video.info.hdr is None
    assert video.notes == []


def test_plain_video_is_untouched(tmp_path):
    video = VideoReader(write_video(tmp_path / "a.mp4", numbered(2)))
    assert video.info.hdr is None
