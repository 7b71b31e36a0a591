__version__ = "0.1.0"

from actstats.bins import FloatBins, LinearBins
from actstats.hooks import Hook, Hooks
from actstats.recording import Recording
from actstats.watching import watch
from actstats.attention import Attention
from actstats.experts import Experts
from actstats.outliers import Outliers
# these give a recording its files, pictures, words and views; what they need is loaded when it is used
import actstats.merging, actstats.ranks, actstats.blackbox, actstats.twins, actstats.precision, actstats.tables, actstats.compare, actstats.live, actstats.report, actstats.trackers, actstats.reduction, actstats.events, actstats.lenses

__all__ = ['watch', 'Recording', 'Hook', 'Hooks', 'FloatBins', 'LinearBins', 'Attention', 'Experts', 'Outliers']
