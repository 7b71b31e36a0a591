# Written by .ci/stubs.py: `make export`
import numpy as np
from .learner import Callback, Table
from collections.abc import Iterator
from contextlib import contextmanager
from torch import nn
from typing import Any, NamedTuple

__all__ = ['init_weights', 'act_moments', 'Centring', 'centring', 'GeneralRelu', 'conv', 'get_model', 'untouched', 'Broyden', 'lsuv_init', 'LSUVCB']

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

def conv(ni: int, nf: int, ks: int=3, stride: int=2, act: Any=..., norm: Any=None, bias: bool | None=None) -> nn.Sequential: ...

def get_model(act: Any=..., norm: Any=None, nfs: tuple[int, ...]=...) -> nn.Sequential: ...

@contextmanager
def untouched(model: nn.Module) -> Iterator[Any]: ...

class Broyden:
    dx: Any
    r: np.ndarray
    B: Any
    def __init__(self) -> None: ...
    def __call__(self, r: np.ndarray) -> np.ndarray: ...

def lsuv_init(model: nn.Module, xb: Any, *, mods: Any=None, tol: float=0.001, max_rounds: int=20) -> Table: ...

class LSUVCB(Callback, order=-7):
    mods: Any
    n_inp: int
    kwargs: dict[str, Any]
    table: Any
    def __init__(self, mods: Any=None, n_inp: int=1, **kwargs: Any) -> None: ...
    def before_fit(self, learn: Any) -> None: ...
