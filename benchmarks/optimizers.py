"""How do S networks take one step?  Optimisers on flat storage: all parameters of all networks in one (S, P) tensor.

Each network has a rate, a weight decay and clipping of its own. A step reads everything that changes (rate, step count,
which networks are alive) from tensors on the device, so that it can be captured in a CUDA graph. Equations are those of
`torch.optim`, to which the tests compare.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from entorhinal.families.model import Recipe
from entorhinal.ssl.kernels import adam_step_

__all__ = ["Layout", "Optimizer", "rate_multipliers"]

_ALIGNMENT = 32  # numbers: parameters start on 128 bytes


class Layout:
    """Where each parameter lies in a network's flat row of length ``size``."""

    def __init__(self, shapes: dict[str, torch.Size]) -> None:
        self.shapes = shapes
        self.starts: dict[str, int] = {}
        end = 0
        for name, shape in shapes.items():
            self.starts[name] = end
            end += -(-shape.numel() // _ALIGNMENT) * _ALIGNMENT
        self.size = end

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Parameters by name, ``(S, ...)`` each, as views of ``flat (S, size)``."""
        ends = {name: start + self.shapes[name].numel() for name, start in self.starts.items()}
        return {name: flat[:, start : ends[name]].view(-1, *self.shapes[name]) for name, start in self.starts.items()}


def rate_multipliers(recipe: Recipe) -> Tensor:
    """What multiplies lr at each step, ``(steps,)`` float64: linear warm-up, then constant or half a cosine to 0."""
    step = torch.arange(recipe.steps, dtype=torch.float64)
    warm = ((step + 1) / max(recipe.warmup_steps, 1)).clamp_max(1)
    if recipe.schedule != "cosine":
        return warm
    done = ((step - recipe.warmup_steps) / max(recipe.steps - recipe.warmup_steps, 1)).clamp(0, 1)
    return warm * 0.5 * (1 + torch.cos(math.pi * done))


class Optimizer:
    """Adam, AdamW, RMSProp or SGD for S networks: ``flat (S, P)`` is changed in place.

    recipes: one a network; they differ in lr, weight_decay, clip_norm and clip_value only.
    """

    def __init__(self, recipes: Sequence[Recipe], flat: Tensor) -> None:
        self.recipe, self.flat = recipes[0], flat

        def each(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=flat.dtype, device=flat.device)

        self.lr = each([r.lr for r in recipes])
        self.weight_decay = each([r.weight_decay for r in recipes])
        self.clip_norm = each([r.clip_norm or math.inf for r in recipes])
        self.clip_value = each([r.clip_value or math.inf for r in recipes])
        self.clips_value = any(r.clip_value for r in recipes)
        self.multiplier = rate_multipliers(self.recipe).to(flat)
        self.step_count = torch.zeros((), dtype=torch.long, device=flat.device)
        self.plateau_scale = torch.ones_like(self.lr)
        moments = {"adam": 2, "adamw": 2, "rmsprop": 1 + (self.recipe.momentum > 0), "sgd": self.recipe.momentum > 0}
        self.moments = [torch.zeros_like(flat) for _ in range(moments[self.recipe.optimizer])]

    def state(self) -> dict[str, Tensor]:
        """Everything that changes, but for the parameters; to be saved, and restored by copying into it."""
        moments = {f"moment{i}": moment for i, moment in enumerate(self.moments)}
        return {"step_count": self.step_count, "plateau_scale": self.plateau_scale, **moments}

    def clip_(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Clip ``gradient (S, P)`` by value, in place; what clipping by norm then multiplies it by, and that norm."""
        if self.clips_value:
            gradient.clamp_(-self.clip_value[:, None], self.clip_value[:, None])
        norm = torch.linalg.vector_norm(gradient, dim=1)
        return (self.clip_norm / (norm + 1e-6)).clamp_max(1), norm

    @torch.no_grad()
    def step(self, gradient: Tensor, scale: Tensor) -> None:
        """One step along ``scale (S,)`` times ``gradient (S, P)``. A network of scale 0 keeps every bit."""
        r, flat = self.recipe, self.flat
        now = self.step_count.clamp_max(r.steps - 1).view(1)
        rate = self.lr * self.plateau_scale * self.multiplier.index_select(0, now)
        if r.optimizer in ("adam", "adamw"):
            first, second = self.moments
            adam_step_(
                flat,
                gradient,
                first,
                second,
                self.step_count,
                lr=rate,
                weight_decay=self.weight_decay,
                gradient_scale=scale,
                betas=r.betas,
                eps=r.eps,
                decoupled=r.optimizer == "adamw",
            )
            return
        self.step_count += 1
        moves = (scale != 0)[:, None]
        gradient = torch.where(moves, scale[:, None] * gradient + self.weight_decay[:, None] * flat, 0)
        if r.optimizer == "rmsprop":
            square = self.moments[0]
            square.mul_(r.rms_decay).addcmul_(gradient, gradient, value=1 - r.rms_decay)
            gradient = gradient / square.sqrt().add_(r.eps)
        if r.momentum:
            gradient = self.moments[-1].mul_(r.momentum).add_(gradient)
        flat.sub_(torch.where(moves, rate[:, None] * gradient, 0))
