"""Optimisers and learning-rate schedules: a `Recipe` in, a torch optimizer and its scheduler out."""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from fewlabels.errors import UserError
from fewlabels.lars import LARS

NAMES = ("adamw", "sgd", "lars")
SCHEDULES = ("cosine", "constant", "step")
_KEY = "method.optimizer"
_log = logging.getLogger(__name__)


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


class Slow(NamedTuple):
    """A part of what is trained that learns more slowly than the rest, or begins later.

    Until it begins its rate is 0; its gradients are computed all the same, so that DDP knows all parameters from the
    start.

    Attributes:
        module: The part.
        factor: Of the rest's rate.
        after: Optimizer steps until it begins.
    """

    module: nn.Module
    factor: float
    after: int = 0


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
        self,
        modules: nn.Module,
        *,
        global_batch: int,
        steps_per_epoch: int,
        total_steps: int,
        slow: Slow | None = None,
    ) -> tuple[Optimizer, LRScheduler]:
        """Make the optimizer of all trainable parameters of `modules`, and a scheduler to step once per step.

        Args:
            modules: what to train, on the device that it will train on.
            global_batch: images per optimizer step: all devices, all accumulated batches.
            steps_per_epoch: optimizer steps in an epoch.
            total_steps: optimizer steps in the run.
            slow: a part of `modules` with a rate of its own.

        Raises:
            UserError: there is no step to take.
        """
        assert global_batch >= 1, global_batch
        if total_steps < 1 or steps_per_epoch < 1:
            raise UserError(
                f"Nothing to train: {steps_per_epoch} steps per epoch, {total_steps} in all; 1 is the least. "
                "Raise trainer.max_epochs, or lower data.batch_size below the number of images per device."
            )
        groups = _groups(modules, self.weight_decay, slow)
        factor = self._factor(steps_per_epoch, total_steps)
        slowly = lambda step: factor(step) * slow.factor * (step >= slow.after) if slow else 0.0  # noqa: E731
        factors = [slowly if group.pop("slow") else factor for group in groups]
        optimizer = self._optimizer(groups, self.lr * global_batch / 256)
        return optimizer, LambdaLR(optimizer, factors)

    def _optimizer(self, groups: list[dict[str, Any]], lr: float) -> Optimizer:
        if self.name == "lars":
            for group in groups[1::2]:
                group["adapt"] = False
            return LARS(groups, lr, momentum=self.momentum, eta=self.eta)
        # On a CPU "fused" takes a quarter of the time of torch's plain loop over the parameters.
        first = next(parameter for group in groups for parameter in group["params"])
        fused = first.device.type in ("cpu", "cuda")
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


def _groups(modules: nn.Module, weight_decay: float, slow: Slow | None) -> list[dict[str, Any]]:
    """Weights, which decay; then biases and norm layers (whatever is 1-D), which do not; those of a slow part apart."""
    trainable = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    assert trainable, "no trainable parameter"
    apart = {id(parameter) for parameter in slow.module.parameters()} if slow else set()
    groups: list[dict[str, Any]] = []
    for slowly in (False, True) if slow else (False,):
        part = [parameter for parameter in trainable if (id(parameter) in apart) == slowly]
        for decay, chosen in (weight_decay, lambda p: p.ndim > 1), (0.0, lambda p: p.ndim <= 1):
            groups.append({"params": [*filter(chosen, part)], "weight_decay": decay, "slow": slowly})
    return groups
