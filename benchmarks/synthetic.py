"""Synthetic populations with known answers: grid cells, modules, states on manifolds, and units that are no grid.

Grids are three cosines seen through a linear map of the plane, so that sheared and stretched lattices have closed
forms. All numbers come from the generator that is given; float64 on the CPU.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from entorhinal.analysis.lattices import Lattices
from entorhinal.analysis.maps import smooth_maps
from entorhinal.analysis.nulls import moved_fields, spectrum_noise
from entorhinal.families.codes import gaussian_place_cells, hexagonal_tuning, hexagonal_waves

__all__ = [
    "BETTI",
    "BINS",
    "CONTINUA",
    "NULLS",
    "SIDE_M",
    "Grids",
    "bin_centres_m",
    "breaking_maps",
    "circle_states",
    "grids",
    "harmonic_modules",
    "modules",
    "plane_states",
    "sphere_states",
    "square_torus_states",
    "torus_states",
]

SIDE_M, BINS = 2.0, 50
BIN_M = SIDE_M / BINS

BETTI = {"torus": (1, 2, 1), "square torus": (1, 2, 1), "plane": (1, 0, 0), "circle": (1, 1, 0), "sphere": (1, 0, 1)}
"""Betti numbers of the manifolds whose states are sampled here."""

HARMONICS = {3: (math.sqrt(3), math.pi / 6), 4: (2.0, 0.0), 7: (math.sqrt(7), math.atan(math.sqrt(3) / 5))}
"""Superlattice index: how many times the spacing of the finer lattice, and the turn from the finer to the coarser."""


def bin_centres_m(side_m: float = SIDE_M, bins: int = BINS) -> Tensor:
    """Centres ``(bins, bins, 2)`` of the bins of a square box around 0: rows along y, (x, y) last."""
    axis = ((torch.arange(bins, dtype=torch.float64) + 0.5) / bins - 0.5) * side_m
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)


@dataclass(frozen=True)
class Grids:
    """N grid cells whose lattices are known.

    Attributes:
        basis_m: (N, 2, 2) two lattice vectors, 60 degrees apart before the shape is applied, as rows (x, y).
        phase: (N, 2) in [0, 1): a field is at phase @ basis_m.
        label: (N,) module of each cell.
        sharpness: None for the sum of three cosines, or that of `hexagonal_tuning`.
    """

    basis_m: Tensor
    phase: Tensor
    label: Tensor
    sharpness: float | None = None

    @property
    def axes_m(self) -> Tensor:
        """The three lattice axes (N, 3, 2)."""
        first, second = self.basis_m.unbind(1)
        return torch.stack([first, second, second - first], 1)

    @property
    def spacing_m(self) -> Tensor:
        """(N,) mean length of the three axes, as in `Lattices`."""
        return self.axes_m.norm(dim=-1).mean(-1)

    @property
    def orientation_rad(self) -> Tensor:
        """(N,) circular mean of the three axes' angles modulo 60 degrees, as in `Lattices`."""
        angle = torch.atan2(self.axes_m[..., 1], self.axes_m[..., 0])
        return torch.atan2((6 * angle).sin().sum(-1), (6 * angle).cos().sum(-1)) / 6 % (math.pi / 3)

    @property
    def ellipticity(self) -> Tensor:
        """(N,) long over short axis of the ellipse through the six inner fields: the stretch of the regular lattice."""
        regular = torch.tensor([[1, 0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
        stretch = torch.linalg.svdvals(torch.linalg.inv(regular) @ self.basis_m)
        return stretch[:, 0] / stretch[:, 1]

    @property
    def lattices(self) -> Lattices:
        """What an exact measure finds in their maps."""
        return Lattices(self.spacing_m, self.orientation_rad, self.ellipticity, self.basis_m)

    def rates_at(self, position_m: Tensor) -> Tensor:
        """Rates (..., N) in [0, 1] at positions (..., 2)."""
        cell = torch.einsum("...d,ndk->...nk", position_m, torch.linalg.inv(self.basis_m)) - self.phase
        # along the axes of the cell a regular lattice has the three waves (1, 0), (0, 1) and (1, 1)
        turns = 2 * math.pi * torch.stack([cell[..., 0], cell[..., 1], cell.sum(-1)], -1)
        waves = turns.cos().sum(-1)
        return (waves + 1.5) / 4.5 if self.sharpness is None else torch.exp(self.sharpness * (waves - 3) / 3)

    def maps(self, side_m: float = SIDE_M, bins: int = BINS) -> Tensor:
        """Maps (N, bins, bins) of a square box around 0."""
        return self.rates_at(bin_centres_m(side_m, bins)).movedim(-1, 0).contiguous()


def grids(
    spacing_m: Tensor,
    orientation_rad: Tensor,
    generator: torch.Generator,
    *,
    stretch: float = 1.0,
    stretch_rad: float = 0.0,
    shear: float = 0.0,
    label: Tensor | None = None,
    sharpness: float | None = None,
) -> Grids:
    """Grid cells (N,) of random phases, on regular lattices stretched along one direction and sheared along x.

    The stretch keeps areas: ``sqrt(stretch)`` along ``stretch_rad`` and its inverse across. The spacing and orientation
    given are those before the shape is applied; the truth is what `Grids` says.
    """
    spacing_m, orientation_rad = torch.broadcast_tensors(spacing_m.double(), orientation_rad.double())
    angle = torch.stack([orientation_rad, orientation_rad + math.pi / 3], -1)
    basis_m = spacing_m[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)
    along = torch.tensor([math.cos(stretch_rad), math.sin(stretch_rad)], dtype=torch.float64)
    across = torch.stack([-along[1], along[0]])
    shape = math.sqrt(stretch) * torch.outer(along, along) + torch.outer(across, across) / math.sqrt(stretch)
    shape = torch.tensor([[1, shear], [0, 1]], dtype=torch.float64) @ shape
    return Grids(
        basis_m=basis_m @ shape.T,
        phase=torch.rand(len(spacing_m), 2, generator=generator, dtype=torch.float64),
        label=torch.zeros(len(spacing_m), dtype=torch.long) if label is None else label,
        sharpness=sharpness,
    )


def modules(
    count: int,
    generator: torch.Generator,
    *,
    units: int = 20,
    smallest_m: float = 0.3,
    ratio: float = 1.42,
    jitter: float = 0.05,
) -> Grids:
    """Independent modules of ``units`` cells each: spacings in geometric steps, a random orientation each.

    Every cell's spacing is off its module's by a Gaussian of ``jitter`` (a fraction), its orientation by 1 degree.
    """
    label = torch.arange(count).repeat_interleave(units)
    spacing_m = smallest_m * ratio ** label.double()
    orientation_rad = (torch.rand(count, generator=generator, dtype=torch.float64) * math.pi / 3)[label]
    wobble = torch.randn(2, len(label), generator=generator, dtype=torch.float64)
    return grids(
        spacing_m * (1 + jitter * wobble[0]),
        orientation_rad + math.radians(1) * wobble[1],
        generator,
        label=label,
    )


def harmonic_modules(
    index: int, generator: torch.Generator, *, units: int = 20, finer_m: float = 0.4, orientation_rad: float = 0.2
) -> Grids:
    """Two modules on one torus: the coarser lattice is the finer one's superlattice of index 3, 4 or 7.

    The finer module's phase is a function of the coarser one's, and each of its phases comes with ``index`` of those.
    """
    if index not in HARMONICS:
        raise ValueError(f"index is {index!r}; a hexagonal lattice has regular superlattices of index 3, 4 and 7 here")
    times, turn = HARMONICS[index]
    label = torch.arange(2).repeat_interleave(units)
    return grids(
        finer_m * torch.tensor([1, times], dtype=torch.float64)[label],
        orientation_rad + torch.tensor([0, turn], dtype=torch.float64)[label],
        generator,
        label=label,
    )


def torus_states(moments: int, units: int, generator: torch.Generator, *, sharpness: float = 3.0) -> Tensor:
    """States (moments, units) of one module, at places uniform over 4 m: a twisted (hexagonal) torus."""
    cells = grids(torch.full((units,), 0.6), torch.full((units,), 0.2), generator, sharpness=sharpness)
    return cells.rates_at(4 * torch.rand(moments, 2, generator=generator, dtype=torch.float64))


def square_torus_states(moments: int, units: int, generator: torch.Generator, *, sharpness: float = 3.0) -> Tensor:
    """States (moments, units) on a square torus: bumps exp(sharpness (cos a + cos b - 2))."""
    angle, centre = (2 * math.pi * torch.rand(n, 2, generator=generator, dtype=torch.float64) for n in (moments, units))
    return torch.exp(sharpness * ((angle[:, None] - centre).cos().sum(-1) - 2))


def plane_states(moments: int, units: int, generator: torch.Generator, *, width: float = 0.2) -> Tensor:
    """States (moments, units) of place cells over a unit square: no hole."""
    place, centre = (torch.rand(n, 2, generator=generator, dtype=torch.float64) for n in (moments, units))
    return gaussian_place_cells(place, centre, width)


def circle_states(moments: int, units: int, generator: torch.Generator, *, concentration: float = 3.0) -> Tensor:
    """States (moments, units) of head-direction-like cells: a ring."""
    angle, preferred = (2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64) for n in (moments, units))
    return torch.exp(concentration * ((angle[:, None] - preferred).cos() - 1))


def sphere_states(moments: int, units: int, generator: torch.Generator, *, concentration: float = 3.0) -> Tensor:
    """States (moments, units) of cells tuned to directions in space: a sphere."""
    point, preferred = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (moments, units))
    point, preferred = (p / p.norm(dim=1, keepdim=True) for p in (point, preferred))
    return torch.exp(concentration * (point @ preferred.T - 1))


def _random_grids(count: int, generator: torch.Generator, *, sharpness: float | None = None) -> Tensor:
    """Maps of grid cells with spacings of 0.3 to 0.8 m: what nulls are made of, never scored themselves."""
    draw = torch.rand(2, count, generator=generator, dtype=torch.float64)
    return grids(0.3 + 0.5 * draw[0], draw[1] * math.pi / 3, generator, sharpness=sharpness).maps()


def lowpass_noise(count: int, generator: torch.Generator) -> Tensor:
    """White noise smoothed by 1.5 to 5 bins (6 to 20 cm)."""
    widths = 1.5 + 3.5 * torch.rand(count, generator=generator, dtype=torch.float64)
    white = torch.randn(count, BINS + 40, BINS + 40, generator=generator, dtype=torch.float64)
    smooth = torch.cat([smooth_maps(one[None], float(width)) for one, width in zip(white, widths, strict=True)])
    return smooth[:, 20:-20, 20:-20].contiguous()


def spectrum_units(count: int, generator: torch.Generator) -> Tensor:
    """Gaussian noise of a grid map's radially averaged spectrum."""
    return spectrum_noise(_random_grids(count, generator), generator=generator, keep_values=False)


def rectified_units(count: int, generator: torch.Generator) -> Tensor:
    """The same, rectified at its mean: `controls/lowpass_noise`."""
    noise = spectrum_units(count, generator)
    return torch.relu(noise - noise.mean((1, 2), keepdim=True))


def rectified_units_1m(count: int, generator: torch.Generator) -> Tensor:
    """Such noise of 0.3 to 0.6 m seen in a box of 1 m and smoothed by 3 cm: what `gridness-v2` sees of that control."""
    draw = torch.rand(2, count, generator=generator, dtype=torch.float64)
    maps = grids(0.3 + 0.3 * draw[0], draw[1] * math.pi / 3, generator).maps(2.2, 110)
    noise = spectrum_noise(maps, generator=generator, keep_values=False)
    noise = torch.relu(noise - noise.mean((1, 2), keepdim=True))
    return smooth_maps(noise[:, 30:80, 30:80], 1.5)


def ring_noise(count: int, generator: torch.Generator) -> Tensor:
    """Thirty plane waves of one length, random directions and phases: a scale as sharp as a grid's, no directions."""
    spacing_m = 0.3 + 0.5 * torch.rand(count, generator=generator, dtype=torch.float64)
    angle, phase = 2 * math.pi * torch.rand(2, count, 30, generator=generator, dtype=torch.float64)
    weight = torch.randn(count, 30, generator=generator, dtype=torch.float64)
    wave = 4 * math.pi / (math.sqrt(3) * spacing_m[:, None, None]) * torch.stack([angle.cos(), angle.sin()], -1)
    turns = torch.einsum("hwd,nkd->nkhw", bin_centres_m(), wave) + phase[..., None, None]
    return torch.einsum("nk,nkhw->nhw", weight, turns.cos())


def scattered_fields(count: int, generator: torch.Generator) -> Tensor:
    """The fields of grid maps put down anywhere (`moved_fields`)."""
    return moved_fields(_random_grids(count, generator, sharpness=4.0), generator=generator)


def place_cells(count: int, generator: torch.Generator) -> Tensor:
    """One Gaussian field of 12 cm, its centre anywhere in the box."""
    centre_m = SIDE_M * (torch.rand(count, 2, generator=generator, dtype=torch.float64) - 0.5)
    return gaussian_place_cells(bin_centres_m(), centre_m, 0.12).movedim(-1, 0).contiguous()


def many_fields(count: int, generator: torch.Generator) -> Tensor:
    """Three to twelve Gaussian fields of 8 to 16 cm, anywhere in the box and 0.5 m around it."""
    fields = 12
    centre_m = (SIDE_M + 1) * (torch.rand(count, fields, 2, generator=generator, dtype=torch.float64) - 0.5)
    width_m = 0.08 + 0.08 * torch.rand(count, 1, generator=generator, dtype=torch.float64)
    number = torch.randint(3, fields + 1, (count, 1), generator=generator)
    height = (torch.arange(fields) < number).double() * (
        0.5 + 0.5 * torch.rand(count, fields, generator=generator, dtype=torch.float64)
    )
    square = (bin_centres_m()[None, None] - centre_m[:, :, None, None]).square().sum(-1)
    return torch.einsum("nk,nkhw->nhw", height, torch.exp(-square / (2 * width_m[..., None, None].square())))


def bands(count: int, generator: torch.Generator) -> Tensor:
    """A plane wave of a random direction and length in noise a third as strong, white and smoothed by 2 bins."""
    period_m = 0.3 + 0.5 * torch.rand(count, 1, 1, generator=generator, dtype=torch.float64)
    angle, phase = 2 * math.pi * torch.rand(2, count, 1, 1, generator=generator, dtype=torch.float64)
    x, y = bin_centres_m().unbind(-1)
    wave = (2 * math.pi / period_m * (x * angle.cos() + y * angle.sin()) + phase).cos()
    noise = smooth_maps(torch.randn(count, BINS, BINS, generator=generator, dtype=torch.float64), 2)
    return wave + wave.std() / 3 * noise / noise.std()


NULLS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "low-pass noise": lowpass_noise,
    "noise of a grid's spectrum": spectrum_units,
    "the same, rectified": rectified_units,
    "the same, in a 1 m box": rectified_units_1m,
    "waves of one length": ring_noise,
    "moved fields": scattered_fields,
    "place cells": place_cells,
    "several fields": many_fields,
    "bands": bands,
}
"""Kinds of units that are no grid: ``(count, generator) -> maps (count, 50, 50)`` of a 2 m box unless named."""


def _at_random(spacing_m: Tensor, generator: torch.Generator) -> Grids:
    angle = torch.rand(len(spacing_m), generator=generator, dtype=torch.float64) * math.pi / 3
    return grids(spacing_m, angle, generator)


def log_uniform_spacings(count: int, generator: torch.Generator) -> Grids:
    """Spacings of 0.3 to 1 m, uniform in their logarithm; orientations at random, as in the next two."""
    return _at_random(0.3 * (10 / 3) ** torch.rand(count, generator=generator, dtype=torch.float64), generator)


def gaussian_spacings(count: int, generator: torch.Generator) -> Grids:
    """Log spacings Gaussian around 0.5 m with a deviation of 0.3."""
    return _at_random(0.5 * (0.3 * torch.randn(count, generator=generator, dtype=torch.float64)).exp(), generator)


def skewed_spacings(count: int, generator: torch.Generator) -> Grids:
    """Log spacings exponential above 0.3 m with a mean of 0.4: most units at the smallest spacings."""
    draw = torch.rand(count, generator=generator, dtype=torch.float64)
    return _at_random(0.3 * (-0.4 * (1 - draw).log()).exp(), generator)


def one_broad_module(count: int, generator: torch.Generator) -> Grids:
    """One module around 0.5 m whose spacings are off by 12 % and orientations by 3 degrees."""
    wobble = torch.randn(2, count, generator=generator, dtype=torch.float64)
    return grids(0.5 * (0.12 * wobble[0]).exp(), 0.3 + math.radians(3) * wobble[1], generator)


CONTINUA: dict[str, Callable[[int, torch.Generator], Grids]] = {
    "log-uniform spacings": log_uniform_spacings,
    "Gaussian spacings": gaussian_spacings,
    "skewed spacings": skewed_spacings,
    "one broad module": one_broad_module,
}
"""Kinds of populations whose spacings come in no groups."""


def breaking_maps() -> dict[str, Tensor]:
    """Ten maps (50, 50) of a 2 m box that can break a scorer, by name."""
    y, x = torch.meshgrid(*[torch.arange(BINS, dtype=torch.float64)] * 2, indexing="ij")
    waves = hexagonal_waves(torch.tensor([0.5], dtype=torch.float64), torch.tensor([math.radians(10)]))
    hexagon = hexagonal_tuning(bin_centres_m(), waves, torch.zeros(1, 2, dtype=torch.float64))[..., 0]
    one_bin = torch.full_like(x, torch.nan)
    one_bin[20, 20] = 1.0
    drawn = torch.rand(BINS, BINS, generator=torch.Generator().manual_seed(0))

    def field(column: float, row: float) -> Tensor:
        return torch.exp(-((x - column).square() + (y - row).square()) / 20)

    return {
        "hexagon without noise": hexagon,
        "constant": torch.full_like(x, 0.1),
        "one field": field(20, 30),
        "stripes": (0.5 * x).cos(),
        "square lattice": (0.5 * x).cos() + (0.5 * y).cos(),
        "fields at the edges": field(0, 0) + field(BINS - 1, 10),
        "hexagon, 90 % unvisited": hexagon.where(drawn < 0.1, torch.nan),
        "one visited bin": one_bin,
        "hexagon + 1,000,000": hexagon + 1e6,
        "hexagon × 0.000,000,001": 1e-9 * hexagon,
    }
