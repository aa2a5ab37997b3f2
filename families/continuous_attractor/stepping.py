"""Many small steps in place: a loop; on a CUDA device, blocks of it captured once as a graph and replayed."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["StepLoop"]

logger = logging.getLogger("entorhinal")

BLOCK, GRAPHS, WARM_UP = 64, 8, 3
"""Steps in a graph at most; graphs kept; steps before capture, which make the transforms' plans."""

Step = Callable[..., None]
"""``step(state, *inputs, *constants, rate)`` overwrites state."""


class StepLoop:
    """Applies a step many times to a copy of a state.

    A graph belongs to one step, its rate, the shapes and the device: a loop of other shapes captures its own. The plain
    loop runs on a CPU, while a gradient is taken, inside another capture, and for what is left of the last block.
    """

    def __init__(self) -> None:
        self._graphs: dict[tuple[Any, ...], _Block | None] = {}

    def __reduce__(self) -> tuple[type["StepLoop"], tuple[()]]:
        return StepLoop, ()  # graphs are neither copied nor pickled

    def __call__(
        self,
        step: Step,
        state: Tensor,
        inputs: tuple[Tensor, ...],
        constants: tuple[Tensor, ...],
        rate: float,
        steps: int,
    ) -> Tensor:
        """The state after ``steps``. inputs may differ between calls; constants are the same in all of one loop."""
        state, done = state.clone(memory_format=torch.contiguous_format), 0
        if self._may_capture(state, *inputs):
            length = min(steps, BLOCK)
            key = (step, rate, length, state.device, *((each.shape, each.dtype) for each in (state, *inputs)))
            if key not in self._graphs:
                while len(self._graphs) >= GRAPHS:
                    del self._graphs[next(iter(self._graphs))]
                self._graphs[key] = _captured(step, state, inputs, constants, rate, length)
            if (block := self._graphs[key]) is not None:
                blocks = steps // length
                state, done = block(state, inputs, blocks), blocks * length
        for _ in range(steps - done):
            step(state, *inputs, *constants, rate)
        return state

    @staticmethod
    def _may_capture(*tensors: Tensor) -> bool:
        if not tensors[0].is_cuda or torch.cuda.is_current_stream_capturing():
            return False
        return not (torch.is_grad_enabled() and any(each.requires_grad for each in tensors))


class _Block:
    """A captured block of steps with the tensors it reads and writes; the constants are held so that they stay."""

    def __init__(self, graph: torch.cuda.CUDAGraph, own: list[Tensor], constants: tuple[Tensor, ...]) -> None:
        self.graph, self.own, self.constants = graph, own, constants

    def __call__(self, state: Tensor, inputs: tuple[Tensor, ...], blocks: int) -> Tensor:
        with torch.no_grad(), torch.cuda.device(state.device):
            torch._foreach_copy_(self.own, [state, *inputs])
            for _ in range(blocks):
                self.graph.replay()
            return self.own[0].clone()


def _captured(
    step: Step, state: Tensor, inputs: tuple[Tensor, ...], constants: tuple[Tensor, ...], rate: float, length: int
) -> _Block | None:
    """The graph of ``length`` steps; None, with a warning, where it cannot be captured."""
    with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(state.device):
        own = [torch.empty_like(each, memory_format=torch.contiguous_format) for each in (state, *inputs)]
        torch._foreach_copy_(own, [state, *inputs])
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    step(*own, *constants, rate)
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph):
                for _ in range(length):
                    step(*own, *constants, rate)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            torch.cuda.synchronize()
            logger.warning("the step loop cannot be captured in a CUDA graph (%s)", str(error).splitlines()[0])
            return None
        return _Block(graph, own, constants)
