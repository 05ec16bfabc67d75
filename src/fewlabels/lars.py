"""LARS: stochastic gradient descent for very large batches."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


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
