# Written by .ci/stubs.py: `make export`
from .hooks import Hook, Hooks
from .recording import Recording
from .stats import FloatBins, LinearBins
from .watching import watch

__version__: str
__all__ = ['watch', 'Recording', 'Hook', 'Hooks', 'FloatBins', 'LinearBins']
