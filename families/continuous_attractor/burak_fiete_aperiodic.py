"""A sheet of inhibitory neurons with edges (Burak & Fiete 2009): its input fades before the edge is reached.

The dynamics and weights are those of `burak_fiete`, on a sheet that does not close on itself:

    τ ds_i/dt + s_i = [g Σ_j W0(x_i − x_j − l e_j) s_j + A(x_i) (1 + α e_i·v)]₊
    A(x) = exp(−4 |x|² / (n/2)²)

Where the input fades so does the velocity that reaches the neurons: bumps form and vanish at the rim of the active
part and the lattice flows through. Nothing fixes its orientation, which may turn as it moves.

The sum over j is a convolution with zeros around the sheet: the transform's side exceeds n by the shift and by as far
as the weights reach. Neurons that are shifted over the edge still act from there. The lattice is read through A.

Citation: Y. Burak and I. R. Fiete, PLoS Computational Biology 5, e1000291 (2009).
"""

from typing import ClassVar

from pydantic import Field, model_validator

from entorhinal.families.continuous_attractor.burak_fiete import BurakFiete, BurakFieteConfig

__all__ = ["BurakFieteAperiodic", "BurakFieteAperiodicConfig"]

LEAST_WAVELENGTHS = 6.0  # a side, for the faded sheet to hold a lattice


class BurakFieteAperiodicConfig(BurakFieteConfig):
    neurons_per_side: int = Field(128, ge=16, multiple_of=2, description="n; the sheet is n × n and has edges")

    @model_validator(mode="after")
    def _holds_a_lattice(self) -> "BurakFieteAperiodicConfig":
        least = 2 * -(-LEAST_WAVELENGTHS * self.net_wavelength_neurons // 2)
        if self.neurons_per_side < least:
            raise ValueError(
                f"neurons_per_side {self.neurons_per_side} holds no lattice of net_wavelength_neurons "
                f"{self.net_wavelength_neurons:g} where the input fades towards the edges; give at least {least:g}"
            )
        return self


class BurakFieteAperiodic(BurakFiete):
    """Rates s ``(B, T, n²)``, the sheet row by row (rows along y), and state s ``(B, n, n)``. Free of noise."""

    periodic: ClassVar[bool] = False
    Config = BurakFieteAperiodicConfig
    card = BurakFiete.card.model_copy(
        update={
            "id": "continuous_attractor/burak_fiete_aperiodic-v1",
            "title": "Continuous attractor sheet with edges",
            "deviations": (
                *BurakFiete.card.deviations[:2],
                "rates without spikes and without noise",
                "the envelope is the published A = exp(−4|x|²/(n/2)²) and has no flat middle",
                "the lattice's movement is read through the envelope, not from single neurons' maps",
                *BurakFiete.card.deviations[3:],
            ),
        }
    )
