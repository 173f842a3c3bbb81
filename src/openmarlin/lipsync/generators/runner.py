"""Running a trained generator fast: which precision, which engine, and why.

draw = GeneratorRunner(load_generator("wav2lip_gan.pth"))
faces = draw(sound, faces)
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from openmarlin.errors import ModelError
from openmarlin.lipsync.generators.generator import Generator, check_shapes
from openmarlin.lipsync.generators.wav2lip import Wav2Lip
from openmarlin.model.runner import choose
from openmarlin.native import openvino_core

_Run = Callable[[Tensor, Tensor], Tensor]

FAITHFUL_DB = 45.0
"""Peak signal-to-noise ratio from which on a picture counts as the same."""

_FRAMES_AT_ONCE = 4  # handed to OpenVINO, which divides the cores among them


class GeneratorRunner:
    """A generator made ready for use; it is called as the generator is.

    Wav2Lip and AttnWav2Lip run on OpenVINO where they are on a CPU, the others on torch.

    Args:
        generator: on the CPU or a CUDA device; it is not changed.
        precision: `fp32`, `bf16`, or `auto`: bfloat16 where the hardware multiplies it and the
            first frame that is drawn comes out the same, to `FAITHFUL_DB`; how much bfloat16 costs
            depends on the weights (docs/lab/lipsync.md).
        backend: `torch`, `openvino`, or `auto`.
        threads: of OpenVINO; 0: all cores.

    Attributes:
        config: of the generator.
        precision: what runs: `fp32` or `bf16`.
        backend: what runs it: `torch` or `openvino`.
        reason: one sentence on why.

    Raises:
        ModelError: the two do not exist, or do not fit this machine or this generator.
    """

    def __init__(
        self,
        generator: Generator,
        precision: str = "auto",
        backend: str = "auto",
        *,
        threads: int = 0,
    ) -> None:
        self.config = generator.config
        if not isinstance(generator, Wav2Lip):
            if backend == "openvino":
                raise ModelError(f"{self.config.system} does not run on openvino; use torch")
            backend = "torch"
        device = next(generator.parameters()).device
        self.precision, self.backend, self.reason = choose(precision, backend, device)
        self._start = self._starter(generator, threads)
        self._run = self._start(self.precision)
        self._doubtful = precision == "auto" and self.precision == "bf16"

    def __call__(self, sound: Tensor, faces: Tensor) -> Tensor:
        """Draw faces; see `Generator.forward`. The result is on the CPU."""
        check_shapes(self.config, sound, faces)
        if self._doubtful and sound.shape[0] and sound.shape[1]:
            self._settle(sound, faces)
        return self._run(sound, faces)

    def _starter(self, generator: Generator, threads: int) -> Callable[[str], _Run]:
        """What makes it run, by precision."""
        if isinstance(generator, Wav2Lip) and self.backend == "openvino":
            return lambda precision: _start_openvino(generator, precision, threads)
        return lambda precision: _start_torch(generator, precision)

    def _settle(self, sound: Tensor, faces: Tensor) -> None:
        """Stay with bfloat16 if it draws the first frame, or clip, as float32 does."""
        frames = self.config.frames
        part = sound[:1, :frames], faces[:1, :, :frames]
        exact = self._start("fp32")
        error = float((self._run(*part) - exact(*part)).square().mean())
        likeness_db = -10 * math.log10(max(error, 1e-12))
        if likeness_db < FAITHFUL_DB:
            self._run, self.precision = exact, "fp32"
        self.reason += f"; bf16 draws the first picture at {likeness_db:.0f} dB to fp32"
        self._doubtful = False


def _start_openvino(generator: Wav2Lip, precision: str, threads: int) -> _Run:
    core = openvino_core()  # silent; the import below finds it done
    import openvino as ov

    from openmarlin.lipsync.generators.openvino_graph import build_graph

    settings = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "PERFORMANCE_HINT": "THROUGHPUT",
        "PERFORMANCE_HINT_NUM_REQUESTS": _FRAMES_AT_ONCE,
        # Decoding and face nets work beside it: its threads must be free to move.
        "ENABLE_CPU_PINNING": False,
        **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
    }
    queue = ov.AsyncInferQueue(core.compile_model(build_graph(generator), "CPU", settings))

    def run(sound: Tensor, faces: Tensor) -> Tensor:
        drawn = np.empty((len(faces), 3, *faces.shape[2:]), np.float32)

        def keep(request: ov.InferRequest, place: tuple[int, int]) -> None:
            drawn[place[0], :, place[1]] = request.get_output_tensor(0).data[0]

        queue.set_callback(keep)
        windows, pictures = sound.numpy(force=True), faces.numpy(force=True)
        for b, f in np.ndindex(*windows.shape[:2]):
            picture = np.ascontiguousarray(pictures[b, :, f])
            queue.start_async([windows[b, f][None], picture[None]], userdata=(b, f))
        queue.wait_all()
        return torch.from_numpy(drawn)

    return run


def _start_torch(generator: Generator, precision: str) -> _Run:
    device = next(generator.parameters()).device
    module = copy.deepcopy(generator).eval()
    for layer in module.modules():  # bfloat16 pays only where channels come last
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run(sound: Tensor, faces: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return module(sound.to(device), faces.to(device)).cpu()  # type: ignore[no-any-return]

    return run
