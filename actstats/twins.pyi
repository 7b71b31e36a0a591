# Written by .ci/stubs.py: `make export`
import numpy as np

__all__ = ['distance']

def distance(a: np.ndarray, b: np.ndarray) -> float: ...
