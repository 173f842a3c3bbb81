from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import openmarlin
from openmarlin import native
from openmarlin.errors import ModelError
from openmarlin.model import runner
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.layers import to_model_input
from openmarlin.model.openvino_graph import build_graph, patchify_bytes
from openmarlin.model.runner import EncoderRunner, choose
from openmarlin.model.zoo import DEFAULT_ENCODER

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SMALL = ModelConfig(image_size=32, frames=4, patch=8, width=48, depth=2, heads=3)
UNUSUAL = ModelConfig(
    image_size=40, frames=6, patch=10, tubelet=3, width=64, depth=1, heads=2, mlp_ratio=3
)
RUNNERS = [("fp32", "torch"), ("fp32", "openvino"), ("bf16", "torch")]
if native.has_bf16():
    RUNNERS.append(("bf16", "openvino"))


def make_encoder(config: ModelConfig = SMALL) -> Encoder:
    """An encoder none of whose parameters is zero, so that each of them counts."""
    generator = torch.Generator().manual_seed(1)
    encoder = Encoder(config, generator).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return encoder


def make_clips(n: int, config: ModelConfig = SMALL) -> np.ndarray:
    shape = (n, config.frames, config.image_size, config.image_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def expected(encoder: Encoder, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        video = to_model_input(torch.tensor(clips))
        return encoder.features(video).numpy(), encoder(video).numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.mark.parametrize("config", [SMALL, UNUSUAL])
@pytest.mark.parametrize(("precision", "backend"), RUNNERS)
def test_every_runner_computes_the_encoder(
    precision: str, backend: str, config: ModelConfig
) -> None:
    encoder, clips = make_encoder(config), make_clips(3, config)
    features, tokens = EncoderRunner(encoder, precision, backend)(clips, tokens=True)
    assert features.dtype == tokens.dtype == np.float32
    for got, want in zip((features, tokens), expected(encoder, clips), strict=True):
        assert got.shape == want.shape
        if precision == "fp32":
            np.testing.assert_allclose(got, want, atol=2e-5)
        else:
            assert cosine(got, want).min() > 0.999


@pytest.mark.parametrize(("precision", "backend"), RUNNERS)
def test_a_clip_has_the_same_features_in_any_batch(precision: str, backend: str) -> None:
    run, clips = EncoderRunner(make_encoder(), precision, backend), make_clips(5)
    whole = run(clips)
    parts = np.concatenate([run(clips[:4]), run(clips[4:]), run(clips[:0])])
    if backend == "openvino":  # a resumed run has other batches and must give the same table
        np.testing.assert_array_equal(parts, whole)
    np.testing.assert_allclose(parts, whole, atol=1e-5 if precision == "fp32" else 0.02)
    assert run(clips[:0], tokens=True)[1].shape == (0, SMALL.n_tokens, SMALL.width)


@pytest.mark.parametrize(("precision", "backend"), RUNNERS[2:])
def test_filters_that_look_at_differences_survive_bf16(precision: str, backend: str) -> None:
    encoder, clips = make_encoder(), make_clips(4) // 16 + 200  # bright, with little contrast
    with torch.no_grad():
        filters = encoder.patch_embedding.projection.weight
        filters.copy_(8 * (filters - filters.mean((2, 3, 4), keepdim=True)))
    want = expected(encoder, clips)[0]
    assert cosine(EncoderRunner(encoder, precision, backend)(clips), want).min() > 0.99995


@pytest.mark.parametrize(("precision", "backend"), RUNNERS)
def test_results_outlive_the_next_call(precision: str, backend: str) -> None:
    run, clips = EncoderRunner(make_encoder(), precision, backend), make_clips(2)
    kept = run(clips[:1], tokens=True)
    copies = [array.copy() for array in kept]
    run(clips[1:], tokens=True)
    for array, before in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_views_and_read_only_clips_are_taken_and_left_alone(backend: str) -> None:
    run, clips = EncoderRunner(make_encoder(), "fp32", backend), make_clips(4)
    mirrored = clips[::2, :, :, ::-1]
    mirrored.flags.writeable = False
    np.testing.assert_allclose(run(mirrored), run(mirrored.copy()), atol=1e-6)
    np.testing.assert_array_equal(clips, make_clips(4))


def test_the_encoder_is_not_changed() -> None:
    encoder = make_encoder()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    EncoderRunner(encoder, "bf16", "torch")(make_clips(1))
    for key, value in encoder.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_an_encoder_in_bf16_runs_in_fp32_too(backend: str) -> None:
    encoder, clips = make_encoder(), make_clips(2)
    want = expected(encoder, clips)[0]
    assert cosine(EncoderRunner(encoder.bfloat16(), "fp32", backend)(clips), want).min() > 0.999


@pytest.mark.parametrize("bad", ["shape", "dtype"])
def test_clips_that_do_not_fit_are_refused(bad: str) -> None:
    clips = make_clips(1)[:, :2] if bad == "shape" else make_clips(1).astype(np.float32)
    with pytest.raises(ModelError, match=r"\(B, 4, 32, 32, 3\)"):
        EncoderRunner(make_encoder(), "fp32", "torch")(clips)


@pytest.mark.parametrize(
    ("wanted", "device", "bf16", "chosen"),
    [
        (("auto", "auto"), CPU, True, ("bf16", "openvino")),
        (("auto", "auto"), CPU, False, ("fp32", "openvino")),
        (("auto", "torch"), CPU, False, ("fp32", "torch")),
        (("fp32", "auto"), CPU, True, ("fp32", "openvino")),
        (("bf16", "torch"), CPU, False, ("bf16", "torch")),
        (("auto", "auto"), GPU, True, ("bf16", "torch")),
        (("auto", "auto"), GPU, False, ("fp32", "torch")),
    ],
)
def test_the_choice(
    wanted: tuple[str, str],
    device: torch.device,
    bf16: bool,
    chosen: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "has_bf16", lambda: bf16)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    precision, backend, reason = choose(*wanted, device)
    assert (precision, backend) == chosen
    assert ("as requested" in reason) == ("auto" not in wanted)


@pytest.mark.parametrize(
    ("precision", "backend", "device", "message"),
    [
        ("int8", "auto", CPU, "'int8' is not one of auto, fp32, bf16"),
        ("auto", "onnx", CPU, "'onnx' is not one of"),
        ("fp32", "openvino", GPU, "runs on the CPU"),
        ("bf16", "openvino", CPU, "no bfloat16 instructions"),
        ("bf16", "auto", CPU, "no bfloat16 instructions"),
    ],
)
def test_what_cannot_be_had_is_refused(
    precision: str,
    backend: str,
    device: torch.device,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "has_bf16", lambda: False)
    with pytest.raises(ModelError, match=message):
        choose(precision, backend, device)


def test_values_are_bytes_in_token_order() -> None:
    clips = make_clips(2)
    values = patchify_bytes(clips, SMALL)
    assert values.shape == (2, SMALL.n_tokens, SMALL.token_values)
    t, h, w = 1, 2, 3
    token = clips[1, 2 * t : 2 * t + 2, 8 * h : 8 * h + 8, 8 * w : 8 * w + 8]
    np.testing.assert_array_equal(values[1, (t * 4 + h) * 4 + w], token.ravel())


def test_the_graph_is_of_one_clip_and_gives_float32() -> None:
    graph = build_graph(make_encoder(), "bf16")
    tokens, width = SMALL.n_tokens, SMALL.width
    assert list(graph.input(0).shape) == [1, tokens, SMALL.token_values]
    assert [list(output.shape) for output in graph.outputs] == [[1, width], [1, tokens, width]]
    assert [str(output.element_type) for output in graph.outputs] == ["<Type: 'float32'>"] * 2


def test_a_lone_clip_among_other_work_gives_the_same_features() -> None:
    encoder, clips = make_encoder(), make_clips(1)
    alone, shared = (EncoderRunner(encoder, "fp32", "openvino", shared=s) for s in (False, True))
    np.testing.assert_allclose(alone(clips), shared(clips), rtol=1e-5, atol=1e-6)


def test_encode_is_the_runner_and_takes_torch_and_numpy() -> None:
    encoder, clips = make_encoder(), make_clips(11)  # more than are encoded at once
    want = EncoderRunner(encoder)(clips, tokens=True)
    features, tokens = encoder.encode(clips, tokens=True)
    np.testing.assert_array_equal(features, want[0])
    np.testing.assert_array_equal(tokens, want[1])
    assert features.dtype == np.float32
    np.testing.assert_array_equal(encoder.encode(torch.from_numpy(clips)), features)
    assert encoder.encode(clips[:0]).shape == (0, SMALL.width)


@pytest.mark.parametrize("change", ["step", "load_state_dict", "dtype"])
def test_encode_takes_the_weights_as_they_are(change: str) -> None:
    encoder, other, clips = make_encoder(), make_encoder(), make_clips(2)
    before = encoder.encode(clips)
    with torch.no_grad():
        other.blocks[0].mlp.layers[0].linear.weight.mul_(2)
    if change == "step":
        with torch.no_grad():
            encoder.blocks[0].mlp.layers[0].linear.weight.mul_(2)
    elif change == "load_state_dict":
        encoder.load_state_dict(other.state_dict())
    else:
        encoder.to(torch.bfloat16)
        other = encoder
    after = encoder.encode(clips)
    np.testing.assert_array_equal(after, EncoderRunner(other)(clips))
    assert not np.array_equal(before, after)


def test_an_encoder_that_has_encoded_can_be_copied_and_saved(tmp_path: Path) -> None:
    encoder, clips = make_encoder(), make_clips(1)
    features = encoder.encode(clips)
    np.testing.assert_array_equal(copy.deepcopy(encoder).encode(clips), features)
    torch.save(encoder, tmp_path / "whole.pt")


@pytest.mark.parametrize(
    "clips", [make_clips(1)[0], make_clips(1).astype(np.float32), [1, 2], "a.mp4"]
)
def test_encode_refuses_what_is_no_clip(clips: Any) -> None:
    with pytest.raises(ModelError):
        make_encoder().encode(clips)


def test_encode_gives_what_extract_gives(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the face crops of a real video, as `extract` hands them to its engine."""
    crops, run = [], EncoderRunner.__call__

    def recorded(self: EncoderRunner, pixels: np.ndarray, **options: Any) -> Any:
        crops.append(pixels.copy())
        return run(self, pixels, **options)

    monkeypatch.setattr(EncoderRunner, "__call__", recorded)
    table = openmarlin.extract(clips / "single_face.mp4")
    monkeypatch.undo()
    features = openmarlin.load(DEFAULT_ENCODER).encode(np.concatenate(crops))
    np.testing.assert_array_equal(features, table.embeddings)
