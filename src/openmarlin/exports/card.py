"""The card of an export: README.md, what it is, how it runs, how equal it is, its licence."""

from __future__ import annotations

from collections.abc import Mapping

from openmarlin.exports.comparison import Agreement
from openmarlin.exports.network import Network, Port
from openmarlin.exports.targets import SCRIPT
from openmarlin.model.card import card_head

ABOUT = "export.json"
"""What an export is, for programs; a folder that has it is one."""

_USE = {
    "onnx": "It needs `pip install onnxruntime numpy`.",
    "openvino": "It needs `pip install openvino numpy`.",
    "transformers": "It needs `pip install torch transformers numpy`, or in Python "
    "`VideoMAEModel.from_pretrained(FOLDER)`, which takes pixels in [0, 1].",
}


def write_card(network: Network, target: str, agreements: Mapping[str, Agreement]) -> str:
    """README.md of an export."""
    licence, source = network.as_dict()["licence"], network.about.get("source")
    origin = f" ({source})" if source else ""
    lines = [
        card_head(target, network.licence, ["video", "face", network.kind.replace(" ", "-")]),
        f"# {network.name} for {target}\n",
        f"An export of openmarlin ({network.kind}), float32. `{ABOUT}` says the same for "
        "programs.\n",
        *_ports("input", network.inputs),
        *_ports("output", network.outputs),
        "Sizes with a name are free.\n",
        "## Use\n",
        f"```\npython {SCRIPT} {' '.join(f'{name}.npy' for name in network.inputs)} out.npz\n```\n",
        f"{_USE[target]}\n",
        "## Is it the same?\n",
        f"`{SCRIPT}` was run when this was written, and compared with the model in torch:\n",
        *(f"* {name}: {agreement}" for name, agreement in agreements.items()),
        "",
        "## Licence\n",
        f"Of the weights{origin}: {licence}. An export is under the licence of its model.\n",
    ]
    if network.caution:
        lines += ["## Caution\n", f"{network.caution}\n"]
    if network.card:
        lines += ["## The card of the model\n", network.card, ""]
    return "\n".join(lines)


def _ports(kind: str, ports: Mapping[str, Port]) -> list[str]:
    rows = [
        f"| `{name}` | {port.dtype} ({', '.join(map(str, port.shape))}) | {port.holds} |"
        for name, port in ports.items()
    ]
    return [f"| {kind} | | |", "|---|---|---|", *rows, ""]
