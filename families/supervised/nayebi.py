"""A gated network with a dense layer, trained to predict place cells (Nayebi et al. 2021).

As in Sorscher et al. 2019 the network knows the place code where it starts, then displacements Δx alone. They are
embedded, drive cells with one gate, and a dense rectified layer g reads those; g are the would-be grid units:

    h_0 = W_0 p(x_0) + b_0      v_t = M Δx_t + b_M                                                           (1)
    (a, c) = U v_t + W h_{t−1} + b      γ = σ(a + 1)      h_t = γ h_{t−1} + (1 − γ) [c]₊                     (2)
    g_t = [W_g h_t + b_g]₊      p̂_t = softmax(W_out g_t + b_out)                                            (3)
    L = −⟨Σ_i p_i(x_t) log p̂_{t,i}⟩ + λ‖W‖²                                                                 (4)
"""

from typing import Any, ClassVar

from torch import Tensor

from entorhinal.families.model import Batch, Card
from entorhinal.families.supervised.cells import ThreeLayerNetwork
from entorhinal.families.supervised.kernels import gated_population_gradients
from entorhinal.families.supervised.sorscher import SorscherConfig

__all__ = ["Nayebi", "NayebiConfig"]


class NayebiConfig(SorscherConfig):
    """Config of `supervised/sorscher`, whose numbers the authors kept."""


class Nayebi(ThreeLayerNetwork):
    """Rates g ``(B, T, units)``, state h ``(B, units)``, eqs. (1) to (3); integrates paths."""

    Config = NayebiConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {
            "units": 256,
            "place_cells": 256,
            "weight_decay": 1e-5,
            "batch": 500,
            "lr": 1e-3,
            "schedule": "cosine",
            "steps": 15_000,
        },
    }
    card = Card(
        id="supervised/nayebi-v1",
        title="Gated network with a dense layer, trained on place cells",
        citation="""@inproceedings{nayebi2021,
  title = {Explaining heterogeneity in medial entorhinal cortex with task-driven neural networks},
  author = {Nayebi, Aran and Attinger, Alexander and Campbell, Malcolm G. and Hardcastle, Kiah and
            Low, Isabel I. C. and Mallory, Caitlin S. and Mel, Gabriel C. and Sorscher, Ben and
            Williams, Alex H. and Ganguli, Surya and Giocomo, Lisa M. and Yamins, Daniel L. K.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {34},
  year = {2021}
}""",
        training_extent_m=2.2,
        lattice="emerged",
        supervision="target",
        deviations=(
            "The weight penalty falls on the recurrent weights; in the authors' program it fell on the bias of the "
            "recurrent layer.",
            "U and W have Glorot's bounds each; in the authors' program they are one matrix with the bounds of that.",
            "Walks stop at the walls, and the difference of softmaxes is uniform where it would be 0/0, as in "
            "supervised/sorscher.",
        ),
        provenance={
            "units": "authors' program",
            "place_cells": "authors' program",
            "place_width_m": "authors' program",
            "surround_variance_ratio": "authors' program, where it multiplies σ²",
            "target": "authors' program; the Gaussian alternative is that of supervised/sorscher",
            "weight_decay": "authors' program; 1e-5 in the small preset, ours",
            "side_m": "authors' program",
            "steps_per_trajectory": "authors' program",
            "batch": "authors' program; 500 in the small preset, ours",
            "lr": "authors' program; the small preset is ours",
            "schedule": "authors' program, whose rate is constant; cosine, in the small preset, is ours",
            "steps": "authors' program: 100 epochs of 1,000 batches; the small preset is ours",
            "centre_seed": "ours",
            "seed": "ours; weights after Glorot & Bengio 2010, biases 0, as in the authors' program",
        },
    )

    def __init__(self, config: NayebiConfig | None = None) -> None:
        config = self.Config() if config is None else config
        super().__init__(config, cell="ugrnn", activation="relu", code_size=config.place_cells)

    def population_gradients(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What autograd finds for `loss`, for S networks at once."""
        return self._by_hand(gated_population_gradients, params, buffers, batch)
