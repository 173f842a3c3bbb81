"""Devices, precision and processes: the one place that knows them, by way of Lightning Fabric."""

from __future__ import annotations

import inspect
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from lightning_fabric.plugins.precision.precision import Precision
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset

from openmarlin import torchrun
from openmarlin.errors import TrainingError, option
from openmarlin.model.layers import Block
from openmarlin.model.tensor_files import Tensors
from openmarlin.native import has_bf16
from openmarlin.training.loader import load_batches
from openmarlin.training.settings import RunSettings

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_PEER_GONE = re.compile(
    r"gloo/transport|NCCL (error|communicator)|Connection (closed|reset) by peer"
)
"""What a process hears of one that died, where it computes something together with it."""


class _Mixed(MixedPrecision):
    """Products of matrices in bfloat16; what comes out is not blown up again."""

    def __init__(self, accelerator: str) -> None:
        super().__init__("bf16-mixed", "cpu" if accelerator == "cpu" else "cuda")

    def convert_output(self, data: Any) -> Any:
        return data


def is_main_process() -> bool:
    """Whether this process speaks and writes; it can be asked before anything is launched."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


class Engine:
    """Runs modules on whatever there is.

    It is entered to meet the other processes, and what it changes in its own one meanwhile (torch's
    precision, warnings, what Fabric logs) is as before once it is left.

    Args:
        accelerator: auto, cpu, cuda, ...
        devices: how many of them on this machine, or `auto`. Under torchrun it decides.
        nodes: machines.
        strategy: `ddp` or `fsdp`.
        precision: auto, fp32 or bf16.

    Attributes:
        precision: fp32 or bf16, and why: one sentence.

    Raises:
        TrainingError: there are no such devices.
    """

    def __init__(
        self,
        *,
        accelerator: str = "auto",
        devices: int | str = "auto",
        nodes: int = 1,
        strategy: str = "ddp",
        precision: str = "auto",
    ) -> None:
        if accelerator == "auto":
            accelerator = "cuda" if torch.cuda.is_available() else "cpu"
        if "LOCAL_WORLD_SIZE" in os.environ:
            devices = int(os.environ["LOCAL_WORLD_SIZE"])
            nodes = int(os.environ["WORLD_SIZE"]) // devices
        if devices == "auto":
            devices = max(1, torch.cuda.device_count()) if accelerator in ("cuda", "gpu") else 1
        self.world = int(devices) * nodes
        self.precision, self.reason = _choose_precision(precision, accelerator)
        self._undo = ExitStack()
        try:
            self.fabric = Fabric(
                accelerator=accelerator,
                devices=devices,
                num_nodes=nodes,
                strategy=_strategy(strategy, self.world),
                plugins=[_Mixed(accelerator) if self.precision == "bf16" else Precision()],
            )
        except (MisconfigurationException, ValueError, RuntimeError) as error:
            raise TrainingError(
                f"{devices} device(s) of kind '{accelerator}' cannot be used: "
                f"{str(error).strip().splitlines()[0]}"
            ) from error

    @classmethod
    def of(cls, settings: RunSettings) -> Self:
        """As the settings of a run say."""
        return cls(
            accelerator=settings.accelerator,
            devices=settings.devices,
            nodes=settings.nodes,
            strategy=settings.strategy,
            precision=settings.precision,
        )

    def __enter__(self) -> Self:
        """Start the other processes, each of which runs the same command, and meet them."""
        self._undo.enter_context(_quiet())
        if self.world > 1 and torchrun.is_worker():
            self._meet()
        self.fabric.launch()
        if self.device.type != "cpu":
            self._undo.callback(
                torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()
            )
            torch.set_float32_matmul_precision("high")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The variables by which Fabric's processes find each other stay: a second call in the same
        # script meets the same processes again.
        self._undo.close()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        if isinstance(error, RuntimeError) and _PEER_GONE.search(str(error)):
            raise TrainingError(
                "another process of this run is gone, see what it said; torchrun starts all again "
                f"if it has --max-restarts, otherwise run again with {option('resume', True)}"
            ) from None

    def _meet(self) -> None:
        """Meet the processes that torchrun has started; Fabric takes the group as it is."""
        rank = int(os.environ["RANK"])
        torch.distributed.init_process_group(
            "gloo" if self.fabric.device.type == "cpu" else "nccl",
            store=torchrun.meet(rank, self.world),
            rank=rank,
            world_size=self.world,
        )

    @property
    def rank(self) -> int:
        return self.fabric.global_rank

    @property
    def device(self) -> torch.device:
        return self.fabric.device

    # Modules

    def setup(
        self,
        module: nn.Module,
        make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Copy a module to the devices, or divide it among them, and make its optimizer.

        The module is called through what is returned; its state is asked for from the module.
        """
        wrapped = cast(nn.Module, self.fabric.setup_module(module))
        optimizer = self.fabric.setup_optimizers(make_optimizer(module))
        return wrapped, cast(torch.optim.Optimizer, optimizer)

    def autocast(self, precision: str) -> AbstractContextManager[None]:
        """For a module that is called as it is: `auto` is what the wrapped one has."""
        precision = self.precision if precision == "auto" else precision
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16")

    def no_sync(self, module: nn.Module, enabled: bool) -> AbstractContextManager[None]:
        """While a step's first batches go backward, gradients are not yet averaged."""
        if self.world == 1 or not enabled:
            return nullcontext()
        return cast(
            AbstractContextManager[None],
            self.fabric.no_backward_sync(module),  # type: ignore[arg-type]
        )

    def backward(self, loss: Tensor, module: nn.Module) -> None:
        self.fabric.backward(loss, model=module)  # type: ignore[arg-type]

    def clip_gradients(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, bound: float
    ) -> None:
        """Scale the whole gradient down to a norm of at most `bound`."""
        self.fabric.clip_gradients(
            module,
            optimizer,
            max_norm=bound,
            error_if_nonfinite=False,
        )

    def average_gradients(self, module: nn.Module) -> None:
        """For a small module that every process holds as it is: one exchange for all of it."""
        if self.world == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = self.mean(torch.cat([grad.flatten() for grad in gradients]))
        for grad, part in zip(
            gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
        ):
            grad.copy_(part.view_as(grad))

    def local_parameters(self, module: nn.Module) -> list[Tensor]:
        """What this process has of the parameters (a part under fsdp), to work on in place."""
        parameters = [parameter.detach() for parameter in module.parameters()]
        return [p.to_local() if isinstance(p, DTensor) else p for p in parameters]

    def state(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Tensors, Tensors]:
        """Whole tensors of the module, and of its optimizer by "parameter.what", on the CPU.

        Every process must call it.
        """
        inner = _inner(optimizer)
        weights = {name: _whole(tensor) for name, tensor in module.state_dict().items()}
        moments = {
            f"{name}.{what}": _whole(tensor)
            for name, parameter in module.named_parameters()
            for what, tensor in inner.state[parameter].items()
        }
        return weights, moments

    @torch.no_grad()
    def load_weights(self, module: nn.Module, weights: Tensors) -> None:
        """Put whole tensors into a module that may be divided among processes."""
        for name, tensor in module.state_dict().items():
            tensor.copy_(_divided(weights[name], tensor))

    def load_optimizer(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, moments: Tensors
    ) -> None:
        """Put back what `state` returned of an optimizer."""
        inner, parameters = _inner(optimizer), dict(module.named_parameters())
        for key, moment in moments.items():
            name, _, what = key.rpartition(".")
            like = parameters[name]
            here = moment.to(self.device) if what == "step" else _divided(moment, like)
            inner.state[like][what] = here

    # Processes

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes."""
        return cast(Tensor, self.fabric.all_reduce(values, reduce_op="mean"))

    def gather(self, content: Any) -> list[Any]:
        """What each process has, in the order of ranks."""
        if self.world == 1:
            return [content]
        contents: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(contents, content)
        return contents

    def any(self, here: bool) -> bool:
        """Whether it is so in any process."""
        if self.world == 1:
            return here
        flag = torch.tensor(float(here), device=self.device)
        return bool(self.mean(flag).item() > 0)

    def peak_memory_gb(self) -> float:
        """Most memory this process has held: of the GPU where there is one; 0 where none tells."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 1e9
        if resource is None:
            return 0.0
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9

    def barrier(self) -> None:
        self.fabric.barrier()

    # Data

    def load(
        self, dataset: Dataset[Any], batches: Iterable[list[Any]], workers: int | None
    ) -> Generator[dict[str, Any], None, None]:
        """Batches on the device; see `openmarlin.training.loader.load_batches`."""
        return load_batches(dataset, batches, self.device, workers, self.fabric.world_size)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Fabric and torch would say about things that are meant to be so."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Nobody writes into the view.
            warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
            yield
    finally:
        logger.setLevel(level)


def _choose_precision(precision: str, accelerator: str) -> tuple[str, str]:
    if precision != "auto":
        return precision, "asked for"
    if accelerator == "cpu":
        fast, chip = has_bf16(), "this CPU"
    elif accelerator in ("cuda", "gpu"):
        fast, chip = torch.cuda.is_bf16_supported(including_emulation=False), "this GPU"
    else:
        fast, chip = False, f"'{accelerator}'"
    if fast:
        return "bf16", f"{chip} multiplies bfloat16 in hardware"
    return "fp32", f"{chip} does not multiply bfloat16 in hardware"


def _strategy(name: str, world: int) -> Any:
    if name == "fsdp":
        return ModelParallelStrategy(_divide, data_parallel_size=world, tensor_parallel_size=1)
    if world == 1:
        return "auto"
    # The buffers are tables that never change. Newer torch has another name for that.
    parameters = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"
    options: dict[str, Any] = {name: False, "gradient_as_bucket_view": True}
    return DDPStrategy(**options)


def _divide(module: nn.Module, mesh: Any) -> nn.Module:
    """FSDP: each transformer block is a unit, the rest is one."""
    from torch.distributed.fsdp import fully_shard

    data_mesh = mesh["data_parallel"]
    for part in module.modules():
        if isinstance(part, Block):
            fully_shard(part, mesh=data_mesh)
    # Divided again after every forward pass, or a checkpoint would meet whole parameters.
    return cast(nn.Module, fully_shard(module, mesh=data_mesh, reshard_after_forward=True))


def _inner(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The one that Fabric wraps."""
    return cast(torch.optim.Optimizer, getattr(optimizer, "optimizer", optimizer))


def _whole(tensor: Tensor) -> Tensor:
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().cpu()


def _divided(whole: Tensor, like: Tensor) -> Tensor:
    here = whole.to(like.device)
    if isinstance(like, DTensor):
        return distribute_tensor(here, like.device_mesh, like.placements)
    return here


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full; that of the CPU has no type of its own."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)
