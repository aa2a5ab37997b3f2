"""Self-supervised learning of space by Separation, Invariance and Capacity (Schaeffer et al. 2023).

A network that is told only its velocities learns a code of place from three wishes: states at far places are to differ
(separation), states at near places to agree whatever the path (invariance), and the population to use all its units
(capacity); a fourth asks that small steps move the code at one speed (conformal isometry).

    g_t = Norm(ReLU(W(v_t) g_{t−1})),   W(v) = MLP(v)
    L   = λ_sep ⟨exp(−‖g−g′‖²/2σ_g²)⟩_{far} + λ_inv ⟨‖g−g′‖²⟩_{near} − λ_cap ‖⟨g⟩‖² + λ_con Var[‖Δg‖/‖v‖]

over all pairs of the B·T states of B random permutations of one sequence of T velocities; σ_x parts far from near.
Known positions serve only to choose pairs, and those are sums of the network's own velocities.
"""

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from entorhinal.families.model import Card
from entorhinal.ssl.architecture import rectified_unit
from entorhinal.ssl.kernels import sic_population_gradients
from entorhinal.ssl.sic_losses import sic
from entorhinal.ssl.velocity_network import PROVENANCE, VelocityNetwork, VelocityNetworkConfig, kernel_precision

__all__ = ["SIC", "SICConfig"]


class SICConfig(VelocityNetworkConfig):
    separation_width: float = Field(0.4, gt=0, description="σ_g")
    separation_weight: float = Field(1.0, ge=0, description="λ_sep")
    invariance_weight: float = Field(0.1, ge=0, description="λ_inv")
    capacity_weight: float = Field(0.5, ge=0, description="λ_cap")
    conformal_weight: float = Field(0.001, ge=0, description="λ_con")
    conformal_min_step_m: float = Field(0.001, gt=0)
    conformal_max_step_m: float = Field(0.1, gt=0)


class SIC(VelocityNetwork):
    """Rates g ``(B, T, units)`` on the unit sphere; state g ``(B, units)``."""

    near_m: Tensor
    separation_width: Tensor
    separation_weight: Tensor
    invariance_weight: Tensor
    capacity_weight: Tensor
    conformal_weight: Tensor

    Config = SICConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {
            "units": 40,
            "hidden": 32,
            "activation": "relu",
            "input_gain": 1.0,
            "steps_per_trajectory": 16,
            "trajectories": 16,
            "near_m": 0.1,
            "lr": 3e-3,
            "warmup_steps": 200,
            "steps": 12_000,
        },
        "paper": {
            "optimizer": "adamw",
            "lr": 2e-5,
            "schedule": "plateau",
            "warmup_steps": 0,
            "weight_decay": 0.01,
            "accumulation": 2,
            "steps": 2_000_000,
        },
    }
    card = Card(
        id="ssl/sic-v1",
        title="Separation, invariance, capacity (self-supervised)",
        citation="""@inproceedings{schaeffer2023,
  title = {Self-Supervised Learning of Representations for Space Generates Multi-Modular Grid Cells},
  author = {Schaeffer, Rylan and Khona, Mikail and Ma, Tzuhsuan and Eyzaguirre, Cristobal and Koyejo, Sanmi and
    Fiete, Ila Rani},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {36},
  year = {2023}
}""",
        training_extent_m=2.0,  # no walls, but 95 % of the states lie within 0.92 m of the origin
        lattice="emerged",
        supervision="pairs",
        settings_tried=16,
        tuned_on="grid scores in 4 m",
        gpu_hours=0.3,
        deviations=(
            "Adam with a warm-up and cosine decay at 2e-4 instead of AdamW at 2e-5 on a plateau schedule (preset "
            "'paper'): the paper's 2,000,000 steps become 36,000",
            "every loss is a mean, and a pair is of two different states: the paper does not state either",
            "the conformal term takes steps of 1 mm to 0.1 m (the paper: below σ_x)",
        ),
        provenance=PROVENANCE
        | {
            "separation_width": "Schaeffer et al. 2023",
            "separation_weight": "Schaeffer et al. 2023",
            "invariance_weight": "Schaeffer et al. 2023",
            "capacity_weight": "Schaeffer et al. 2023",
            "conformal_weight": "not stated in the paper; the smallest that trained here",
            "conformal_min_step_m": "chosen here: the ratio diverges for short steps",
            "conformal_max_step_m": "chosen here; the paper has steps below σ_x",
        },
    )

    def __init__(self, config: SICConfig) -> None:
        weights = ("separation_weight", "invariance_weight", "capacity_weight", "conformal_weight")
        super().__init__(config, ("near_m", "separation_width", *weights))

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The four terms and their weighted ``total``, each 0-d."""
        return self.terms(*self.unrolled(batch), batch)

    def terms(self, states: Tensor, step_m: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss` of states ``(B, T, units)`` after each of step_m ``(B, T, 2)``."""
        return sic(
            states,
            rectified_unit(self.initial),
            step_m.cumsum(1),
            step_m,
            near_m=self.near_m,
            separation_width=self.separation_width,
            weights={
                "separation": self.separation_weight,
                "invariance": self.invariance_weight,
                "capacity": self.capacity_weight,
                "conformal": self.conformal_weight,
            },
            min_step_m=self.config.conformal_min_step_m,
            max_step_m=self.config.conformal_max_step_m,
        )

    def population_gradients(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What autograd finds for `loss`, for S networks at once (`entorhinal.ssl.kernels`)."""
        return sic_population_gradients(
            params,
            buffers,
            batch,
            activation=self.config.activation,
            conformal_min_step_m=self.config.conformal_min_step_m,
            conformal_max_step_m=self.config.conformal_max_step_m,
            precision=kernel_precision(),
        )
