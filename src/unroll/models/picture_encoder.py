"""A picture as a vector: a small convolutional network."""

from collections.abc import Sequence

from pydantic import PositiveInt
from torch import Tensor, nn

_GRID = 6  # places a side that are kept apart at the end


class PictureEncoder(nn.Module):
    """Layers of 3 x 3 convolutions with ReLU, each halving the picture's sides; then all places of a 6 x 6 grid side by side
    in one linear layer, so that the vector can tell where what is. The vector is normalized (Ba et al. 2016): were it small
    at first, the recurrence would learn to do without it.

    Args:
        channels: of each layer.
        vector_size: numbers of the vector.
    """

    def __init__(self, channels: Sequence[PositiveInt], vector_size: PositiveInt) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for given, wanted in zip([3, *channels], channels, strict=False):
            layers += [nn.Conv2d(given, wanted, 3, stride=2, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(_GRID), nn.Flatten())
        self.output = nn.Linear(channels[-1] * _GRID**2, vector_size)
        self.norm = nn.LayerNorm(vector_size)

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures: (batch, 3, height, width) of uint8 -> (batch, vector_size)."""
        x = pictures.to(self.output.weight.dtype) / 127.5 - 1
        return self.norm(self.output(self.layers(x)))
