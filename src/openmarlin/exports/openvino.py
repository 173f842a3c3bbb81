"""OpenVINO: model.xml and model.bin."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from openmarlin.exports.network import Network

if TYPE_CHECKING:
    import openvino as ov
else:
    from openmarlin.native import ov  # silent: see there

FILE = "model.xml"


def write(network: Network, folder: Path) -> None:
    """Write a network, in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the converter's own code
        model = ov.convert_model(network.trace())
    for ports, named in ((model.inputs, network.inputs), (model.outputs, network.outputs)):
        for port, name in zip(ports, named, strict=True):
            port.get_tensor().set_names({name})
    model.reshape(
        {
            name: [-1 if isinstance(size, str) else size for size in port.shape]
            for name, port in network.inputs.items()
        }
    )
    model.set_rt_info(json.dumps(network.as_dict()), "openmarlin")
    ov.save_model(model, folder / FILE, compress_to_fp16=False)
