"""Fast running draws the same pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from openmarlin.errors import ModelError
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.generator import Generator
from openmarlin.lipsync.generators.make import make_generator
from openmarlin.lipsync.generators.runner import FAITHFUL_DB, GeneratorRunner
from openmarlin.native import has_bf16
from tests.vivid import make_vivid, psnr

SYSTEMS: list[dict[str, Any]] = [
    {"system": "wav2lip", "size": 96},
    {"system": "attn_wav2lip", "size": 64},
    {"system": "lipgan", "size": 64},
    {"system": "wav2lip_vit", "size": 32, "encoder": "tiny", "encoder_size": 32},
]


def vivid(fields: dict[str, Any]) -> tuple[Generator, Tensor, Tensor]:
    generator = make_generator(GeneratorConfig(width=0.25, **fields))
    return generator, *make_vivid(generator)


@pytest.mark.parametrize("fields", SYSTEMS, ids=lambda f: f"{f['system']}-{f['size']}")
def test_pictures_are_those_of_the_module(fields: dict[str, Any]) -> None:
    generator, sound, faces = vivid(fields)
    with torch.inference_mode():
        expected = generator(sound, faces)
    assert expected.std() > 0.2
    exact = GeneratorRunner(generator, "fp32")
    assert exact.backend == ("openvino" if "wav2lip" in fields["system"][-7:] else "torch")
    assert psnr(exact(sound, faces), expected) > 70
    # These weights are harsh on bfloat16: `auto` must notice.
    auto = GeneratorRunner(generator)
    assert psnr(auto(sound, faces), expected) > FAITHFUL_DB


@pytest.mark.skipif(not has_bf16(), reason="needs bfloat16 in hardware")
@pytest.mark.parametrize("system", ["wav2lip", "lipgan"])
def test_bfloat16_is_for_where_it_does_no_harm(system: str) -> None:
    harsh, sound, faces = vivid({"system": system, "size": 64})
    auto = GeneratorRunner(harsh)
    assert auto.precision == "bf16"
    auto(sound, faces)
    rough = psnr(GeneratorRunner(harsh, "bf16")(sound, faces), harsh(sound, faces).detach())
    assert auto.precision == ("bf16" if rough > FAITHFUL_DB else "fp32")
    mild = make_generator(GeneratorConfig(system=system, width=0.25, size=64)).eval()
    auto = GeneratorRunner(mild)
    with torch.inference_mode():
        assert psnr(auto(sound, faces), mild(sound, faces)) > FAITHFUL_DB
    assert auto.precision == "bf16"
    assert "dB" in auto.reason


def test_the_generator_stays_as_it_was() -> None:
    generator, sound, faces = vivid(SYSTEMS[2])
    generator.train()
    before = {name: t.clone() for name, t in generator.state_dict().items()}
    drawn = GeneratorRunner(generator, "fp32", "torch")(sound, faces)
    assert generator.training
    assert all(torch.equal(t, before[name]) for name, t in generator.state_dict().items())
    with torch.inference_mode():  # batch normalisation as in evaluation
        torch.testing.assert_close(drawn, generator.eval()(sound, faces), atol=1e-3, rtol=0)


def test_no_frames() -> None:
    generator = make_generator(GeneratorConfig(system="wav2lip", width=0.1, size=32))
    runner = GeneratorRunner(generator, threads=1)
    assert runner(torch.zeros(1, 0, 1, 80, 16), torch.zeros(1, 6, 0, 32, 32)).shape == (
        1, 3, 0, 32, 32,
    )  # fmt: skip


def test_requests_that_do_not_fit() -> None:
    generator = make_generator(GeneratorConfig(system="lipgan", width=0.1, size=32))
    with pytest.raises(ModelError, match="openvino"):
        GeneratorRunner(generator, backend="openvino")
    with pytest.raises(ModelError, match="int4"):
        GeneratorRunner(generator, "int4")
    runner = GeneratorRunner(generator)
    with pytest.raises(ModelError, match="lipgan takes"):
        runner(torch.zeros(1, 1, 1, 80, 16), torch.zeros(1, 6, 1, 32, 32))
