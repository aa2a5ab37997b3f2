"""How fast is a training step of ssl/sic on a CUDA device, and how far is it from what the device could do?

    python -m entorhinal.benchmarks.bench_sic [--networks 1 12] [--precision bf16] [--units 128] ...

A step is the harness's (gradients, clipping, NaN stop, Adam) in one CUDA graph, with a new batch in each replay. The
floor is counted from bytes and operations, against a copy and a product measured in the same run. Reference: autograd
through the equations as written, one network, all pairs at once.
"""

import argparse
from collections.abc import Sequence
from typing import Literal

import torch

from entorhinal.benchmarks.bench import NaiveSIC, milliseconds, training_step
from entorhinal.benchmarks.training import matmul_precision
from entorhinal.ssl.sic import SIC

Precision = Literal["float32", "tf32", "bf16"]
CUDA = torch.device("cuda")


def step_ms(
    kind: type[SIC], networks: int, sizes: Sequence[int], precision: Precision, preset: str | None = None
) -> float:
    """Milliseconds of a training step of ``networks`` side by side; sizes: units, trajectories, steps, hidden."""
    names = ("units", "trajectories", "steps_per_trajectory", "hidden")
    config = dict(zip(names, sizes, strict=True)) | (kind.preset(preset) if preset else {})
    with matmul_precision(precision):
        members = [kind.make(**config, seed=k) for k in range(networks)]
        time = milliseconds(training_step(members, CUDA), CUDA)
    torch.cuda.empty_cache()
    return time


def ceilings() -> tuple[float, float]:
    """Bytes a second of a large copy, read and written, and bfloat16 operations a second of a large product."""
    source = torch.randn(2**28, device=CUDA)
    target = torch.empty_like(source)
    square = torch.randn(8192, 8192, device=CUDA, dtype=torch.bfloat16)
    copying = milliseconds(lambda: target.copy_(source), CUDA)
    multiplying = milliseconds(lambda: square @ square, CUDA)
    return 8e3 * source.numel() / copying, 2e3 * 8192**3 / multiplying


def floor_ms(
    units: int, trajectories: int, steps: int, hidden: int, bytes_per_s: float, operations_per_s: float
) -> dict[str, float]:
    """The least time for one network and step, by part: what must move or be multiplied, at the measured ceilings.

    For the recurrence that is its states and matrices. It costs more: every trajectory reads a matrix from cache at
    every step, and its steps wait for each other.
    """
    parameters = units**2 * (hidden + 1) + hidden * (hidden + 4) + units
    states = trajectories * steps
    moved_bytes = {
        "optimiser": 28 * parameters,  # four numbers read, three written
        "perceptron": 12 * parameters,  # weights read twice, gradient written
        "norm": 4 * parameters,
        "recurrence": 8 * 4 * states * units + 26 * steps * units**2,
    }
    floors = {name: moved / bytes_per_s * 1e3 for name, moved in moved_bytes.items()}
    return {**floors, "pairs": 4 * states**2 * units / operations_per_s * 1e3}


def report(
    networks: Sequence[int] = (1, 12),
    precisions: Sequence[Precision] = ("bf16", "tf32", "float32"),
    *,
    units: int = 128,
    trajectories: int = 130,
    steps: int = 60,
    hidden: int = 256,
) -> None:
    """Print the time of a step by precision and number of networks, the floor, the reference, and cost against size."""
    sizes = (units, trajectories, steps, hidden)
    bytes_per_s, operations_per_s = ceilings()
    print(torch.cuda.get_device_name(), f"{bytes_per_s / 1e12:.2f} TB/s, {operations_per_s / 1e12:.0f} TFLOP/s in bf16")
    floors = floor_ms(*sizes, bytes_per_s, operations_per_s)
    print("floor, ms:", {name: round(value, 4) for name, value in floors.items()}, f"total {sum(floors.values()):.3f}")
    print("precision  networks  ms a step  ms a network")
    for precision in precisions:
        for count in networks:
            time = step_ms(SIC, count, sizes, precision)
            print(f"{precision:9}  {count:8}  {time:9.3f}  {time / count:12.3f}")
    time = step_ms(SIC, 1, sizes, precisions[0], "paper")
    print(f"two batches a step (preset paper), {precisions[0]}, 1 network: {time:.3f} ms")
    print(f"as the equations are written, float32, 1 network: {step_ms(NaiveSIC, 1, sizes, 'float32'):.1f} ms")
    print(f"cost against size, {precisions[0]}:   S    N    B    T  ms a network")
    for s, n, b, t in ((4, 128, 130, 60), (24, 128, 130, 60), (4, 64, 130, 60), (4, 256, 130, 60), (4, 128, 65, 60),
                       (4, 128, 260, 60), (4, 128, 130, 30), (4, 128, 130, 120)):  # fmt: skip
        time = step_ms(SIC, s, (n, b, t, hidden), precisions[0])
        print(f"{'':26}{s:4} {n:4} {b:4} {t:4}  {time / s:12.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 12])
    parser.add_argument("--precision", nargs="+", default=["bf16", "tf32", "float32"])
    for name, default in (("units", 128), ("trajectories", 130), ("steps", 60), ("hidden", 256)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = vars(parser.parse_args())
    report(given.pop("networks"), given.pop("precision"), **given)


if __name__ == "__main__":
    main()
