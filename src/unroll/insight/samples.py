"""Text that the model writes while it learns."""

from pathlib import Path
from typing import Annotated, Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from pydantic import Field, NonNegativeFloat, PositiveInt

from unroll.insight.showing import is_shown, show
from unroll.writing import written_whole


class Samples(Callback):
    """After each validation, a text at each temperature: on the terminal, in samples/step_N.txt, and in W&B.

    Only for tasks that can write (that have a method `write`). The texts are drawn from a generator of their own, so that
    they change nothing in training.

    Args:
        temperatures: one text each.
        length: characters a text, or words.
        prompt: what each goes on from.
        seed: the same one every time, so that texts of one run can be compared.
        shown: characters of each that are printed on the terminal.
    """

    def __init__(
        self,
        temperatures: list[NonNegativeFloat],
        length: PositiveInt,
        prompt: Annotated[str, Field(min_length=1)],
        seed: int,
        shown: PositiveInt,
    ) -> None:
        self.temperatures = temperatures
        self.length = length
        self.prompt = prompt
        self.seed = seed
        self.shown = shown
        self._rows: list[list[object]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rows = state_dict["rows"]

    @rank_zero_only
    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        path = Path(trainer.default_root_dir) / "samples" / f"step_{trainer.global_step:07d}.txt"
        after_training = trainer.state.fn != "fit"
        write: Any = getattr(pl_module, "write", None)
        if write is None or (after_training and path.exists()):
            return
        texts = {
            temperature: write(self.prompt, self.length, temperature, seed=self.seed)[0]
            for temperature in self.temperatures
        }
        path.parent.mkdir(exist_ok=True)
        with written_whole(path) as unfinished:
            unfinished.write_text(
                "\n\n".join(f"--- temperature {temperature} ---\n{text}" for temperature, text in texts.items()) + "\n",
                encoding="utf-8",
            )
        for temperature, text in texts.items():
            shown = " ".join(text.split())[: self.shown]
            print(f"  {temperature:>4} | {shown}", flush=True)
        if is_shown(trainer.loggers):  # or a checkpoint would grow with them for nothing
            self._rows += [[trainer.global_step, temperature, text] for temperature, text in texts.items()]
            show(trainer.loggers, {}, {"samples": (["step", "temperature", "text"], self._rows)})
