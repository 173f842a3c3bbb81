"""Running a trained encoder: which precision, which engine, and why.

Legend: B clips, T frames, N tokens, D width.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, overload
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openmarlin.errors import ModelError
from openmarlin.model.encoder import Encoder
from openmarlin.model.layers import to_model_input
from openmarlin.native import has_bf16

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

PRECISIONS = ("fp32", "bf16")
BACKENDS = ("torch", "openvino")


class EncoderRunner:
    """An encoder made ready for uint8 clips. Of calls from several threads one runs at a time.

    Args:
        encoder: in any precision, on the CPU or a CUDA device; it is not changed.
        precision: `fp32`, `bf16`, or `auto`: see `choose`.
        backend: `torch`, `openvino`, or `auto`.
        shared: other work keeps the cores busy, so a lone clip is content with one of them.

    Attributes:
        precision: what runs: `fp32` or `bf16`.
        backend: what runs it: `torch` or `openvino`.
        reason: one sentence on why.

    Raises:
        ModelError: the two do not exist, or do not fit this machine.
    """

    def __init__(
        self,
        encoder: Encoder,
        precision: str = "auto",
        backend: str = "auto",
        *,
        shared: bool = False,
    ) -> None:
        self.config = encoder.config
        device = next(encoder.parameters()).device
        self.precision, self.backend, self.reason = choose(precision, backend, device)
        self._run = (
            _start_openvino(encoder, self.precision, shared)
            if self.backend == "openvino"
            else _start_torch(encoder, self.precision)
        )
        self._lock = threading.Lock()

    @overload
    def __call__(self, clips: Pixels, tokens: Literal[False] = False) -> Floats: ...
    @overload
    def __call__(self, clips: Pixels, tokens: Literal[True]) -> tuple[Floats, Floats]: ...
    def __call__(self, clips: Pixels, tokens: bool = False) -> Floats | tuple[Floats, Floats]:
        """Encode clips.

        Args:
            clips: uint8 RGB (B, T, H, W, 3); B may be anything, 0 too, and differ between calls.
            tokens: give the tokens as well.

        Returns:
            float32 features (B, D), one vector a clip; with `tokens` also float32 (B, N, D).

        Raises:
            ModelError: the clips have another shape or type than the model takes.
        """
        config = self.config
        shape = (config.frames, config.image_size, config.image_size, 3)
        if clips.dtype != np.uint8 or clips.shape[1:] != shape:
            raise ModelError(
                f"the model takes uint8 clips of shape (B, {', '.join(map(str, shape))}), "
                f"not {clips.dtype} {clips.shape}"
            )
        if len(clips):
            with self._lock:
                features, all_tokens = self._run(clips, tokens)
        else:
            features = np.empty((0, config.width), np.float32)
            all_tokens = np.empty((0, config.n_tokens, config.width), np.float32)
        return (features, all_tokens) if tokens else features


def start_runner(encoder: Encoder, precision: str, backend: str) -> Future[EncoderRunner]:
    """An `EncoderRunner` for a job with other work on the cores; it is compiled in the background.

    Raises:
        ModelError: when the result is asked for; see `EncoderRunner`.
    """
    starter = ThreadPoolExecutor(1, thread_name_prefix="encoder")
    runner = starter.submit(EncoderRunner, encoder, precision, backend, shared=True)
    starter.shutdown(wait=False)
    return runner


def encode(
    encoder: Encoder, clips: Pixels | Tensor, *, tokens: bool
) -> Floats | tuple[Floats, Floats]:
    """See `Encoder.encode`."""
    if not isinstance(clips, np.ndarray | Tensor):
        raise ModelError(f"clips are a numpy array or a torch tensor, not {type(clips).__name__}")
    run = _runner_of(encoder)
    starts = range(0, max(len(clips), 1), _CLIPS_AT_ONCE)  # without a clip the shape is checked
    features, all_tokens = [], []
    for batch in (clips[i : i + _CLIPS_AT_ONCE] for i in starts):
        pixels = batch if isinstance(batch, np.ndarray) else batch.numpy(force=True)
        if tokens:
            more, their_tokens = run(pixels, tokens=True)
            all_tokens.append(their_tokens)
        else:
            more = run(pixels)
        features.append(more)
    vectors = np.concatenate(features)
    return (vectors, np.concatenate(all_tokens)) if tokens else vectors


_runners: WeakKeyDictionary[Encoder, tuple[object, EncoderRunner]] = WeakKeyDictionary()
"""Beside the encoders and not in them, so that they can still be copied and pickled."""

_runners_lock = threading.Lock()


def _runner_of(encoder: Encoder) -> EncoderRunner:
    """The encoder's runner; a new one where its weights are not what they were.

    Torch counts what is written into a tensor, so a step of an optimiser, `load_state_dict` and
    `to` are all noticed.
    """
    weights = tuple(
        (t.data_ptr(), t.dtype, t.device, 0 if t.is_inference() else t._version)
        for t in encoder.state_dict(keep_vars=True).values()
    )
    with _runners_lock:
        before, runner = _runners.get(encoder, (None, None))
        if runner is None or before != weights:
            runner = EncoderRunner(encoder)
            _runners[encoder] = weights, runner
    return runner


def choose(precision: str, backend: str, device: torch.device) -> tuple[str, str, str]:
    """Precision, backend and the reason, from the request and the machine; nothing is timed.

    The rule is what `benchmarks/encoder.py` measured (docs/lab/speed.md): bfloat16 where the
    hardware multiplies it, float32 where not; on a CPU through OpenVINO, on a GPU through torch.
    """
    for value, choices in ((precision, PRECISIONS), (backend, BACKENDS)):
        if value != "auto" and value not in choices:
            raise ModelError(f"'{value}' is not one of auto, {', '.join(choices)}")
    on_cpu = device.type == "cpu"
    if backend == "openvino" and not on_cpu:
        raise ModelError(f"openvino runs on the CPU and the model is on {device}; use torch")
    fast = has_bf16() if on_cpu else torch.cuda.is_bf16_supported(including_emulation=False)
    chip = "this CPU" if on_cpu else "this GPU"
    if precision == "bf16" and not fast and backend != "torch":
        raise ModelError(
            f"{chip} has no bfloat16 instructions; use precision fp32, or backend torch to emulate"
        )
    why = []
    if precision == "auto":
        precision = "bf16" if fast else "fp32"
        why.append(f"{chip} {'multiplies' if fast else 'does not multiply'} bfloat16 in hardware")
    if backend == "auto":
        backend = "openvino" if on_cpu else "torch"
        why.append(f"{backend} is the faster engine on a {'CPU' if on_cpu else 'GPU'}")
    return precision, backend, "; ".join(why) or "as requested"


_CLIPS_AT_ONCE = 8
"""At most, however many cores there are; OpenVINO divides the cores among them."""

_Run = Callable[[Pixels, bool], tuple[Floats, Floats]]
"""Clips, and whether to give tokens -> features, tokens (none of them without)."""


def _start_openvino(encoder: Encoder, precision: str, shared: bool) -> _Run:
    from openmarlin.model.openvino_graph import build_graph, patchify_bytes
    from openmarlin.native import openvino_core

    core = openvino_core()  # silent; the import below finds it done
    import openvino as ov

    config = encoder.config
    graph = build_graph(encoder, precision)

    def engine(hint: str) -> ov.AsyncInferQueue:
        settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "PERFORMANCE_HINT": hint,
            "PERFORMANCE_HINT_NUM_REQUESTS": _CLIPS_AT_ONCE,
            # Decoding and face nets work beside the encoder: its threads must be free to move.
            "ENABLE_CPU_PINNING": False,
        }
        return ov.AsyncInferQueue(core.compile_model(graph, "CPU", settings))

    for_more = engine("THROUGHPUT")
    for_one = for_more if shared else engine("LATENCY")

    def run(clips: Pixels, tokens: bool) -> tuple[Floats, Floats]:
        """All cores on a lone clip; otherwise clips side by side, which wastes less on waiting."""
        features = np.empty((len(clips), config.width), np.float32)
        all_tokens = np.empty((len(clips) * tokens, config.n_tokens, config.width), np.float32)

        def keep(request: ov.InferRequest, i: int) -> None:
            features[i] = request.get_output_tensor(0).data[0]
            if tokens:
                all_tokens[i] = request.get_output_tensor(1).data[0]

        queue = for_one if len(clips) == 1 else for_more
        queue.set_callback(keep)
        for i, clip in enumerate(clips):
            queue.start_async([patchify_bytes(clip[None], config)], userdata=i)
        queue.wait_all()
        return features, all_tokens

    return run


def _start_torch(encoder: Encoder, precision: str) -> _Run:
    module = copy.deepcopy(encoder).float().eval()
    if precision == "bf16":  # rounding the embedding would cost more accuracy than all the rest
        blocks = module.blocks.bfloat16()
        module.blocks = nn.Sequential(_Cast(torch.bfloat16), *blocks, _Cast(torch.float32))
    device = next(module.parameters()).device

    @torch.inference_mode()
    def run(clips: Pixels, tokens: bool) -> tuple[Floats, Floats]:
        pixels = torch.tensor(np.ascontiguousarray(clips), device=device)
        x = module.trunk(to_model_input(pixels))
        features = module.norm(x.mean(dim=1))
        all_tokens = module.norm(x) if tokens else x[:, :0]
        return features.cpu().numpy(), all_tokens.cpu().numpy()

    return run


class _Cast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)
