"""How do S networks train side by side?  Their parameters are stacked, and one step moves all of them.

Networks of a population share the model class, all shapes, the batches and the recipe; they differ in their seed, in
numbers that the model holds as 0-d buffers named like their config fields, and in the recipe's lr, weight_decay,
clip_norm and clip_value. Whatever else differs is refused: under vmap it would silently be shared.
"""

import copy
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from entorhinal.benchmarks.optimizers import Layout, Optimizer
from entorhinal.families.errors import InputError
from entorhinal.families.memory import available_bytes
from entorhinal.families.model import Batch, Model, PopulationTrainable, Recipe, Trainable

__all__ = ["Population", "may_differ", "recipe_of"]

OWN_IN_RECIPE = frozenset({"lr", "weight_decay", "clip_norm", "clip_value"})


def recipe_of(model: Model) -> Recipe:
    """The model's recipe; a model that has none, or a wrong one, raises `InputError`."""
    if not isinstance(model, Trainable):
        raise InputError(f"{model.card.id} cannot be trained: it has no recipe(), training_data() and loss()")
    try:
        found = model.recipe()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"{model.card.id}: recipe: {field} = {first['input']!r}: {first['msg']}") from None
    if not isinstance(found, Recipe):
        raise InputError(f"{model.card.id}: recipe() returns {type(found).__name__}; return a Recipe")
    return found


def may_differ(model: Model) -> set[str]:
    """Config fields in which networks of one population may differ."""
    own = {name for name, buffer in model.named_buffers() if buffer.ndim == 0}
    return {name for name in type(model.config).model_fields if name == "seed" or name in own | OWN_IN_RECIPE}


def _check(members: Sequence[Model]) -> None:
    first = members[0]
    free = may_differ(first)
    for member in members[1:]:
        if type(member) is not type(first):
            raise InputError(
                f"population: {member.card.id} beside {first.card.id}; train different models apart, one run each"
            )
        ours, theirs = dict(first.config), dict(member.config)
        for name in ours:
            if ours[name] != theirs[name] and name not in free:
                raise InputError(
                    f"population: {name} is {ours[name]!r} and {theirs[name]!r}; networks trained side by side may "
                    f"differ in {', '.join(sorted(free))} only; train them apart (entorhinal sweep does that by itself)"
                )
        mine, other = (recipe_of(m).model_dump(exclude=set(OWN_IN_RECIPE)) for m in (first, member))
        for name in mine:
            if mine[name] != other[name]:
                raise InputError(f"population: the recipes' {name} is {mine[name]!r} and {other[name]!r}; share one")


class _Loss(torch.nn.Module):
    """`Trainable.loss` as a forward pass, which is what `torch.func.functional_call` calls."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        terms = self.model.loss(batch)
        return terms["total"], terms


class Population:
    """S networks of one model. ``flat (S, P)`` holds all parameters; ``params`` are its views by name, ``(S, ...)``."""

    def __init__(self, members: Sequence[Model], *, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        _check(members)
        self.template: Any = members[0].to(device, dtype)
        self.size, self.device, self.dtype = len(members), device, dtype
        named = [dict(m.named_parameters()) for m in members]
        if not named[0]:
            raise InputError(f"{members[0].card.id} has no parameters to train")
        self.layout = Layout({name: p.shape for name, p in named[0].items()})
        self.flat = torch.zeros(self.size, self.layout.size, device=device, dtype=dtype)
        self.params = self.layout.views(self.flat)
        for k, parameters in enumerate(named):
            for name, parameter in parameters.items():
                self.params[name][k].copy_(parameter.detach())
        self.gradient = torch.zeros_like(self.flat)
        self._gradients = self.layout.views(self.gradient)
        self.buffers: dict[str, Tensor] = {}
        self.own: set[str] = set()  # names of the buffers that are stacked: (S, ...)
        for name, buffer in self.template.named_buffers():
            stack = [dict(m.named_buffers())[name].to(buffer) for m in members]
            if buffer.ndim == 0:
                self.own.add(name)
            elif any(not torch.equal(other, buffer) for other in stack):
                raise InputError(
                    f"population: buffer {name!r} of {members[0].card.id} differs between the networks; only numbers "
                    "(0-d buffers) may, so give all of them one"
                )
            self.buffers[name] = torch.stack(stack) if name in self.own else buffer
        self._configs = [m.config for m in members]
        self._loss = _Loss(self.template)
        self._streams: list[torch.cuda.Stream] = []  # of the batches of one step

    def gradients(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Gradients of the total by parameter, ``(S, ...)`` each, and the terms, ``(S,)`` each."""
        if isinstance(self.template, PopulationTrainable):
            return self.template.population_gradients(self.params, self.buffers, batch)

        def loss(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            named = {f"model.{name}": tensor for name, tensor in (params | buffers).items()}
            return torch.func.functional_call(self._loss, named, (batch,))

        dims = {name: 0 if name in self.own else None for name in self.buffers}
        gradients, (_, terms) = torch.func.vmap(torch.func.grad_and_value(loss, has_aux=True), in_dims=(0, dims))(
            self.params, self.buffers
        )
        return gradients, terms

    @torch.no_grad()
    def accumulate(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Mean gradient over ``batches`` into ``gradient (S, P)``; returns the mean terms, ``(S,)`` each."""
        share = 1 / len(batches)
        mean: dict[str, Tensor] = {}
        for i, (gradients, terms) in enumerate(self._of_each(batches)):
            for name, view in self._gradients.items():
                if i == 0:
                    torch.mul(gradients[name], share, out=view)
                else:
                    view.add_(gradients[name], alpha=share)
            mean = {name: share * term + mean.get(name, 0) for name, term in terms.items()}
        return mean

    def _of_each(self, batches: Sequence[Batch]) -> Iterable[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """`gradients` of each batch. On a GPU each has a stream of its own: one fills what the others leave idle."""
        if self.device.type != "cuda" or len(batches) == 1:
            return map(self.gradients, batches)
        here = torch.cuda.current_stream(self.device)
        self._streams += [torch.cuda.Stream(self.device) for _ in batches[len(self._streams) :]]
        found = []
        for stream, batch in zip(self._streams, batches, strict=False):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                found.append(self.gradients(batch))
        for stream in self._streams[: len(batches)]:
            here.wait_stream(stream)
        return found

    @torch.no_grad()
    def constrain(self, batch: Batch) -> None:
        """Apply the model's ``constrain``, if it has one."""
        if hasattr(self.template, "constrain"):
            constrain = torch.func.vmap(self.template.constrain, in_dims=(0, None))
            for name, value in constrain(self.params, batch).items():
                self.params[name].copy_(value)

    def member(self, k: int) -> Model:
        """Network k as a model of its own, on the CPU."""
        model = type(self.template)(self._configs[k]).to(self.dtype)
        tensors = {name: p[k] for name, p in self.params.items()}
        tensors |= {name: b[k] if name in self.own else b for name, b in self.buffers.items()}
        model.load_state_dict({name: tensors[name].detach().cpu() for name in model.state_dict()})
        return model.to(torch.float32)


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that operations make, and the most alive at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and (storage := leaf.untyped_storage()) not in self._seen:
                size = storage.nbytes()
                self._seen[storage] = size
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._freed, size)
        return made

    def _freed(self, size: int) -> None:
        self.now -= size


def step_bytes(members: Sequence[Model], batch: Batch, *, device: torch.device, dtype: torch.dtype) -> int:
    """Most bytes alive in one step of a population: parameters, gradients, moments and what the loss keeps."""
    with _LiveBytes() as count:
        population = Population(members, device=device, dtype=dtype)
        recipes = [recipe_of(member) for member in members]
        optimizer = Optimizer(recipes, population.flat)
        population.accumulate([batch] * recipes[0].accumulation)
        scale, _ = optimizer.clip_(population.gradient)
        optimizer.step(population.gradient, scale)
    return count.peak


def check_memory(members: Sequence[Model], batch: Batch, *, device: torch.device, dtype: torch.dtype) -> None:
    """Raise `InputError` with the largest population that fits, if this one does not; measured on one and on two."""
    if len(members) < 2:
        return
    one, two = (step_bytes(copy.deepcopy(list(members[:n])), batch, device=device, dtype=dtype) for n in (1, 2))
    free, each = available_bytes(device), max(two - one, 1)
    fixed = max(one - each, 0)
    if fixed + each * len(members) > free:
        largest = max(0, int((free - fixed) // each))
        raise InputError(
            f"population: {len(members)} networks need {(fixed + each * len(members)) / 2**30:.3g} GiB of the "
            f"{free / 2**30:.3g} GiB free on {device}; the largest population that fits has {largest}"
        )
