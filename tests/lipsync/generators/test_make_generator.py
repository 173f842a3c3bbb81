"""All systems: interface, sizes, folders, published files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from openmarlin.errors import InputError, ModelError
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.critics import QualityCritic
from openmarlin.lipsync.generators.generator import Generator
from openmarlin.lipsync.generators.lipgan import LipGAN
from openmarlin.lipsync.generators.make import load_generator, make_generator, save_generator
from openmarlin.lipsync.generators.speech2vid import Speech2Vid

TINY_VIT: dict[str, Any] = {
    "system": "wav2lip_vit",
    "init": "marlin",
    "encoder": "openmarlin_vit_tiny",
    "encoder_size": 112,
}
SMALL: list[dict[str, Any]] = [
    {"system": "speech2vid", "size": 64},
    {"system": "speech2vid", "size": 96},
    {"system": "speech2vid", "size": 112},
    {"system": "lipgan", "size": 64},
    {"system": "wav2lip", "size": 64},
    {"system": "wav2lip", "size": 128},
    {"system": "attn_wav2lip", "size": 64},
    {**TINY_VIT, "size": 112},
    {**TINY_VIT, "size": 96},
]


def make(fields: dict[str, Any]) -> Generator:
    return make_generator(GeneratorConfig(**{"width": 0.25, **fields})).eval()


def inputs(generator: Generator, count: int = 1, frames: int = 2) -> tuple[Tensor, Tensor]:
    config = generator.config
    frames = config.frames if config.frames > 1 else frames
    rng = torch.Generator().manual_seed(1)
    shape = (count, frames, 1, config.sound.rows, config.sound.columns)
    faces = torch.rand(count, 6, frames, config.size, config.size, generator=rng)
    faces[:, :3, :, config.size // 2 :] = 0
    return torch.randn(shape, generator=rng), faces


@pytest.mark.parametrize("fields", SMALL, ids=lambda f: f"{f['system']}-{f['size']}")
def test_small_ones_draw_and_come_back_from_a_folder(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    generator = make(fields)
    sound, faces = inputs(generator)
    with torch.inference_mode():
        drawn = generator(sound, faces)
    assert drawn.shape == (1, 3, *faces.shape[2:])
    assert ((drawn >= 0) & (drawn <= 1)).all()
    save_generator(tmp_path / "g", generator, {"steps": 3})
    loaded = load_generator(tmp_path / "g")
    assert loaded.config == generator.config
    assert not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(sound, faces), drawn)
    assert json.loads((tmp_path / "g" / "config.json").read_text("utf-8"))["about"] == {"steps": 3}


@pytest.mark.parametrize("system", ["speech2vid", "lipgan", "wav2lip", "attn_wav2lip"])
def test_frames_are_drawn_by_themselves(system: str) -> None:
    generator = make({"system": system, "size": 64})
    sound, faces = inputs(generator, count=2, frames=3)
    with torch.inference_mode():
        together = generator(sound, faces)
        alone = generator(sound[1:, 2:], faces[1:, :, 2:])
    torch.testing.assert_close(together[1:, :, 2:], alone)


@pytest.mark.parametrize("fields", [SMALL[0], *SMALL[3:5], *SMALL[6:8]])
def test_sound_and_all_pictures_reach_the_result(fields: dict[str, Any]) -> None:
    """And everything that is trained gets a gradient."""
    generator = make(fields).train()
    sound, faces = (x.requires_grad_() for x in inputs(generator, count=2))
    generator(sound, faces).square().mean().backward()
    assert sound.grad is not None
    assert faces.grad is not None
    assert sound.grad.abs().sum() > 0
    assert (faces.grad.abs().sum((0, 2, 3, 4)) > 0).all()
    trained = {n: p for n, p in generator.named_parameters() if p.requires_grad}
    assert all(p.grad is not None for p in trained.values())
    assert any(n.startswith("encoder.") for n in trained) is False


def test_weights_come_from_the_seed() -> None:
    before = torch.get_rng_state()
    config = GeneratorConfig(system="wav2lip", width=0.1, size=32)
    a, b, c = make_generator(config), make_generator(config), make_generator(config, seed=1)
    name = "output_block.1.weight"
    assert torch.equal(a.state_dict()[name], b.state_dict()[name])
    assert not torch.equal(a.state_dict()[name], c.state_dict()[name])
    assert torch.equal(torch.get_rng_state(), before)


def test_lipgan_has_the_published_size() -> None:
    generator = LipGAN(GeneratorConfig(system="lipgan"))
    parts = {n: sum(p.numel() for p in m.parameters()) / 1e6 for n, m in generator.named_children()}
    assert sum(parts.values()) == pytest.approx(71.3, abs=0.05)
    assert parts["face"] + parts["face_code"] == pytest.approx(19.4, abs=0.05)
    assert parts["sound"] == pytest.approx(26.8, abs=0.05)
    assert parts["up"] + parts["draw"] == pytest.approx(25.1, abs=0.05)


def test_speech2vid_has_the_published_pictures() -> None:
    generator = Speech2Vid(GeneratorConfig(system="speech2vid", size=112, width=0.1))
    x, sides = torch.zeros(1, 6, 112, 112), []
    for layer in generator.look:
        x = layer(x)
        sides.append(x.shape[-1])
    assert sides == [53, 26, 12]
    x = torch.zeros(1, *_channels(generator), 1, 1)
    assert generator.grow(x).shape[-1] == 12
    steps = zip(generator.refine, (12, 26, 53), strict=True)
    assert [_through(block, side).shape[-1] for block, side in steps] == [26, 53, 109]


def _channels(generator: Speech2Vid) -> tuple[int]:
    return (generator.grow[0].in_channels,)  # type: ignore[return-value]


def _through(block: torch.nn.Module, side: int) -> Tensor:
    channels = next(block.parameters()).shape[0]
    return block(torch.zeros(1, channels, side, side))  # type: ignore[no-any-return]


def test_a_published_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = make_generator(GeneratorConfig(system="wav2lip"))
    path = tmp_path / "wav2lip_gan.pth"
    state = {f"module.{name}": t for name, t in source.state_dict().items()}
    torch.save({"state_dict": state, "optimizer": None}, path)
    generator = load_generator(path)
    assert generator.config.system == "wav2lip"
    assert generator.config.sound_centre_s == pytest.approx(0.05375)  # 16 columns from a frame ago
    ours = generator.state_dict()
    assert all(torch.equal(ours[n], t) for n, t in source.state_dict().items() if "num_" not in n)


def test_what_is_not_a_generator(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no generator 'nothing'"):
        load_generator("nothing")
    torch.save(QualityCritic(0.1).state_dict(), tmp_path / "disc.pth")
    with pytest.raises(ModelError, match="critic"):
        load_generator(tmp_path / "disc.pth")
    with pytest.raises(ModelError, match="holds no generator"):
        load_generator(tmp_path)
    small = make({"system": "wav2lip", "size": 64})
    torch.save(small.state_dict(), tmp_path / "small.pth")
    with pytest.raises(ModelError, match="of another shape"):
        load_generator(tmp_path / "small.pth")
    save_generator(tmp_path / "g", small, {})
    with pytest.raises(InputError):
        save_generator(tmp_path / "g", small, {})
    content = json.loads((tmp_path / "g" / "config.json").read_text("utf-8"))
    (tmp_path / "g" / "config.json").write_text(json.dumps(content | {"size": 100}), "utf-8")
    with pytest.raises(ModelError, match="size 100"):
        load_generator(tmp_path / "g")


def test_shapes_that_do_not_fit() -> None:
    generator = make({"system": "wav2lip", "size": 64})
    sound, faces = inputs(generator)
    for wrong in ((sound[:, :1], faces), (sound, faces[..., :32]), (sound[0], faces)):
        with pytest.raises(ModelError, match="wav2lip takes"):
            generator(*wrong)
