# Written by .ci/stubs.py: `make export`
from torch import nn
from typing import Any, NamedTuple

__all__ = ['init_weights', 'act_moments', 'Centring', 'centring', 'GeneralRelu']

def init_weights(m: nn.Module, leaky: float=0.0, gain: float | None=None) -> None: ...

def act_moments(act: Any, std: float=1.0) -> tuple: ...

class Centring(NamedTuple):
    sub: float
    gain: float
    std: float

def centring(act: Any, std: float | None=1.0) -> Centring: ...

class GeneralRelu(nn.Module):
    leak: float | None
    sub: float | None
    maxv: float | None
    def __init__(self, leak: float | None=None, sub: float | None=None, maxv: float | None=None) -> None: ...
    def forward(self, x: Any) -> Any: ...
    def extra_repr(self) -> Any: ...
