"""What a training step does with its device, without one: everything is on `meta`, where tensors have no values.

There an operation on two devices fails, and so does what waits for a value: on a GPU that would be an error, or a halt.
"""

import pytest
import torch
from conftest import composed

from unroll.building import build_data, build_task
from unroll.composing import groups

META = torch.device("meta")


class Autocast(torch.autocast):
    """Does not know meta, and is not wanted here."""

    def __init__(self, device_type: str, *rest: object, **more: object) -> None:
        super().__init__("cpu" if device_type == "meta" else device_type, *rest, **more)


@pytest.mark.parametrize("model", ["gru", "min_gru"])
@pytest.mark.parametrize("task", groups()["task"])
def test_a_training_step_stays_on_its_device_and_never_waits_for_it(task, model, monkeypatch):
    asked = torch.is_autocast_enabled
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind != "meta" and asked(kind))
    monkeypatch.setattr(torch, "autocast", Autocast)
    small = [f"task={task}", f"model={model}", "logger=none", "model.hidden_size=16", "trainer.accelerator=cpu"]
    is_sized = isinstance(composed(f"task={task}")["data"].get("sizes", [0.0])[0], int)
    config = composed(*small, *(["data.sizes=[200,40,40]"] if is_sized else []))
    data = build_data(config)
    data.prepare_data()
    module = build_task(config, data.spec).train()
    batch = next(iter(data.train_dataloader()))
    module = module.to(META)
    on_device = module.transfer_batch_to_device(batch, META, 0)
    loss = module.loss(on_device, None)
    loss.value.backward()
    assert loss.value.device == META
    assert all(weight.grad is not None for weight in module.parameters() if weight.requires_grad)
    module.last_losses(on_device).sum().backward()
