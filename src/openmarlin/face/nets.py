"""The four networks of the face front-end, as OpenVINO runs them.

They ship inside the package (Google MediaPipe, Apache-2.0, see NOTICE), are checked against their
sha256, and compiled the first time they are needed. Pictures go in as uint8; scaling to the range
a network was trained on is part of its graph. Precisions are chosen for points that stay put
(docs/faces.md has the numbers): the mesh runs in float32 unless only crops are wanted (in bfloat16
its points move by 0.3 px of a 256 px crop), the detector and the person mask, which only have to be
roughly right, in bfloat16 where the CPU computes in it.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import zipfile
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import FaceError, InputError
from openmarlin.native import openvino_core, usable_cores

if TYPE_CHECKING:
    import openvino as ov
else:
    from openmarlin.native import ov  # silent: see there

ASSETS = {
    "face_landmarker.task": "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    "selfie_segmentation.tflite": (
        "8d13b7fae74af625c641226813616a2117bd6bca19eb3b75574621fc08557f27"
    ),
}
"""File name -> sha256 of what ships in face/assets."""

DETECTOR_PX, MESH_PX, PERSON_PX = 128, 256, 256


class Net:
    """A compiled network that any number of threads may call at once.

    An idle infer request is taken from a pool for every call, so concurrent calls never share
    buffers and sequential calls never allocate new ones. A network made for batches of one size is
    run on as many of them as the input holds.
    """

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._compiled = compiled
        batch = compiled.input(0).partial_shape[0]
        self._batch = batch.get_length() if batch.is_static else None
        self._idle: list[ov.InferRequest] = []  # list.append and pop are atomic

    def __call__(self, x: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Run on one input batch; the outputs are copies that the caller owns."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        x = np.ascontiguousarray(x)
        parts = []
        size = self._batch or max(1, len(x))
        for start in range(0, len(x), size):
            request.infer([x[start : start + size]], share_inputs=True)
            parts.append([np.array(t.data, dtype=np.float32) for t in request.output_tensors])
        self._idle.append(request)
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


class FaceNets:
    """The networks by name; each is compiled at first use and then kept.

    Args:
        threads: CPU threads one call may use. Calls from several threads run side by side on up
            to all cores, so 1 is right wherever videos are processed in parallel.
        precise: compute meshes in float32; otherwise in bfloat16 where the CPU has it.
    """

    def __init__(self, threads: int = 1, *, precise: bool = True) -> None:
        self.threads, self.precise = threads, precise
        self._nets: dict[object, Net] = {}
        self._lock = threading.Lock()

    def detector(self, height: int, width: int) -> Net:
        """BlazeFace on (B, height, width, 3); sides must be multiples of 16.

        The network is fully convolutional, so it also takes pictures larger than the 128 px it
        was trained on. One compiled network a size: with free sides it is 1.5 times slower.
        """
        return self._get(
            ("detector", height, width),
            lambda: _pictures(_task("face_detector.tflite"), (height, width), 127.5, 127.5),
            "bf16",
        )

    @property
    def mesh(self) -> Net:
        """Face crops (B, 256, 256, 3) -> points (B, 1, 1, 1434), presence logit (B, 1, 1, 1), _.

        One crop at a time: kernels made for one shape are quicker, and it stays in the cache.
        """
        side = (MESH_PX, MESH_PX)
        return self._get(
            "mesh",
            lambda: _pictures(_task("face_landmarks_detector.tflite"), side, 0, 255, batch=1),
            "f32" if self.precise else "bf16",
        )

    @property
    def blendshapes(self) -> Net:
        """Points float32 (B, 146, 2) in pixels -> coefficients (B * 52,)."""
        return self._get("blendshapes", lambda: _task("face_blendshapes.tflite"), "f32")

    @property
    def person(self) -> Net:
        """Pictures (B, 256, 256, 3) -> probability of a person (B, 256, 256, 1)."""
        side = (PERSON_PX, PERSON_PX)
        return self._get("person", lambda: _pictures(_person(), side, 0, 255), "bf16")

    def _get(self, key: object, build: Callable[[], ov.Model], precision: str) -> Net:
        with self._lock:
            if key not in self._nets:
                self._nets[key] = Net(compile_model(build(), precision, self.threads))
            return self._nets[key]


def compile_model(model: ov.Model, precision: str = "f32", threads: int = 1) -> ov.CompiledModel:
    """Compile for the CPU: `threads` a call, as many calls side by side as cores allow.

    Args:
        precision: "f32", or "bf16" to use it where the CPU computes in it.
    """
    offered = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    streams = max(1, usable_cores() // threads)  # OpenVINO keeps it to usable cores
    return openvino_core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": precision if precision.upper() in offered else "f32",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams * threads,
            # Pinned, the streams of several networks and of torch would crowd the same cores.
            "ENABLE_CPU_PINNING": False,
        },
    )


def _asset(name: str) -> bytes:
    try:
        data = (files("openmarlin.face") / "assets" / name).read_bytes()
    except OSError as error:
        raise FaceError(f"face net {name} cannot be read ({error}): reinstall openmarlin") from None
    if hashlib.sha256(data).hexdigest() != ASSETS[name]:
        raise FaceError(f"face net {name} is damaged (wrong sha256): reinstall openmarlin")
    return data


def _task(member: str) -> ov.Model:
    """One network of the face_landmarker.task bundle, for the caller to change."""
    return _bundled(member).clone()


@cache
def _bundled(member: str) -> ov.Model:
    with zipfile.ZipFile(BytesIO(_asset("face_landmarker.task"))) as bundle:
        return _read(bundle.read(member))


def _person() -> ov.Model:
    return _read(_asset("selfie_segmentation.tflite"))


def _read(data: bytes) -> ov.Model:
    """Read a TFLite network; OpenVINO reads those from files only."""
    frontend = ov.frontend.FrontEndManager().load_by_framework("tflite")
    frontend.add_extension(
        ov.frontend.ConversionExtension("Convolution2DTransposeBias", _transposed_convolution)
    )
    try:
        with tempfile.TemporaryDirectory(prefix="openmarlin-") as folder:
            path = Path(folder) / "net.tflite"
            path.write_bytes(data)
            return frontend.convert(frontend.load(str(path)))
    except OSError as error:
        raise InputError(
            f"cannot write to the temporary folder {tempfile.gettempdir()}: {error.strerror}; make "
            "room there, or name another folder in TMPDIR"
        ) from error


def _transposed_convolution(node: Any) -> list[ov.Output]:
    """MediaPipe's custom operator, as the person mask uses it once: kernel 2x2, stride 2.

    With stride = kernel, blocks do not overlap and padding plays no part. Layouts: input NHWC,
    kernel OHWI, bias O (mediapipe/util/tflite/operations/transpose_conv_bias.cc).
    """
    x, kernel, bias = (node.get_input(i) for i in range(3))
    if list(kernel.get_shape())[1:3] != [2, 2]:
        raise FaceError("selfie_segmentation.tflite: only 2x2 transposed convolution is known")
    y = ov.opset13.convolution_backprop_data(
        ov.opset13.transpose(x, [0, 3, 1, 2]),
        ov.opset13.transpose(kernel, [3, 0, 1, 2]),
        strides=[2, 2],
    )
    return [ov.opset13.add(ov.opset13.transpose(y, [0, 2, 3, 1]), bias).output(0)]


def _pictures(
    model: ov.Model, size: tuple[int, int], mean: float, scale: float, batch: int = -1
) -> ov.Model:
    """Let a network take uint8 pictures, any number, and scale them as (x - mean) / scale."""
    model.reshape([batch, *size, 3])
    steps = ov.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8)
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean(mean).scale(scale)
    return steps.build()
