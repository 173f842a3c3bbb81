"""Any trained parser in the mesh's place: made-up networks whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmarlin.errors import FaceError
from openmarlin.face.parser import OnnxParser

onnx = pytest.importorskip("onnx", reason="needs the onnx package to make a network")


def network(
    path: Path,
    *,
    classes: int = 11,
    shape: tuple[int | str, ...] = ("n", 3, 56, 56),
) -> Path:
    """A parser that answers how red a pixel is, in tenths: class c scores -(red - c/10)^2.

    Without red^2, which all classes share, that is a 1x1 convolution: 2 red c/10 - (c/10)^2.
    """
    from onnx import TensorProto, helper, numpy_helper

    steps = np.arange(classes, dtype=np.float32) / 10
    weight = np.zeros((classes, shape[1], 1, 1), np.float32)
    weight[:, 0, 0, 0] = 2 * steps
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["full"]),
            helper.make_node("AveragePool", ["full"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("GlobalAveragePool", ["x"], ["aux"]),
        ],
        "red",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("aux", TensorProto.FLOAT, (shape[0], shape[1], 1, 1)),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, (shape[0], classes, "h", "w")),
        ],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(-(steps**2), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def reds(*tenths: int) -> np.ndarray:
    """Pictures (T, 224, 224, 3) as red as told, in tenths, with full green and blue."""
    pictures = np.full((len(tenths), 224, 224, 3), 255, np.uint8)
    for picture, value in zip(pictures, tenths, strict=True):
        picture[..., 0] = round(25.5 * value)
    return pictures


NO_POINTS = np.zeros((3, 478, 2), np.float32)


@pytest.mark.parametrize(
    "shape", [("n", 3, 56, 56), (1, 3, 56, 56), (2, 3, 64, 48), ("n", 3, "h", "w")]
)
def test_an_onnx_parser_runs_whatever_its_batch_and_size(tmp_path: Path, shape) -> None:
    parser = OnnxParser(network(tmp_path / "red.onnx", shape=shape), size=64)
    labels = parser(reds(0, 4, 10), NO_POINTS)
    assert labels.shape == (3, 224, 224)
    assert labels.dtype == np.uint8
    assert [np.unique(frame).tolist() for frame in labels] == [[0], [4], [10]]


def test_an_onnx_parser_keeps_places_and_colour_order(tmp_path: Path) -> None:
    parser = OnnxParser(network(tmp_path / "red.onnx"))
    pictures = reds(0)
    pictures[0, :112, :, 0] = 255
    (labels,) = parser(pictures, NO_POINTS[:1])
    assert (labels[:100] == 10).all()
    assert (labels[124:] == 0).all()


def test_an_onnx_parser_normalises_as_told(tmp_path: Path) -> None:
    path = network(tmp_path / "red.onnx")
    parser = OnnxParser(path, mean=(0.5, 0, 0), std=(0.5, 1, 1))
    labels = parser(reds(2, 5, 10), NO_POINTS)  # (red - 0.5) / 0.5
    assert [np.unique(frame).tolist() for frame in labels] == [[0], [0], [10]]
    assert (parser(reds(8), NO_POINTS[:1]) == 6).all()


def test_wrong_parsers_are_refused_in_one_line(tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("not a network")
    for path, message in [
        (tmp_path / "none.onnx", "does not exist"),
        (text, "cannot be used"),
        (network(tmp_path / "a.onnx", classes=19), "no output has 11 channels"),
        (network(tmp_path / "b.onnx", shape=("n", 4, 56, 56)), "its input is"),
    ]:
        with pytest.raises(FaceError, match=message) as caught:
            OnnxParser(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
