"""`export`: a model -> a folder for onnxruntime, OpenVINO or transformers, shown to be the same.

OUT/model.onnx, model.xml, ...   the network; of a model with several, a folder for each
OUT/run.py                       runs it, without openmarlin
OUT/export.json                  inputs, outputs, preprocessing, labels, how equal it is
OUT/README.md                    the card
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.markup import escape

from openmarlin.console import console
from openmarlin.errors import InputError, option
from openmarlin.exports.card import ABOUT, write_card
from openmarlin.exports.comparison import Agreement, as_dict, compare
from openmarlin.exports.network import Network
from openmarlin.exports.settings import ExportSettings
from openmarlin.exports.sources import networks_of
from openmarlin.exports.targets import SCRIPT, TARGETS, Target
from openmarlin.files import atomic_folder, write_json
from openmarlin.model.card import CARD
from openmarlin.settings import documented, read_settings


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        out: the folder.
        agreements: how equal the outputs are to those of torch, by folder below `out` ("" where
            there is one network) and output.
        notes: what a user must know of the model.
    """

    out: Path
    agreements: Mapping[str, Mapping[str, Agreement]]
    notes: tuple[str, ...] = ()


@documented(ExportSettings)
def export(
    model: str | Path,
    *,
    config: str | Path | None = None,
    progress: bool = False,  # noqa: ARG001 - every verb takes it; this one has no steps
    **settings: Any,
) -> Exported:
    """Write a model for another program, run it there, and compare the numbers with torch's.

    Args:
        model: name, folder or checkpoint of an encoder, a model of a task, or a generator.
        config: a recipe, a YAML file of settings; arguments go over it.
        progress: changes nothing.
        {settings}

    Raises:
        OpenMarlinError: there is no such model, it does not fit the format, a package is missing,
            the folder cannot be written, or the export gives other numbers than torch.
    """
    s = read_settings(ExportSettings, config, settings)
    target = TARGETS[s.to]
    target.check()
    _check_out(s.out, s.overwrite)
    networks = networks_of(model)
    agreements = {}
    with atomic_folder(s.out, overwrite=s.overwrite) as folder:
        for name, network in networks.items():
            agreements[name] = _write(network, target, folder / name)
    notes = dict.fromkeys(network.caution for network in networks.values() if network.caution)
    return Exported(s.out, agreements, tuple(notes))


def _write(network: Network, target: Target, folder: Path) -> dict[str, Agreement]:
    folder.mkdir(exist_ok=True)
    target.write(network, folder)
    versions = {name: version(name) for name in ("openmarlin", "torch", *target.needs)}
    about = {"format": target.name, "made_with": versions, **network.as_dict()}
    write_json(folder / ABOUT, about)
    agreements = compare(network, folder)
    write_json(folder / ABOUT, {**about, "compared": as_dict(agreements)})
    card = write_card(network, target.name, agreements)
    (folder / CARD).write_text(card, encoding="utf-8")
    return agreements


def _check_out(out: Path, overwrite: bool) -> None:
    """Only an earlier export is ever replaced."""
    if out.is_file():
        raise InputError(f"{out}: is a file; name a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise InputError(
            f"{out}: is there already; add {option('overwrite', True)} to replace an export, or "
            "name another folder"
        )
    if not any(out.glob(ABOUT)) and not any(out.glob(f"*/{ABOUT}")):
        raise InputError(f"{out}: holds no export, so it is not replaced; name another folder")


def announce(result: Exported) -> None:
    """Say how equal it is, and where it lies."""
    for folder, outputs in result.agreements.items():
        for name, agreement in outputs.items():
            what = f"{folder} {name}".strip()
            console.print(f"{what}: {agreement} to torch, in float32: the same", soft_wrap=True)
    for note in result.notes:
        console.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
    place = result.out if "" in result.agreements else result.out / next(iter(result.agreements))
    console.print(f"-> {escape(str(result.out))} (python {escape(str(place / SCRIPT))})")
