"""Optimisers and learning-rate schedules: a `Recipe` in, a torch optimizer and its scheduler out."""

import functools
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from fewlabels.errors import UserError

NAMES = ("adamw", "sgd", "lars")
SCHEDULES = ("cosine", "constant", "step")
_KEY = "method.optimizer"
_log = logging.getLogger(__name__)


class LARS(Optimizer):
    """SGD with momentum whose rate adapts to each layer (You et al. 2017, arXiv 1708.03888, algorithm 1).

        local = eta * |w| / (|g| + weight_decay * |w|)
        v <- momentum * v + lr * local * (g + weight_decay * w)
        w <- w - v

    `local` is 1 where |w| or |g| is 0, and in groups with `adapt=False`, as SimCLR's code has biases and norms.

    Args:
        params: parameters, or groups of them, which may override the values below.
        lr: the global rate.
        momentum: of the velocity, which holds the rate already.
        weight_decay: L2, inside the adapted gradient.
        eta: the trust coefficient; 0.001 in SimCLR's code.
        adapt: whether the layers' rates adapt at all.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 0.001,
        adapt: bool = True,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta, "adapt": adapt}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every parameter that has a gradient; returns the closure's loss, if a closure is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)
        return loss

    def _move(self, weight: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        update = grad.add(weight, alpha=group["weight_decay"])
        if group["adapt"]:
            update *= _local_rate(weight, grad, group["weight_decay"], group["eta"])
        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight)
        velocity = state["velocity"].mul_(group["momentum"]).add_(update, alpha=group["lr"])
        weight -= velocity


def _local_rate(weight: Tensor, grad: Tensor, weight_decay: float, eta: float) -> Tensor:
    w_norm, g_norm = weight.norm(), grad.norm()
    rate = eta * w_norm / (g_norm + weight_decay * w_norm)
    return torch.where((w_norm > 0) & (g_norm > 0), rate, torch.ones_like(rate))


def lr_factor(
    step: int,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    schedule: str = "cosine",
    min_fraction: float = 0.0,
    milestones: Sequence[float] = (),
    gamma: float = 1.0,
) -> float:
    """The fraction of the full learning rate that step number `step` is taken with.

    Linear warm-up: (step + 1) / warmup_steps, so that no step has a rate of 0 (Goyal et al. 2017, section
    2.2). Then "cosine": from 1 to `min_fraction` at `total_steps` (Loshchilov & Hutter 2017, equation 5; no
    restarts); "constant": 1; "step": `gamma` to the power of the milestones reached (RotNet, Gidaris et al.
    2018, section 3.1: a fifth after 30, 60 and 80% of training).

    Args:
        step: counted from 0, in optimizer steps over the whole run.
        total_steps: the run's length.
        warmup_steps: how many of them warm up.
        schedule: one of `SCHEDULES`.
        min_fraction: where the cosine ends.
        milestones: fractions of `total_steps`.
        gamma: the factor at each milestone.

    Returns:
        A number in [0, 1] (for gamma <= 1).
    """
    assert schedule in SCHEDULES, schedule
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return float(gamma ** sum(step >= round(fraction * total_steps) for fraction in milestones))
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return min_fraction + (1 - min_fraction) * 0.5 * (1 + math.cos(math.pi * progress))


def _number(x: Any, low: float = 0.0, high: float = math.inf) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and low <= x < high


def _positive(x: Any) -> bool:
    return _number(x) and x > 0


def _fractions(xs: Any) -> bool:
    return isinstance(xs, Sequence) and all(_number(x, high=1) for x in xs)


_CHECKS: Final[tuple[tuple[str, Callable[[Any], bool], str], ...]] = (
    ("name", NAMES.__contains__, f"one of {', '.join(NAMES)}"),
    ("schedule", SCHEDULES.__contains__, f"one of {', '.join(SCHEDULES)}"),
    ("lr eta gamma", _positive, "a finite number above 0, such as 0.001"),
    ("weight_decay warmup_epochs", _number, "a finite number, at least 0"),
    ("momentum min_lr_fraction", lambda x: _number(x, high=1), "a number at least 0 and below 1"),
    ("betas", lambda xs: _fractions(xs) and len(xs) == 2, "two numbers below 1, such as [0.9,0.999]"),
    ("milestones", _fractions, "fractions of training, such as [0.3,0.6,0.8]"),
)


@dataclass(frozen=True)
class Recipe:
    """How to train: the optimizer, its rate for any batch size, and the schedule.

    Attributes:
        name: "adamw", "sgd" or "lars".
        lr: per 256 images; the rate used is lr * global_batch / 256 (Goyal et al. 2017, section 2.1).
        weight_decay: on weights only; biases and norm layers (1-D parameters) are never decayed.
        momentum: of sgd and lars.
        nesterov: of sgd.
        betas: of adamw.
        warmup_epochs: of linear warm-up; fractions are fine.
        schedule: "cosine" (to `min_lr_fraction` of the rate), "constant" or "step"; see `lr_factor`.
        min_lr_fraction: where the cosine ends.
        milestones: of "step", in fractions of training; at each the rate falls by the factor `gamma`.
        gamma: of "step".
        eta: of lars, the trust coefficient.

    Raises:
        UserError: a value that no training can use.
    """

    name: str
    lr: float
    weight_decay: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    betas: Sequence[float] = (0.9, 0.999)
    warmup_epochs: float = 0.0
    schedule: str = "cosine"
    min_lr_fraction: float = 0.0
    milestones: Sequence[float] = (0.3, 0.6, 0.8)
    gamma: float = 0.2
    eta: float = 0.001

    def __post_init__(self) -> None:
        for keys, accepts, remedy in _CHECKS:
            for key in keys.split():
                value = getattr(self, key)
                if not accepts(value):
                    raise UserError(f"{_KEY}.{key}={value!r} cannot be used: give {remedy}.")
        if self.nesterov and self.momentum == 0:
            raise UserError(f"{_KEY}.nesterov=true needs {_KEY}.momentum above 0, such as 0.9; it is 0.")

    def build(
        self, modules: nn.Module, *, global_batch: int, steps_per_epoch: int, total_steps: int
    ) -> tuple[Optimizer, LRScheduler]:
        """Make the optimizer of all trainable parameters of `modules`, and a scheduler to step once per step.

        Args:
            modules: what to train, on the device that it will train on.
            global_batch: images per optimizer step: all devices, all accumulated batches.
            steps_per_epoch: optimizer steps in an epoch.
            total_steps: optimizer steps in the run.

        Raises:
            UserError: there is no step to take.
        """
        assert global_batch >= 1, global_batch
        if total_steps < 1 or steps_per_epoch < 1:
            raise UserError(
                f"Nothing to train: {steps_per_epoch} steps per epoch, {total_steps} in all; 1 is the least. "
                "Raise trainer.max_epochs, or lower data.batch_size below the number of images per device."
            )
        optimizer = self._optimizer(modules, self.lr * global_batch / 256)
        return optimizer, LambdaLR(optimizer, self._factor(steps_per_epoch, total_steps))

    def _optimizer(self, modules: nn.Module, lr: float) -> Optimizer:
        groups = _groups(modules, self.weight_decay)
        if self.name == "lars":
            groups[-1]["adapt"] = False
            return LARS(groups, lr, momentum=self.momentum, eta=self.eta)
        # On a CPU "fused" takes a quarter of the time of torch's plain loop over the parameters.
        fused = next(modules.parameters()).device.type in ("cpu", "cuda")
        optimizer: SGD | AdamW
        if self.name == "sgd":
            optimizer = SGD(groups, lr, momentum=self.momentum, nesterov=self.nesterov, fused=fused)
        else:
            optimizer = AdamW(groups, lr, betas=(self.betas[0], self.betas[1]), fused=fused)
        # Else Lightning refuses trainer.gradient_clip_val in mixed precision (GradScaler unscales first).
        optimizer._step_supports_amp_scaling = False
        return optimizer

    def _factor(self, steps_per_epoch: int, total_steps: int) -> Callable[[int], float]:
        warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        if warmup_steps >= total_steps:
            _log.warning("%s.warmup_epochs=%g: the run ends while it warms up.", _KEY, self.warmup_epochs)
        return functools.partial(
            lr_factor,
            total_steps=total_steps,
            warmup_steps=warmup_steps,
            schedule=self.schedule,
            min_fraction=self.min_lr_fraction,
            milestones=tuple(self.milestones),
            gamma=self.gamma,
        )


def _groups(modules: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights, which decay; then biases and norm layers (whatever is 1-D), which do not."""
    trainable = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    assert trainable, "no trainable parameter"
    weights = [parameter for parameter in trainable if parameter.ndim > 1]
    others = [parameter for parameter in trainable if parameter.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
