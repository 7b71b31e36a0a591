# Written by .ci/stubs.py: `make export`
import numpy as np
from dataclasses import dataclass
from typing import Any

__all__ = ['FORMATS', 'Format', 'spacing', 'nearest', 'mean_error']

@dataclass(frozen=True)
class Format:
    name: str
    max: float
    normal: float
    eps: float
    block: int = ...
    slack: float = ...
    reach: float = ...
    @property
    def tiny(self) -> float: ...
FORMATS: dict[Any, Any]

def spacing(x: np.ndarray, f: Format) -> np.ndarray: ...

def nearest(x: np.ndarray, f: Format) -> np.ndarray: ...

def mean_error(a: np.ndarray, b: np.ndarray, f: Format) -> np.ndarray: ...
