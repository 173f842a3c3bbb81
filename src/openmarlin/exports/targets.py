"""The programs a model can be written for: what writes it, what runs it, what both need."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from openmarlin.errors import InputError, option
from openmarlin.exports.network import Network

SCRIPT = "run.py"


@dataclass(frozen=True)
class Target:
    """A program that runs exports.

    Attributes:
        name: of the module beside this one that writes for it, and of its script.
        needs: packages that must be installed.
        extra: of openmarlin, that installs them.
    """

    name: str
    needs: tuple[str, ...]
    extra: str = ""

    def check(self) -> None:
        """Say what is missing.

        Raises:
            InputError: a package is not installed.
        """
        missing = [name for name in self.needs if find_spec(name) is None]
        if missing:
            raise InputError(
                f"{option('to', self.name)} needs {', '.join(missing)}: install them with `pip "
                f"install 'openmarlin[{self.extra}]'`"
            )

    def write(self, network: Network, folder: Path) -> None:
        """Write the network and the program that runs it.

        Raises:
            ModelError: it has no place in such a format.
        """
        import_module(f"openmarlin.exports.{self.name}").write(network, folder)
        shutil.copyfile(Path(__file__).parent / "scripts" / f"run_{self.name}.py", folder / SCRIPT)


TARGETS = {
    target.name: target
    for target in (
        Target("onnx", ("onnx", "onnxscript", "onnxruntime"), "export"),
        Target("openvino", ("openvino",)),
        Target("transformers", ("transformers",), "transformers"),
    )
}
