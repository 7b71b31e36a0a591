# Written by .ci/stubs.py: `make export`
from .bins import FloatBins, LinearBins
from .hooks import Hook, Hooks
from .outliers import Outliers
from .recording import Recording
from .watching import watch

__version__: str
__all__ = ['watch', 'Recording', 'Hook', 'Hooks', 'FloatBins', 'LinearBins', 'Outliers']
