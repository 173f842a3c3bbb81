"""Files with weights, whole and broken, as people have them."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from openmarlin.errors import ModelError
from openmarlin.lipsync.blocks import ConvBlock, PlainBlock
from openmarlin.lipsync.checkpoints import describe, identify, load_strictly, read_weights
from openmarlin.lipsync.experts.syncnet import SyncNet
from openmarlin.lipsync.experts.wav2lip_expert import SyncNetColor
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.critics import QualityCritic
from openmarlin.lipsync.generators.make import make_generator

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


@pytest.fixture(scope="module")
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(ConvBlock(3, 4, 3), nn.Sequential(PlainBlock(4, 2, 1))).eval()


def _scripted(net: nn.Module, path: Path) -> None:
    with torch.inference_mode():
        torch.jit.trace(net, torch.zeros(1, 3, 8, 8), check_trace=False).save(str(path))


WRITERS: dict[str, Callable[[nn.Module, Path], None]] = {
    "flat": lambda net, path: torch.save(net.state_dict(), path),
    "old": lambda net, path: torch.save(
        net.state_dict(), path, _use_new_zipfile_serialization=False
    ),
    "nested": lambda net, path: torch.save(
        {
            "state_dict": {f"module.{name}": t for name, t in net.state_dict().items()},
            "optimizer": torch.optim.Adam(net.parameters()).state_dict(),
            "global_step": 3,
            "global_epoch": 1,
        },
        path,
    ),
    "safetensors": lambda net, path: save_file(net.state_dict(), path),
    "torchscript": _scripted,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_all_kinds_of_files(net: nn.Module, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.pth"
    WRITERS[kind](net, path)
    state = read_weights(path)
    expected = {n: t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_half_precision_in_torchscript(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1).half(), nn.Conv2d(4, 2, 1).half()).eval()
    path = tmp_path / "half.pt"
    torch.jit.script(net).save(str(path))
    assert torch.equal(read_weights(path)["1.weight"], net[1].weight.float())


def test_programs_in_torchscript_are_not_run(net: nn.Module, tmp_path: Path) -> None:
    """Neither the code, which here is none, nor what the pickle names."""
    whole, broken, evil = (tmp_path / f"{name}.pt" for name in ("whole", "broken", "evil"))
    _scripted(net, whole)
    trap = tmp_path / "trap"
    with (
        zipfile.ZipFile(whole) as source,
        zipfile.ZipFile(broken, "w") as first,
        zipfile.ZipFile(evil, "w") as second,
    ):
        for name in source.namelist():
            content = source.read(name)
            first.writestr(name, b"no program" if "/code/" in name else content)
            is_tree = name.endswith("/data.pkl")
            second.writestr(name, _trap(trap) if is_tree else content)
    assert read_weights(broken).keys() == read_weights(whole).keys()
    with pytest.raises(ModelError, match="TorchScript"):
        read_weights(evil)
    assert not trap.exists()


def _trap(path: Path) -> bytes:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(path),)  # type: ignore[return-value]

    buffer = io.BytesIO()
    pickle.dump(Trap(), buffer, 2)
    return buffer.getvalue()


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(_trap(tmp_path / "trap"))
    with pytest.raises(ModelError):
        read_weights(path)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"\n\n <html lang='en'>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "git lfs pull"),
        (b"", "empty"),
        (b"\x00\x01\x02 nonsense", "not a checkpoint"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "wav2lip.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert "wav2lip.pth" in str(caught.value)


@pytest.mark.parametrize("kind", ["flat", "old", "safetensors", "torchscript"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_files_that_are_cut_short(net: nn.Module, tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "weights.pth"
    WRITERS[kind](net, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"cut short|damaged") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_a_value_that_is_cut_short_in_torchscript(net: nn.Module, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pt", tmp_path / "short.pt"
    _scripted(net, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[:1] if name.endswith("/data/0") else content)
    with pytest.raises(ModelError, match="damaged"):
        read_weights(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        read_weights(tmp_path / "no.pth")


def _meta(make: Callable[[], nn.Module]) -> dict[str, Tensor]:
    with torch.device("meta"):
        return make().state_dict()


@pytest.mark.parametrize(
    ("make", "system"),
    [
        (SyncNet, "syncnet"),
        (SyncNetColor, "wav2lip_expert"),
        (lambda: SyncNetColor(16), "wav2lip_expert_16"),
        (lambda: make_generator(GeneratorConfig(system="wav2lip", width=0.1)), "wav2lip"),
        (lambda: make_generator(GeneratorConfig(system="attn_wav2lip", width=0.1)), "attn_wav2lip"),
        (QualityCritic, "wav2lip_critic"),
        (lambda: nn.Linear(1, 1), ""),
    ],
)
def test_networks_are_told_by_their_names(make: Callable[[], nn.Module], system: str) -> None:
    state = _meta(make)
    assert identify(state) == system
    assert describe(state)


def test_what_does_not_fit_is_listed(net: nn.Module) -> None:
    state = dict(net.state_dict())
    del state["0.conv_block.0.bias"]
    state["odd"] = torch.zeros(1)
    state["1.0.conv_block.0.weight"] = torch.zeros(3, 3)
    with pytest.raises(ModelError) as caught:
        load_strictly(net, state, "there.pth")
    text = str(caught.value)
    for part in ("there.pth", "1 missing (0.conv_block.0.bias)", "odd", "(3, 3), not (2, 4, 1, 1)"):
        assert part in text
