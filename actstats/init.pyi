# Written by .ci/stubs.py: `make export`
import numpy as np
from .learner import Callback, Table
from .weights import Centring, GeneralRelu, act_moments, centring, init_weights
from collections.abc import Iterator
from contextlib import contextmanager
from torch import nn
from typing import Any

__all__ = ['conv', 'get_model', 'untouched', 'Broyden', 'lsuv_init', 'LSUVCB', 'Centring', 'GeneralRelu', 'act_moments', 'centring', 'init_weights']

def conv(ni: int, nf: int, ks: int=3, stride: int=2, act: object=..., norm: object=None, bias: bool | None=None) -> nn.Sequential: ...

def get_model(act: object=..., norm: object=None, nfs: tuple[int, ...]=...) -> nn.Sequential: ...

@contextmanager
def untouched(model: nn.Module) -> Iterator[Any]: ...

class Broyden:
    dx: Any
    r: np.ndarray
    B: Any
    def __init__(self) -> None: ...
    def __call__(self, r: np.ndarray) -> np.ndarray: ...

def lsuv_init(model: nn.Module, xb: Any, *, mods: object=None, tol: float=0.001, max_rounds: int=20) -> Table: ...

class LSUVCB(Callback, order=-7):
    mods: Any
    n_inp: int
    kwargs: dict[str, Any]
    table: Any
    def __init__(self, mods: Any=None, n_inp: int=1, **kwargs: Any) -> None: ...
    def before_fit(self, learn: Any) -> None: ...
