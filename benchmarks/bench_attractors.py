"""What does a step of an attractor sheet cost?  Rows of `make bench`: a step against its two Fourier transforms alone.

    python -m entorhinal.benchmarks.bench_attractors [--device cuda] [--threads 2]

The targets are at most 2.5 times the two transforms on two cores, and 0.1 ms for a step of 64 trials on a GPU, where
blocks of steps are captured in a CUDA graph.
"""

import argparse

import torch
from rich.console import Console

from entorhinal.benchmarks.bench import Rates, Row, milliseconds, rates, show
from entorhinal.benchmarks.evaluation import choose_device
from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete, rate_step

__all__ = ["sheet_rows"]

TRIALS = (1, 64)
STEPS_MS = 20.0


def sheet_rows(device: torch.device, rates: Rates) -> list[Row]:
    """A step of 128² sheets against two real transforms of them, and against the plain loop of the same steps.

    The floor reads and writes the sheet once for each of seven passes: the shift, two transforms of two passes each,
    and the rest; its operations are those of the two transforms.
    """
    model = BurakFiete.make().to(device)
    n, (steps, rate), rows = model.config.neurons_per_side, model.steps(STEPS_MS), []
    source, spectrum = model.weights(torch.empty(0, device=device))
    for trials in TRIALS:
        sheet = torch.rand(trials, n, n, generator=torch.Generator().manual_seed(0)).to(device)
        velocity_m_s = torch.full((trials, 2), 0.1, device=device)
        drive = model.drive(velocity_m_s)

        def transforms(sheet: torch.Tensor = sheet) -> torch.Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(sheet), s=(n, n))

        def loop(sheet: torch.Tensor = sheet, drive: torch.Tensor = drive) -> None:
            own = sheet.clone()
            for _ in range(steps):
                rate_step(own, drive, source, spectrum, rate)

        def advance(sheet: torch.Tensor = sheet, velocity_m_s: torch.Tensor = velocity_m_s) -> torch.Tensor:
            return model.advance(sheet, velocity_m_s, STEPS_MS)

        with torch.inference_mode():
            ours, alone = milliseconds(advance, device) / steps, milliseconds(transforms, device)
            plain = milliseconds(loop, device) / steps
        operations = 2 * trials * 2.5 * n**2 * 2 * torch.tensor(n).log2().item()
        floor_ms = rates.floor_ms(operations, 2 * 7 * 4 * trials * n**2)
        name = f"128² sheet, a step of {trials} trial{'s' * (trials > 1)}"
        rows.append(Row(name, ours, "its two real transforms", alone, floor_ms))
        rows.append(Row(name, ours, "steps one by one, no graph", plain, floor_ms))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    found = rates(device)
    Console().print(f"{device.type}, {torch.get_num_threads()} thread(s)")
    show(sheet_rows(device, found))


if __name__ == "__main__":
    main()
