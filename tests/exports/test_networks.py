"""Networks as they are exported: in torch they say what the models say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from task_models import ACTIONS, AFFECT, MOOD, SMILE, WIDTH, attentive_head, encoder, task_model

from openmarlin.exports.encoders import encoder_network, task_network
from openmarlin.exports.generators import dubber_networks, generator_network
from openmarlin.exports.network import Network
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.generator import network_inputs
from openmarlin.lipsync.generators.make import make_generator
from openmarlin.lipsync.shipped import DEFAULT_MOUTH_MODEL
from openmarlin.lipsync.small.model import SmallDubber
from openmarlin.model.runner import EncoderRunner
from openmarlin.model.zoo import find_model
from openmarlin.tasks.inference import PoolingEncoder
from openmarlin.tasks.labels import Target


def test_an_encoder_takes_bytes_and_gives_what_extract_gives_in_float32() -> None:
    model = encoder()
    network = encoder_network(model)
    clips = network.example()["clips"]
    given = network.run({"clips": clips})
    features, tokens = EncoderRunner(model, "fp32", "torch")(clips, tokens=True)
    np.testing.assert_allclose(given["features"], features, atol=1e-5)
    np.testing.assert_allclose(given["tokens"], tokens, atol=1e-5)


@pytest.mark.parametrize("target", [SMILE, MOOD, ACTIONS, AFFECT], ids=lambda t: t.kind)
@pytest.mark.parametrize("attentive", [False, True], ids=["linear", "attentive"])
def test_a_task_answers_as_its_model_does(target: Target, attentive: bool) -> None:
    head = None
    if attentive:
        head = attentive_head(len(target.outputs))
        with torch.no_grad():
            head.linear.weight.mul_(1e3)  # or all answers were the same
    model = task_model(target, head, temperature=1.7)
    network = task_network(model)
    clips = network.example(3)["clips"]
    pooled, _ = PoolingEncoder(model, "fp32", "torch")(clips)
    given = network.run({"clips": clips})
    np.testing.assert_allclose(given["answers"], model.answer(pooled), atol=1e-5)
    assert given["features"].shape == (5, WIDTH)
    assert np.ptp(given["answers"], axis=0).max() > 1e-3


def test_a_task_says_what_its_answers_mean() -> None:
    network = task_network(task_model(MOOD))
    assert network.about["labels"]["outputs"] == ["calm", "happy", "sad"]
    assert network.as_dict()["outputs"]["answers"]["shape"] == ["clips", 3]
    assert network.about["preprocessing"]["rate"] == 2
    limits = task_network(task_model(SMILE, thresholds=(0.4,))).about["labels"]["thresholds"]
    assert limits == {"1": 0.4}


def test_a_generator_takes_bytes_and_hides_the_lower_half_itself() -> None:
    config = GeneratorConfig(system="wav2lip", width=0.25, size=64)
    generator = make_generator(config).eval()
    network = generator_network(generator, "mine")
    inputs = network.example()
    (given,) = network.run(inputs).values()
    sound, faces, others = (torch.from_numpy(array) for array in inputs.values())
    with torch.no_grad():
        drawn = generator(sound, network_inputs(faces, others)[1])
    np.testing.assert_allclose(given, drawn.permute(0, 2, 3, 4, 1).numpy(), atol=1e-6)
    other_mouths = inputs["faces"].copy()
    other_mouths[:, :, 32:] = 255 - other_mouths[:, :, 32:]
    np.testing.assert_array_equal(network.run({**inputs, "faces": other_mouths})["pictures"], given)


def test_a_small_dubber_has_two_stages() -> None:
    model = SmallDubber.load(find_model(DEFAULT_MOUTH_MODEL))
    networks = dubber_networks(model)
    assert list(networks) == ["shape", "renderer"]
    inputs = networks["shape"].example(20)
    shapes = networks["shape"].run(inputs)["shapes"]
    with torch.no_grad():
        expected = model.shape_net(*(torch.from_numpy(array) for array in inputs.values()))
    np.testing.assert_allclose(shapes, model.config.gain * expected.numpy(), rtol=1e-5)
    assert networks["shape"].free_sizes() == ["clips", "columns", "places"]
    pictures = networks["renderer"].run(networks["renderer"].example())["pictures"]
    assert pictures.shape == (2, 96, 96, 3)
    assert 0 <= pictures.min() < pictures.max() <= 1


def test_examples_differ_in_every_direction_and_are_the_same_every_time() -> None:
    network: Network = encoder_network(encoder())
    clips, again = network.example()["clips"], network.example()["clips"]
    np.testing.assert_array_equal(clips, again)
    assert clips.dtype == np.uint8
    for axis in range(clips.ndim):
        assert not np.array_equal(clips, np.flip(clips, axis))
    assert len(network.example(1)["clips"]) == len(clips) + 1
