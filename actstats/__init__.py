__version__ = "0.1.0"

from actstats.stats import FloatBins, LinearBins
from actstats.recording import Hook, Hooks, Recording, watch
import actstats.report  # and with it plots and diagnosis: they give a recording its pictures and words, and load matplotlib when it is used

__all__ = ['watch', 'Recording', 'Hook', 'Hooks', 'FloatBins', 'LinearBins']
