"""Does losing updates to rounding do harm? The rule `updates_rounded_away`, judged on trainings in half precision and their twins in float32.

    python benchmarks/failures/store.py halves 160    # once
    python benchmarks/failures/rounding.py            # prints a table, writes rounding.json

Of each run the first hundred batches are read. `share` is what the rule computes: which share of the updates of weights in 16 bits is zero though
the gradient is not. Beside it stand numbers that the rule might use instead or as well.
"""
import json
import math
import warnings

from joblib import Parallel, delayed
from sklearn.metrics import roc_auc_score
import numpy as np
import pandas as pd

from actstats.ailments import RULES, _graver, _rounded_away
from actstats.symptoms import Case
from outcomes import load
from store import HERE, STORE, Config

AT, GRAVE = .75, .85   # the thresholds of the rule
LEARNT = .3           # a twin with a lower score, relative to healthy runs of its task, has not learnt enough to be compared with
SIGNS = 'share', 'lost_l1', 'lost_l2'


# ---- one run ----

def _magnitudes(h, rows)->tuple:
    "Counts of the bins of a history, and their least and largest magnitudes; infinite ends are those of a bin as wide as its neighbour"
    e = np.array(h.edges, float)
    e[0], e[-1] = 2*e[1], 2*e[-2]
    return h.hist[rows].sum(0), np.minimum(np.abs(e[:-1]), np.abs(e[1:])), np.maximum(np.abs(e[:-1]), np.abs(e[1:]))

def _lost_of(g, u, rows)->tuple:
    "Which share of the sum of magnitudes, and of squares, of the gradients is lost at least, if the smallest ones are"
    n, a, b = _magnitudes(g, rows)
    order = np.argsort(-a - b)
    n, size = n[order], (a + b)[order]/2
    kept = max(0, int(u.n[rows].sum() - u.n_zero[rows].sum()))
    taken = np.clip(kept - (n.cumsum() - n), 0, n)
    return tuple(1 - (taken*size**p).sum()/max((n*size**p).sum(), 1e-300) for p in (1, 2))

def _per_octave(p, u, rows, eps:float)->tuple:
    "Of the weights between two powers of two, how many there are, and how many moved by just one spacing of their format"
    def counts(h, lo, hi): return h[0][(h[1] >= lo*.999) & (h[2] <= hi*1.001)].sum()
    p, u = _magnitudes(p, rows), _magnitudes(u, rows)
    octaves = 2.**np.arange(-16, 5)
    return np.array([(counts(p, o, 2*o), counts(u, eps*o, 1.5*eps*o)) for o in octaves], float)

def _slope(p, u, rows, eps:float)->tuple:
    """How the mean step changes from an octave of weights to the next, in octaves, and how much that weighs. Unbiased rounding leaves it as it is,
    since it makes one step of a spacing of what would have been many small ones; rounding to nearest has lost them where the spacing is larger"""
    n, moved = _per_octave(p, u, rows, eps).T
    some = (n > max(200, .02*n.sum())) & (moved < .3*n)
    if some.sum() < 2: return 0., 0.
    y, x, w = np.log2((moved[some] + .5)/n[some]) + np.arange(len(n))[some], np.arange(len(n))[some], np.sqrt(n[some])
    return float(np.polyfit(x, y, 1, w=np.sqrt(w))[0]), float(n[some].sum())

def look(path)->dict:
    warnings.simplefilter('ignore')
    run = json.loads(path.read_text())
    c = Config(**{k: run[k] for k in ('arch', 'kind', 'what', 'severity', 'seed')})
    rec = load('halves', c)
    case = Case(rec, upto=100)
    share = _rounded_away(case)[0]
    found = [f.severity for f in RULES['updates_rounded_away'](case)]
    l1, l2, slopes, sizes = [], [], [], []
    for n in case.weights:
        p, u, g = (rec._history(n, k) for k in ('param', 'update', 'param_grad'))
        dtype = str(rec.dtypes[n, 'param'])
        if 'float16' not in dtype: continue
        rows = slice(-(len(u)//3), None)
        a, b = _lost_of(g, u, rows)
        size = float(u.n[-1])
        l1.append((a, size)), l2.append((b, size))
        s, w = _slope(p, u, rows, 2.**-7 if 'bfloat16' in dtype else 2.**-10)
        if w: slopes.append((s, w))
    def mean(pairs): return float(np.average([a for a,_ in pairs], weights=[b for _,b in pairs])) if pairs else math.nan
    return {k: run[k] for k in ('arch', 'kind', 'what', 'severity', 'seed', 'steps', 'metric', 'chance', 'twin', 'harmed', 'optimizer', 'dtype', 'keeps', 'rate', 'seconds')} | dict(
        share=share, found=found[0] if found else '', stuck=_graver(case) == 'error', lost_l1=mean(l1), lost_l2=mean(l2), slope=mean(slopes))


# ---- all of them ----

def counted(d, at:float=AT, grave:float=GRAVE, by:str='share')->dict:
    "Of runs that were harmed, and of those that were not: how many have a larger share than these"
    bad, good = d[d.harmed], d[~d.harmed]
    return dict(harmed=len(bad), named=int((bad[by] >= at).sum()), grave=int((bad[by] > grave).sum()),
                harmless=len(good), warned=int((good[by] >= at).sum()), grave_of_harmless=int((good[by] > grave).sum()))

def area(d, by:str)->float|None:
    d = d[d[by].notna()]
    return round(float(roc_auc_score(d.harmed, d[by])), 3) if d.harmed.nunique() == 2 else None

def best(d, by:str='share')->tuple:
    "The threshold with the largest difference between the rates of harmed and of harmless runs above it; and the lowest one that 3 % of the harmless exceed"
    tried = np.arange(.3, .995, .01)
    bad, good = d[d.harmed][by].to_numpy(), d[~d.harmed][by].to_numpy()
    gain = [(bad >= t).mean() - (good >= t).mean() for t in tried]
    return round(float(tried[int(np.argmax(gain))]), 2), round(float(next((t for t in tried if (good > t).mean() <= .03), 1.)), 2)

def halves_of(d, by:str='share')->dict:
    "Thresholds by runs of even seeds, judged by those of odd ones, and the other way round"
    even = d.seed % 2 == 0
    return {name: dict(zip(('warn_from', 'grave_above'), best(a, by))) | counted(b, *best(a, by), by)
            for name,a,b in (('by even seeds, on odd ones', d[even], d[~even]), ('by odd seeds, on even ones', d[~even], d[even]))}

def steps_of(d)->list:
    "Runs and harmed runs by the share that was lost"
    edges = [0, .2, .4, .6, .7, .8, .85, .9, .95, .98, 1.001]
    return [dict(share=[a, min(b, 1.)], runs=int(m.sum()), harmed=int(d.harmed[m].sum()), score=round(float(d.score[m].median()), 3))
            for a,b in zip(edges, edges[1:]) if (m := (d.share >= a) & (d.share < b)).any()]

def thresholds_of(d)->list:
    "How many runs have at least such a share: harmed ones, those with less than half the score of the twin, and harmless ones; and of those that are stuck"
    return [dict(at=t, harmed=int((d.harmed & (d.share >= t)).sum()), fatal=int(((d.score < .5) & (d.share >= t)).sum()), harmless=int((~d.harmed & (d.share >= t)).sum()),
                 stuck=dict(harmed=int((d.harmed & d.stuck & (d.share >= t)).sum()), fatal=int((d.stuck & (d.score < .5) & (d.share >= t)).sum()), harmless=int((~d.harmed & d.stuck & (d.share >= t)).sum())))
            for t in (.5, .6, .65, .7, .75, .8, .85, .9, .95)]

def study()->tuple:
    d = pd.DataFrame(Parallel(n_jobs=1)(delayed(look)(p) for p in sorted((STORE/'halves').glob('*.json'))))
    usual = d.arch.map(d[d.kind == 'healthy'].groupby('arch').metric.median())
    d['score'] = (d.metric - d.chance)/(d.twin - d.chance)
    d['twin_score'] = (d.twin - d.chance)/(usual - d.chance)
    left_out = d[d.twin_score < LEARNT]
    d = d[d.twin_score >= LEARNT]
    half, full = d[d.dtype != 'float32'], d[d.dtype == 'float32']
    plain, kept = half[half.keeps == ''], half[half.keeps != '']
    heavy = half[half.share >= .4]
    res = dict(runs=len(d), left_out=len(left_out), seconds=round(float(d.seconds.mean()), 2),
        float32=dict(runs=len(full), warned=int((full.found != '').sum()), harmed=int(full.harmed.sum())),
        half=dict(runs=len(half), **counted(half), errors=int((half.found == 'error').sum())),
        plain=counted(plain) | dict(errors_harmed=int((plain[plain.harmed].found == 'error').sum()), errors_harmless=int((plain[~plain.harmed].found == 'error').sum())),
        keeping=counted(kept) | dict(errors=int((kept.found == 'error').sum()), shares=sorted(kept.share.round(2).tolist())),
        auroc={s: area(half, s) for s in SIGNS}, auroc_plain={s: area(plain, s) for s in SIGNS},
        by_optimizer={o: dict(auroc=area(x, 'share'), **counted(x)) for o,x in plain.groupby('optimizer')},
        by_dtype={o: dict(auroc=area(x, 'share'), **counted(x)) for o,x in plain.groupby('dtype')},
        by_share=steps_of(plain), thresholds=thresholds_of(plain), fatal=int((plain.score < .5).sum()), all=dict(zip(('warn_from', 'grave_above'), best(plain))) | counted(plain, *best(plain)), halves=halves_of(plain),
        keeping_told_by_slope=round(float(roc_auc_score(heavy.keeps != '', heavy.slope.fillna(0))), 3) if heavy.keeps.ne('').nunique() == 2 else None)
    return d, res

def told(res:dict):
    print('share lost   runs  harmed  median score')
    for r in res['by_share']: print(f"{r['share'][0]:.2f} to {r['share'][1]:.2f}  {r['runs']:4}  {r['harmed']:6}  {r['score']:.2f}")
    print('share from  harmed  fatal  harmless   the same, if stuck')
    for r in res['thresholds']: print(f"{r['at']:10.2f}  {r['harmed']:6}  {r['fatal']:5}  {r['harmless']:8}   {r['stuck']['harmed']:4} {r['stuck']['fatal']:4} {r['stuck']['harmless']:4}")
    for k in ('float32', 'half', 'plain', 'keeping', 'auroc', 'auroc_plain', 'fatal', 'by_optimizer', 'by_dtype', 'all', 'halves', 'keeping_told_by_slope'): print(f'{k}: {res[k]}')


if __name__ == '__main__':
    d, res = study()
    (HERE/'rounding.json').write_text(json.dumps(res, indent=1) + '\n')
    told(res)
