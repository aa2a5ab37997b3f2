"""Known answers of codes: range, resolution and capacity, the metric, and what noise and loss leave."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from entorhinal.analysis import (
    Isometry,
    capacity_bits,
    code_distances,
    code_separation,
    decodable_places,
    gaussian_information,
    half_rise_m,
    isometry,
    joint_range_m,
    kept_units,
    metric_tensor_of_maps,
    noise_floor,
    participation_ratio,
    path_coherence,
    poisson_information,
    radial_curves,
    resolution_m,
    tolerance,
    with_noise,
)
from entorhinal.benchmarks.synthetic import Grids, grids
from entorhinal.benchmarks.validation.rows import Row, part_right, seeded, within
from entorhinal.families.codes import gaussian_place_cells

METRIC_BIN_M, METRIC_BINS, METRIC_UNITS = 0.02, 50, 1024
"""Maps whose metric is measured, of a square number of units."""


def _ring(place_m: Tensor, period_m: float) -> Tensor:
    """A phase code on a line, (..., 1) -> (..., 2): codes d apart are 2 |sin(π d / period)| apart."""
    angle = 2 * math.pi * place_m / period_m
    return torch.cat((angle.cos(), angle.sin()), -1)


def capacity_rows() -> list[Row]:
    """Separation, range, resolution, dimension and bits of codes that have closed forms."""
    return [*_separation_rows(), *_resolution_rows(), *_bit_rows()]


def _separation_rows() -> list[Row]:
    generator = seeded("capacity", "separation")
    module = grids(torch.full((40,), 0.6), torch.full((40,), 0.2), generator)
    steps = torch.arange(-72, 73, dtype=torch.float64) / 12
    where_m = torch.cartesian_prod(steps, steps) @ module.basis_m[0]  # holds the periods themselves
    codes = module.rates_at(where_m)
    one = code_separation(code_distances(codes[len(codes) // 2][None], codes), where_m).mean
    line_m = 0.01 * torch.arange(-400, 401, dtype=torch.float64)[:, None]
    start = torch.zeros(1, 1, dtype=torch.float64)
    straight = code_separation(code_distances(start, line_m), line_m)
    two = torch.cat((_ring(line_m, 0.3), _ring(line_m, 0.4)), -1)
    both = radial_curves(code_distances(two[400][None], two), line_m)
    ramp = radial_curves((line_m[:, 0].abs() / 0.4).clamp_max(1)[None], line_m, 0.01)
    noise, apart = 0.7 * torch.randn(40_000, 8, generator=generator, dtype=torch.float64), noise_floor(0.7)
    mistaken = float((noise[:, 0] > apart / 2).double().mean())
    codes, other = torch.rand(2, 300, 200, generator=generator, dtype=torch.float64)
    coherence = [path_coherence(torch.stack((codes, each))) for each in (codes, other)]
    floor, rise = float(joint_range_m(both, 0.1)), float(half_rise_m(ramp, torch.ones(1)))
    return [
        within("code separation", "one torus, its periods sampled", "0", one, 1e-6),
        within("code separation", "codes as far as places", "0.3 of 2.15", abs(straight.mean - 0.3 / 2.15), 0.002),
        within("joint range", "rings of 0.3 and 0.4 m", "1.2 m", 100 * abs(floor - 1.2), 2, "cm"),
        within("half rise", "a ramp of 0.4 m", "0.2 m", 100 * abs(rise - 0.2), 1, "cm"),
        within("noise floor", "two codes, Gaussian noise", "5 % mistaken", 100 * abs(mistaken - 0.05), 0.5, "%"),
        within("coherence of paths", "the same codes", "1", abs(coherence[0] - 1), 1e-6),
        within("coherence of paths", "codes of other places", "0.707", abs(coherence[1] - math.sqrt(0.5)), 0.02),
    ]


def _resolution_rows() -> list[Row]:
    """Gaussian fields of width w and peak A, ρ a square metre: information π ρ A² / 2σ², or 2π ρ A T of counts."""
    generator = seeded("capacity", "resolution")
    step, width, peak, noise, window_s = 0.05, 0.1, 5.0, 0.3, 0.5
    axis = step * torch.arange(-20, 21, dtype=torch.float64)
    centre_m = torch.cartesian_prod(axis, axis)
    where_m = 0.2 * torch.rand(10, 2, generator=generator, dtype=torch.float64)
    rates = peak * gaussian_place_cells(where_m, centre_m, width)
    jacobian = -(where_m[:, None] - centre_m) / width**2 * rates[..., None]
    rows = []
    for name, found, known in (
        ("Gaussian noise", gaussian_information(jacobian, noise), math.pi * peak**2 / (2 * step**2 * noise**2)),
        ("Poisson counts", poisson_information(jacobian, rates, window_s), 2 * math.pi * peak * window_s / step**2),
    ):
        error = 100 * (resolution_m(found) * math.sqrt(known) - 1).abs()
        truth = f"{1000 * known**-0.5:.3g} mm"
        rows.append(within("resolution", f"a sheet of Gaussian fields, {name}", truth, error, 1, "%"))
    linear = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    seen = 0.4 * torch.randn(30, 20_000, generator=generator, dtype=torch.float64)
    efficient = float(torch.linalg.lstsq(linear, seen).solution.square().mean().sqrt())
    bound = float(resolution_m(gaussian_information(linear, 0.4)))
    rows.append(
        within("resolution", "a linear code", "error of least squares", 100 * abs(efficient / bound - 1), 3, "%")
    )
    return rows


def _bit_rows() -> list[Row]:
    generator = seeded("capacity", "bits")
    angle = 2 * math.pi * torch.arange(100, dtype=torch.float64) / 100
    circle = torch.stack((angle.cos(), angle.sin()), -1)
    spread = torch.tensor([4.0, 2.0, 1.0, 1.0], dtype=torch.float64)
    cloud = torch.linalg.qr(torch.randn(200, 5, generator=generator, dtype=torch.float64)).Q[:, 1:]
    cloud = torch.linalg.qr(cloud - cloud.mean(0)).Q * spread.sqrt()
    turned = cloud @ torch.linalg.qr(torch.randn(60, 4, generator=generator, dtype=torch.float64)).Q.T
    known = float(spread.sum() ** 2 / spread.square().sum())
    far = 30 * torch.eye(20, dtype=torch.float64)
    signal = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    apart = 1.5  # two codes in noise of 1: a sign in Gaussian noise, by integration
    density = torch.exp(-(signal - apart / 2).square() / 2) / math.sqrt(2 * math.pi)
    binary = float(1 - torch.trapezoid(density * torch.log2(1 + torch.exp(-apart * signal)), signal))
    pair = torch.tensor([[0.0, 0.0], [0.6, 0.8]], dtype=torch.float64) * apart
    sign = decodable_places(pair, 1.0, generator=generator, draws=40_000)
    places = [decodable_places(codes, 1.0, generator=generator).places for codes in (far, far.repeat(4, 1))]
    bits = float(capacity_bits(8.0, 0.5))
    return [
        within("participation ratio", "a circle", "2", abs(float(participation_ratio(circle)) - 2), 1e-6),
        within(
            "participation ratio",
            "variances 4, 2, 1, 1 among 60 units",
            f"{known:.3g}",
            abs(float(participation_ratio(turned)) - known),
            1e-6,
        ),
        within("bits", "8 m at 0.5 m", "4 bits", abs(bits - 4), 1e-6, "bits"),
        within("bits of places", "two codes in noise", f"{binary:.3g} bits", abs(sign.bits - binary), 0.02, "bits"),
        within("decodable places", "20 codes far apart", "20", abs(places[0] - 20), 0.2),
        within("decodable places", "the same, each four times", "20", abs(places[1] - 20), 0.2),
    ]


def isometry_rows() -> list[Row]:
    """The metric of a module: round and even where phases are, stretched where the map is."""
    generator = seeded("isometry")
    side = math.isqrt(METRIC_UNITS)
    axis = torch.arange(side, dtype=torch.float64) / side
    options = (torch.full((side**2,), 0.5), torch.full((side**2,), 0.2), generator)
    random, stretched = grids(*options), grids(*options, stretch=1.5, stretch_rad=0.4)
    even = replace(random, phase=torch.cartesian_prod(axis, axis))

    def measured(cells: Grids) -> Isometry:
        maps = cells.maps(METRIC_BIN_M * METRIC_BINS, METRIC_BINS)
        return isometry(metric_tensor_of_maps(maps, METRIC_BIN_M))

    ideal, many, long = measured(even), measured(random), measured(replace(stretched, phase=even.phase))
    wave = 4 * math.pi / (math.sqrt(3) * 0.5)
    lost = (math.sin(wave * METRIC_BIN_M) / (wave * METRIC_BIN_M)) ** 2  # by central differences
    scale = 0.75 * side**2 * (wave / 4.5) ** 2 * lost
    units = f"{side**2:,} units of 0.5 m"
    return [
        within("CV of the metric", f"{units}, even phases", "0", ideal.cv, 1e-6),
        within("CV of the metric", f"{units}, random phases", "0 as units grow", many.cv, 0.05),
        within(
            "scale of the metric", f"{units}, even phases", "¾ k² a unit", 100 * abs(ideal.mean / scale - 1), 1, "%"
        ),
        within("anisotropy of the metric", f"{units}, even phases", "1", abs(ideal.anisotropy_median - 1), 0.02),
        within(
            "anisotropy of the metric",
            f"{units}, stretched by 1.5",
            "2.25",
            100 * abs(long.anisotropy_of_mean / 2.25 - 1),
            2,
            "%",
        ),
    ]


def robustness_rows() -> list[Row]:
    """Noise and loss of stated sizes, and the level at which an error reaches a limit."""
    generator = seeded("robustness")
    noisy = with_noise(torch.ones(20_000, 3), torch.tensor([0.5, 1.0, 2.0]), generator=generator)
    sizes = 100 * (noisy.std(0) / torch.tensor([0.5, 1.0, 2.0]) - 1).abs()
    kept = [int(kept_units(40, part, generator=generator).sum()) for part in (0.1, 0.25, 0.5, 0.75, 0.9)]
    levels = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
    linear = tolerance(levels, [0.1 + 0.2 * level for level in levels], 0.7)
    # the error of a line read through noise has the root of the sum of both variances
    rooted = tolerance(levels, [math.sqrt(0.01 + 0.04 * level**2) for level in levels], 0.7)
    known = math.sqrt((0.49 - 0.01) / 0.04)
    return [
        within("noise added", "20,000 samples", "0.5, 1 and 2", sizes, 2, "%"),
        part_right(
            "units kept",
            "10 to 90 % of 40 units lost",
            "as asked",
            [a == b for a, b in zip(kept, (36, 30, 20, 10, 4), strict=True)],
        ),
        within("tolerance", "an error that grows as the noise", "3", abs(linear - 3), 1e-6),
        within("tolerance", "the root of two variances", f"{known:.3g}", 100 * abs(rooted / known - 1), 5, "%"),
    ]
