# Written by .ci/stubs.py: `make export`
from .hooks import Tap
from torch import Tensor, nn
from typing import Any
from typing_extensions import Self

__all__ = ['OUTPUT', 'OUTPUTS', 'GRAD', 'GRADS_IN_GRAPHS', 'Probe', 'RootProbe', 'take_off']
OUTPUT: int
OUTPUTS: int
GRAD: int
GRADS_IN_GRAPHS: bool

class Probe(Tap):
    owner: Any
    from_graph: Any
    m: nn.Module
    all: bool
    grads: bool
    id: Tensor
    def __init__(self, owner: Any, f: Any, from_graph: Any, m: nn.Module, all: bool=False, grads: bool=False) -> None: ...
    def call_back(self, xs: Any, what: Any) -> None: ...
    def __call__(self, m: Any, args: Any, out: Any=None) -> None: ...
    def leave(self, out: Any) -> None: ...

class RootProbe(Probe):
    def __call__(self, m: Any, args: Any, kwargs: Any=None) -> None: ...
    def attach(self, m: Any) -> Self: ...

def take_off(model: nn.Module, owner: Any) -> None: ...
