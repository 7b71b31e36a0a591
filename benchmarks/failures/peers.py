"""What others would say about the same recordings: published rules, with their published thresholds.

Each gives a number for a recording's first steps: above 0 the rule fires. Where a rule is a threshold on one number, larger numbers rank runs.
"""
import numpy as np
import torch

from actstats.bins import LinearBins


def histories(rec, kind, upto): return [h for name,k in rec if k == kind for h in [rec._history(name, k).upto(upto)] if len(h)]
def loss(rec, upto): return rec['loss', 'log'].upto(upto).mean if 'loss' in rec.logs else np.zeros(0)
def rms(h): return np.hypot(h.mean, np.nan_to_num(h.std))
def broken(rec, upto): return any((h.n_nan + h.n_posinf + h.n_neginf).any() for kind in ('act', 'param_grad', 'param', 'log') for h in histories(rec, kind, upto))
def matrices(rec, upto): return [h for h in histories(rec, 'param_grad', upto) if not h.name.endswith('bias') and h.n_total[-1] > 64]

def share(h, lo, hi):
    "Of values from lo to hi, in each row"
    return h.in_bins(LinearBins(lo, hi, 1))[:, 1]/np.maximum(h.hist.sum(1), 1)


def autotrainer(rec, upto):
    """AUTOTRAINER (Zhang et al., ICSE 2021): exploding or vanishing gradients, dying ReLUs, a loss that oscillates or hardly moves

    It looks at accuracies for the last; here they are losses, since not all of the models classify.
    """
    g, y = matrices(rec, upto), loss(rec, upto)
    if broken(rec, upto): return 1.
    first, last = (rms(g[0])[-1], rms(g[-1])[-1]) if g else (0., 0.)
    if last > 0 and first/last > 70 or (last > 0 and first/last < 1e-3 and first < 1e-4): return 1.
    if any(np.median(h.frac_zero[-3:]) >= .7 for h in g): return 1.
    rises = np.diff(y) > 0
    if rises.mean() > .5 and y.max() - y.min() > .03*abs(y).max() and y[-5:].mean() >= y[:5].mean(): return 1.
    return float(y[:5].mean() - y[-5:].mean() < .01)


def sagemaker(rec, upto):
    "Rules of SageMaker Debugger that need no labels, with their default thresholds"
    acts, y = histories(rec, 'act', upto), loss(rec, upto)
    fired = [broken(rec, upto)]
    fired += [np.nanmax(h.frac_dead) > .5 for h in acts if np.isfinite(h.frac_dead).any() and h.frac_zero.max() > 0]  # dead ReLU
    fired += [rms(h).min() < 1e-7 for h in matrices(rec, upto)]  # vanishing gradient
    fired += [(share(h, -9.5, 9.5) < .5).any() for h in acts if 'Tanh' in rec.meta['modules'].get(h.name, '')]  # saturation
    for name in rec.params:  # update to weight ratio
        if (name, 'update') in rec and not name.endswith('bias'):
            r = rms(rec[name, 'update'].upto(upto))/np.maximum(rms(rec[name, 'param'].upto(upto)), 1e-30)
            fired.append((r > 10).any() or (r < 1e-8).any())
    v = np.array([h.std[:10]**2 for h in acts if len(h) >= 10])
    if len(v): fired.append((v.max(0) > 10*np.maximum(v.min(0), 1e-30)).any())  # poor initialisation
    fired.append(any(y[i:i + 10].min() >= y[:i].min() for i in range(10, len(y) - 9, 10)))  # loss not decreasing for ten steps
    if rec.dtypes.get(('input', 'input')) in (torch.float32, torch.float16): fired.append((abs(rec['input', 'input'].upto(upto).mean) > .2).any())
    return float(any(fired))


def near_zero(rec, upto):
    "fastai's ActivationStats: the share of values of at most 0.05, here of the layer that has most of them; a threshold is set on other runs"
    return max((np.median((1 - h.in_bins(LinearBins(.05, 1e9, 1))[:, 1:].sum(1)/np.maximum(h.hist.sum(1), 1))[-5:]) for h in histories(rec, 'act', upto)), default=0.)


RULES = dict(AUTOTRAINER=autotrainer, **{'SageMaker Debugger': sagemaker})
