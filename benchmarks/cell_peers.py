"""Our cells beside others' implementations of the same equations: a training step, forward and backward, on one thread.

    pip install --no-deps xlstm==2.0.6 transformers==5.23.0
    pip install minGRU-pytorch flax
    python benchmarks/cell_peers.py            # a peer that is not installed is left out, and told

B = 32, T = 256, 256 features, float32, gradients of all weights and of the input. Both sides take turns in random order;
ratios are medians over the turns.
"""

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

if os.environ.get("OMP_NUM_THREADS") != "1":  # before torch and jax are loaded
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.execv(sys.executable, [sys.executable, *sys.argv])

import hydra.utils
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tables import write_peer
from torch import Tensor, nn

from unroll.composing import CONF
from unroll.machine import free_speed

B, T, H = 32, 256, 256
Step = Callable[[], None]


def ours(model: str) -> Step:
    """A stack of one layer, as a run has it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = compose("train", [f"model={model}", f"model.hidden_size={H}", "model.output_norm=false"]).model
    recurrent = hydra.utils.instantiate(OmegaConf.to_container(node, resolve=True), _convert_="all")(input_size=H)
    return trained(recurrent, lambda x: recurrent(x)[0], torch.randn(T, B, H))


def trained(module: nn.Module, outputs: Callable[[Tensor], Tensor], x: Tensor) -> Step:
    """A step of it, of torch's kind."""
    x.requires_grad_()

    def step() -> None:
        module.zero_grad(set_to_none=True)
        x.grad = None
        outputs(x).square().mean().backward()

    return step


def mlstm_block() -> Step:
    """xlstm's own, whose parallel form is the one that it trains by."""
    from xlstm import mLSTMLayerConfig
    from xlstm.blocks.xlstm_block import xLSTMBlock, xLSTMBlockConfig

    settings = mLSTMLayerConfig(num_heads=4, embedding_dim=H, context_length=T)
    block = xLSTMBlock(xLSTMBlockConfig(mlstm=settings, _num_blocks=1))
    return trained(block, block, torch.randn(B, T, H))


def slstm_block() -> Step:
    """xlstm's own, without its CUDA kernels."""
    from xlstm import FeedForwardConfig, sLSTMLayerConfig
    from xlstm.blocks.xlstm_block import xLSTMBlock, xLSTMBlockConfig

    settings = sLSTMLayerConfig(num_heads=4, embedding_dim=H, backend="vanilla", dtype="float32")
    mlp = FeedForwardConfig(proj_factor=4 / 3, embedding_dim=H, _num_blocks=1)
    block = xLSTMBlock(xLSTMBlockConfig(slstm=settings, feedforward=mlp, _num_blocks=1))
    return trained(block, block, torch.randn(B, T, H))


def griffin() -> Step:
    """transformers' RecurrentGemma layer, with the gates' matrices whole, as ours are."""
    from transformers.models.recurrent_gemma import modeling_recurrent_gemma as published

    settings = {"hidden_size": H, "lru_width": H, "intermediate_size": 2 * 3 * H}
    config = published.RecurrentGemmaConfig(num_attention_heads=1, layers_block_types=["recurrent"], **settings)
    layer = published.RecurrentGemmaDecoderLayer(config, layer_idx=0)
    for weight in layer.parameters():  # it comes without
        nn.init.normal_(weight, std=H**-0.5)
    positions = torch.arange(T).expand(B, T)
    return trained(
        layer,
        lambda x: layer(x, position_ids=positions, attention_mask=None, use_cache=False),
        torch.randn(B, T, H),
    )


def min_gru() -> Step:
    """minGRU-pytorch's, by Heinsen's scan of logarithms."""
    from minGRU_pytorch import minGRU

    cell = minGRU(H)
    return trained(cell, cell, torch.randn(B, T, H))


def flax_lstm() -> Step:
    """flax's, scanned and compiled."""
    import jax
    from flax import linen

    layer = linen.RNN(linen.OptimizedLSTMCell(H))
    x = jax.random.normal(jax.random.key(0), (B, T, H))
    weights = layer.init(jax.random.key(1), x)
    gradients = jax.jit(jax.grad(lambda weights, x: (layer.apply(weights, x) ** 2).mean(), argnums=(0, 1)))
    return lambda: jax.block_until_ready(gradients(weights, x))


# Of each the module that it needs, the name of what is ours, the peer's name, and the peer.
PAIRS: list[tuple[str, str, str, Callable[[], Step]]] = [
    ("xlstm", "mlstm_block", "xlstm 2.0's mLSTMBlock", mlstm_block),
    ("xlstm", "slstm_block", "xlstm 2.0's sLSTM block (its loop in Python)", slstm_block),
    ("transformers", "griffin", "transformers' RecurrentGemma layer (its loop in Python)", griffin),
    ("minGRU_pytorch", "min_gru", "minGRU-pytorch", min_gru),
    ("flax", "lstm", "flax's scanned LSTM, compiled", flax_lstm),
]


def seconds(step: Step) -> float:
    """Of one step."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.manual_seed(0)
    free_speed()
    for module, model, peer, make in PAIRS:
        if find_spec(module) is None:
            print(f"{module}: is not installed, left out")
            continue
        steps = {"ours": ours(model), "theirs": make()}
        found: dict[str, list[float]] = {side: [] for side in steps}
        for turn in range(options.repeats + 1):
            for side in random.sample(list(steps), 2):
                took = seconds(steps[side])
                if turn:  # the first is warm-up
                    found[side].append(took)
        write_peer(
            peer,
            f"`{model}`: training steps a second, B = {B}, T = {T}, H = {H}, float32, one thread",
            [one / other for one, other in zip(found["theirs"], found["ours"], strict=True)],
            f"; {1000 * statistics.median(found['ours']):.0f} and {1000 * statistics.median(found['theirs']):.0f} ms",
        )
