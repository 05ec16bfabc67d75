"""LARS, an optimizer for very large batches."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class LARS(Optimizer):
    """SGD with momentum and a learning rate per layer (You et al. 2017, arXiv 1708.03888, algorithm 1).

        local = eta * |w| / (|g| + weight_decay * |w|)
        v <- momentum * v + lr * local * (g + weight_decay * w)
        w <- w - v

    `local` is 1 where |w| or |g| is 0, and in groups with `adapt=False`, which SimCLR's code uses for biases and norms.

    Args:
        params: Parameters, or parameter groups, which may override the values below.
        lr: Global learning rate.
        momentum: Of the velocity `v`, which includes the learning rate.
        weight_decay: L2 penalty, inside the adapted gradient.
        eta: Trust coefficient; 0.001 in SimCLR's code.
        adapt: Whether to scale the learning rate per layer.
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
        """Update every parameter that has a gradient; return the closure's loss, or None without a closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
        return loss

    def _update(self, weight: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        update = grad.add(weight, alpha=group["weight_decay"])
        if group["adapt"]:
            update *= _local_lr(weight, grad, group["weight_decay"], group["eta"])
        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight)
        velocity = state["velocity"].mul_(group["momentum"]).add_(update, alpha=group["lr"])
        weight -= velocity


def _local_lr(weight: Tensor, grad: Tensor, weight_decay: float, eta: float) -> Tensor:
    weight_norm, grad_norm = weight.norm(), grad.norm()
    local = eta * weight_norm / (grad_norm + weight_decay * weight_norm)
    return torch.where((weight_norm > 0) & (grad_norm > 0), local, torch.ones_like(local))
