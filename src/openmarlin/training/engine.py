"""Devices, precision and processes: the one place that knows them, by way of Lightning Fabric."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import cv2
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
from torch.utils.data import DataLoader, Dataset

from openmarlin.errors import OpenMarlinError, TrainingError
from openmarlin.model.layers import Block
from openmarlin.native import has_bf16, one_opencv_thread

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

Tensors = dict[str, Tensor]

_GRACE_S = 60


class _Mixed(MixedPrecision):
    """Products of matrices in bfloat16; what comes out is not blown up again."""

    def __init__(self, accelerator: str) -> None:
        super().__init__("bf16-mixed", "cpu" if accelerator == "cpu" else "cuda")

    def convert_output(self, data: Any) -> Any:
        return data


def is_main_process() -> bool:
    """Whether this process speaks and writes; known before anything is launched."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


class Engine:
    """Runs modules on whatever there is.

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
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        if accelerator == "auto":
            accelerator = "cuda" if torch.cuda.is_available() else "cpu"
        if "LOCAL_WORLD_SIZE" in os.environ:
            devices = int(os.environ["LOCAL_WORLD_SIZE"])
            nodes = int(os.environ["WORLD_SIZE"]) // devices
        if devices == "auto":
            devices = max(1, torch.cuda.device_count()) if accelerator in ("cuda", "gpu") else 1
        self.world = int(devices) * nodes
        self.precision, self.reason = _choose_precision(precision, accelerator)
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

    def launch(self) -> None:
        """Start the other processes, each of which runs the same command, and meet them."""
        self.fabric.launch()
        if self.device.type != "cpu":
            torch.set_float32_matmul_precision("high")

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
        wanted = self.precision if precision == "auto" else precision
        return torch.autocast(self.device.type, torch.bfloat16, enabled=wanted == "bf16")

    def holding_back(self, module: nn.Module, enabled: bool) -> AbstractContextManager[None]:
        """While a step's first batches go backward, gradients are not yet averaged."""
        if self.world == 1:
            return nullcontext()
        return cast(
            AbstractContextManager[None],
            self.fabric.no_backward_sync(module, enabled=enabled),  # type: ignore[arg-type]
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

    def held(self, module: nn.Module) -> list[Tensor]:
        """What this process holds of the parameters, to work on in place."""
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

    def load_moments(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, moments: Tensors
    ) -> None:
        """Put back what `state` told of an optimizer."""
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

    def gather(self, what: Any) -> list[Any]:
        """What each process has, in the order of ranks."""
        if self.world == 1:
            return [what]
        everything: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(everything, what)
        return everything

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

    def close(self) -> None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    # Data

    def load(
        self, dataset: Dataset[Any], batches: Iterable[list[Any]], workers: int | None
    ) -> Generator[dict[str, Any], None, None]:
        """Batches on the device, prepared by worker processes while the device computes.

        Raises:
            OpenMarlinError: a worker's, as the one line it was.
        """
        on_gpu = self.device.type == "cuda"
        count = _count_workers(self.fabric.world_size) if workers is None else workers
        loader = DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=count,
            pin_memory=on_gpu,
            worker_init_fn=_start_worker if count else None,
        )
        # A fork copies not OpenCV's threads but what waits for them: a worker would wait forever.
        with one_opencv_thread():
            batches_here = iter(loader)
        try:
            for batch in batches_here:
                yield {
                    name: value.to(self.device, non_blocking=on_gpu)
                    if isinstance(value, Tensor)
                    else value
                    for name, value in batch.items()
                }
        except OpenMarlinError as error:
            raise type(error)(_own_words(error)) from None
        finally:  # now, not when nobody remembers the iterator: workers take their time for signals
            getattr(batches_here, "_shutdown_workers", lambda: None)()


def _choose_precision(asked: str, accelerator: str) -> tuple[str, str]:
    if asked != "auto":
        return asked, "asked for"
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
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {name: False, "gradient_as_bucket_view": True}
    return DDPStrategy(**options)


def _divide(module: nn.Module, mesh: Any) -> nn.Module:
    """FSDP: each transformer block is a unit, the rest is one."""
    from torch.distributed.fsdp import fully_shard

    warnings.filterwarnings(
        "ignore", "FSDP2-wrapped module .* returned a view"
    )  # nobody adds to it
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


def _count_workers(processes: int) -> int:
    return max(1, min(8, (os.cpu_count() or 1) // processes))


def _start_worker(_: int) -> None:
    # Signals may be sent to all processes: who trains then saves, and no loader may end before.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_S))
    torch.set_num_threads(1)
    if cv2.getNumThreads() != 1:  # where workers are not forked
        cv2.setNumThreads(1)


def _own_words(error: Exception) -> str:
    """A loader packs a worker's error into its traceback; the last line is what it said."""
    text = str(error).strip()
    if "Traceback" not in text:
        return text
    return text.splitlines()[-1].partition(": ")[2]
