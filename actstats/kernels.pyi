# Written by .ci/stubs.py: `make export`
import numpy as np
from torch import Tensor
from typing import Any

__all__ = ['linear_keys', 'BLOCK', 'KEY', 'FEW', 'INF', 'NEG_INF', 'SHARE', 'extremes', 'zeros', 'moments', 'scatter', 'fold_in', 'few', 'prove', 'pick', 'widen_bfloat16', 'widen_float16', 'merge_moments', 'merge_row', 'any_bits', 'mark', 'Recorder', 'Share']

def extremes(u: Any, i: Any) -> tuple[Any, ...]: ...

def zeros(u: Any) -> tuple[Any, Any]: ...

def moments(x: Any, pivot: Any) -> tuple[Any, Any]: ...

def scatter(u: Any, shift: Any, h: Any) -> None: ...

def fold_in(h: Any, fold: Any, merged: Any, hist: Any) -> None: ...

def few(u: Any, shift: Any, fold: Any, hist: Any) -> None: ...
linear_keys: Any

def prove(edges: np.ndarray, lo: float, per: float) -> int: ...

def pick(x: Any, step: Any, buf: Any) -> Any: ...
BLOCK: int
KEY: Any
FEW: int
INF: Any
NEG_INF: Any

def widen_bfloat16(w: Any, u: Any) -> None: ...

def widen_float16(w: Any, x: Any, u: Any) -> None: ...

def merge_moments(r: Any, f: Any, n: Any, mean: Any, m2: Any) -> None: ...

def merge_row(a: Any, fa: Any, b: Any, fb: Any) -> None: ...

def any_bits(u: Any, mask: Any=...) -> bool: ...

def mark(u: Any, alive: Any, inner: Any, mask: Any=...) -> None: ...

class Recorder:
    row: Tensor
    alive: Tensor
    bins: Any
    sample: int
    args: np.ndarray
    dtype: Any
    shares: list[Any]
    address: Any
    plan: Any
    kernel: Any
    shape: Any
    dim: int
    strides: Any
    def __init__(self, row: Tensor, alive: Tensor, bins: Any, sample: int=0) -> None: ...
    def __call__(self, x: Tensor, dim: int) -> None: ...
    def prepare(self, x: Tensor, dim: int) -> Tensor: ...
    def divide(self, size: int) -> None: ...
    def together(self, address: int) -> None: ...
SHARE: Any

class Share:
    offset: Any
    args: Any
    row: Tensor
    alive: Any
    address: Any
    def __init__(self, r: Any, begin: int, n: int, size: int) -> None: ...
