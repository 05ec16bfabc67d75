"""Optimizers and learning-rate schedules: `OptimizerConfig` builds a torch optimizer and its scheduler."""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from fewlabels.core.errors import UserError
from fewlabels.core.lars import LARS

NAMES = ("adamw", "sgd", "lars")
SCHEDULES = ("cosine", "constant", "step")
KEY = "method.optimizer"
log = logging.getLogger(__name__)


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
    """Learning rate of an optimizer step, as a fraction of the full learning rate.

    Linear warm-up: (step + 1) / warmup_steps, so the first step is above 0 (Goyal et al. 2017, section 2.2). Then
    "cosine": from 1 to `min_fraction` at `total_steps`, without restarts (Loshchilov & Hutter 2017, equation 5);
    "constant": 1; "step": `gamma` to the power of the milestones passed (RotNet, Gidaris et al. 2018, section 3.1:
    gamma 0.2 at 30, 60 and 80% of training).

    Args:
        step: Optimizer step of the run, from 0.
        total_steps: Optimizer steps of the run.
        warmup_steps: Optimizer steps of the warm-up.
        schedule: One of `SCHEDULES`.
        min_fraction: Final value of "cosine".
        milestones: Fractions of `total_steps`, of "step".
        gamma: Factor at each milestone, of "step".

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
    ("layer_decay", lambda x: _positive(x) and x <= 1, "a number above 0 and at most 1, such as 0.75"),
    ("betas", lambda xs: _fractions(xs) and len(xs) == 2, "two numbers below 1, such as [0.9,0.999]"),
    ("milestones", _fractions, "fractions of training, such as [0.3,0.6,0.8]"),
)


class ParameterGroup(NamedTuple):
    """Parameters with their own learning rate, or trained only from some step on.

    Before that step their learning rate is 0, but their gradients are computed, since DDP expects gradients of all
    parameters in every step.

    Attributes:
        parameters: Some of the trained parameters.
        lr_factor: Their learning rate, as a factor of that of the parameters in no group.
        start_step: First optimizer step in which they are trained.
    """

    parameters: Sequence[nn.Parameter]
    lr_factor: float
    start_step: int = 0


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer, learning rate for any batch size, and schedule.

    Attributes:
        name: "adamw", "sgd" or "lars".
        lr: Per 256 images; the learning rate is lr * global_batch / 256 (Goyal et al. 2017, section 2.1).
        weight_decay: Of weights only; biases and norm layers (1-D parameters) have none.
        momentum: Of sgd and lars.
        nesterov: Of sgd.
        betas: Of adamw.
        warmup_epochs: Epochs of linear warm-up; may be fractional.
        schedule: "cosine" (down to `min_lr_fraction`), "constant" or "step"; see `lr_factor`.
        min_lr_fraction: Final learning rate of "cosine", as a fraction of the full one.
        milestones: Of "step": fractions of training at which the learning rate is multiplied by `gamma`.
        gamma: Of "step".
        eta: Trust coefficient of lars.
        layer_decay: Learning rate of each block of the backbone, as a factor of the next block's, or of the head's for
            the last one: early layers of a pretrained network, which are general, change least (Clark et al. 2020,
            ELECTRA, appendix B). 1 for equal rates.

    Raises:
        UserError: A value is invalid.
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
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        for keys, is_valid, accepted in _CHECKS:
            for key in keys.split():
                value = getattr(self, key)
                if not is_valid(value):
                    raise UserError(f"{KEY}.{key}={value!r} is invalid: give {accepted}.")
        if self.nesterov and self.momentum == 0:
            raise UserError(f"{KEY}.nesterov=true with {KEY}.momentum=0: give a momentum above 0, such as 0.9.")

    def build(
        self,
        modules: nn.Module,
        *,
        global_batch: int,
        steps_per_epoch: int,
        total_steps: int,
        groups: Sequence[ParameterGroup] = (),
    ) -> tuple[Optimizer, LRScheduler]:
        """Build the optimizer of all trainable parameters, and a scheduler to step after every optimizer step.

        Args:
            modules: The modules to train, on the device that they are trained on.
            global_batch: Images per optimizer step, over all devices and accumulated batches.
            steps_per_epoch: Optimizer steps per epoch.
            total_steps: Optimizer steps of the run.
            groups: Disjoint parts of the parameters with learning rates of their own, from input to output.

        Raises:
            UserError: The run has no optimizer steps.
        """
        assert global_batch >= 1, global_batch
        if total_steps < 1 or steps_per_epoch < 1:
            raise UserError(
                f"The run has {total_steps} optimizer steps, {steps_per_epoch} per epoch: it needs at least 1. Raise "
                "trainer.max_epochs, or lower data.batch_size below the number of training images per device."
            )
        factor = self._factor(steps_per_epoch, total_steps)

        def factor_of(group: ParameterGroup) -> Callable[[int], float]:
            return lambda step: factor(step) * group.lr_factor * (step >= group.start_step)

        in_group = {id(parameter) for group in groups for parameter in group.parameters}
        others = ParameterGroup([p for p in modules.parameters() if id(p) not in in_group], 1.0)
        parameter_groups, factors = [], []
        for group in (others, *groups):
            parameter_groups += _with_decay(group.parameters, self.weight_decay)
            factors += [factor_of(group)] * 2
        optimizer = self._optimizer(parameter_groups, self.lr * global_batch / 256)
        return optimizer, LambdaLR(optimizer, factors)

    def _optimizer(self, groups: list[dict[str, Any]], lr: float) -> Optimizer:
        if self.name == "lars":
            for group in groups[1::2]:
                group["adapt"] = False
            return LARS(groups, lr, momentum=self.momentum, eta=self.eta)
        # On a CPU the fused implementation takes a quarter of the time of the default one
        first = next(parameter for group in groups for parameter in group["params"])
        fused = first.device.type in ("cpu", "cuda")
        optimizer: SGD | AdamW
        if self.name == "sgd":
            optimizer = SGD(groups, lr, momentum=self.momentum, nesterov=self.nesterov, fused=fused)
        else:
            optimizer = AdamW(groups, lr, betas=(self.betas[0], self.betas[1]), fused=fused)
        # Otherwise Lightning rejects trainer.gradient_clip_val in mixed precision (GradScaler unscales before clipping)
        optimizer._step_supports_amp_scaling = False
        return optimizer

    def _factor(self, steps_per_epoch: int, total_steps: int) -> Callable[[int], float]:
        warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        if warmup_steps >= total_steps:
            log.warning("%s.warmup_epochs=%g: the run ends before the warm-up does.", KEY, self.warmup_epochs)
        return functools.partial(
            lr_factor,
            total_steps=total_steps,
            warmup_steps=warmup_steps,
            schedule=self.schedule,
            min_fraction=self.min_lr_fraction,
            milestones=tuple(self.milestones),
            gamma=self.gamma,
        )


def _with_decay(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """The trainable weights with decay, then the biases and norm layers (1-D) without."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
