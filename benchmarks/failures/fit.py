"""Fit the risk on the development origins, set its thresholds on origins that a fit has not seen, and write both to actstats/risk.json.

    python benchmarks/failures/fit.py            # fit and write
    python benchmarks/failures/fit.py --shift    # how far does each symptom shift between origins? writes benchmarks/shift.json

A sum of curves, one for each symptom (a generalised additive model: straight lines that bend at six places, fitted as a logistic
regression), and twice as much of boosted trees, which see what symptoms mean together. Both are from scikit-learn, which prediction does not need. Symptoms of which one knows that
they can only make things worse are told to the trees (`monotonic_cst`). Each origin weighs as much as the others, however many
runs it has. A part of the runs are seen once more without loss, and a part without optimizer, so that the risk is right for those
who do not give them.
"""
import json
import sys

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from outcomes import BATCHES, look
from store import HERE
from actstats.symptoms import SYMPTOMS

ORIGINS = 'small', 'networks', 'objectives', 'strangers'
LEFT_OUT = ('input_size', 'input_shift', 'input_spike', 'gain_max', 'decay', 'dropped', 'update_first', 'saturated',
    'grad_spread', # they differ between healthy runs of different origins, and hardly tell runs of one apart (--shift)
    'same', 'loss_level', 'frozen', 'half', 'update_max', 'in_eval', 'rate_past', 'output_growth', 'batch', 'update_change',
    'dead') # without them, runs of an origin that was left out are told apart better, or as well
NAMES = [n for n in SYMPTOMS if n not in LEFT_OUT]
KNOTS, EDGE = (-2., -1., -.5, .5, 1., 2.), 5. # where the lines bend, and where they end, in spreads of a symptom
TREES = 2. # the weight of the trees
WORSE = dict(loss_late=1, loss_rebound=1, explained=-1, below_zero=1, dead_most=1, not_finite=1,
    input_same=1, update_little=1)
LOSS = [n for n in NAMES if n.startswith(('loss', 'discerned')) or n in ('below_zero', 'explained', 'output_loss')] # without a loss they are missing
OPTIMIZER = [n for n in NAMES if n.startswith(('grad', 'update', 'weight', 'discerned'))] # without an optimizer
LIMIT = 20. # no symptom counts beyond this
FALSE = .02 # share of healthy runs of origins not seen that may be alarmed, at each look


def numbers(d:pd.DataFrame)->np.ndarray: return d[NAMES].clip(-LIMIT, LIMIT).to_numpy(float)

def bent(x, middle, spread)->np.ndarray:
    "For each symptom a line, whether it is missing, and a line from each knot on outwards"
    z = np.clip((x - middle)/spread, -EDGE, EDGE)
    parts = [z, np.isnan(z).astype(float)] + [np.clip(z - k, 0, None) if k > 0 else np.clip(k - z, 0, None) for k in KNOTS]
    return np.nan_to_num(np.stack(parts, -1)).reshape(len(x), -1)

class Model:
    "Curves and trees together"
    def fit(self, x, bad, weight):
        self.middle = np.nanmedian(x, 0)
        self.spread = np.maximum(np.nanquantile(x, .9, axis=0) - np.nanquantile(x, .1, axis=0), .05)/2
        self.curves = LogisticRegression(C=.01, max_iter=1000).fit(self.bent(x), bad, weight)
        self.trees = HistGradientBoostingClassifier(max_iter=200, learning_rate=.06, max_leaf_nodes=12, max_depth=5, l2_regularization=5., min_samples_leaf=40,
            max_features=.2, monotonic_cst=[WORSE.get(n, 0) for n in NAMES], early_stopping=False, random_state=0).fit(x, bad, weight)
        self.slope, self.offset = 1., 0.
        return self

    def bent(self, x)->np.ndarray: return bent(x, self.middle, self.spread)

    def log_odds(self, x)->np.ndarray:
        return self.slope*(self.curves.decision_function(self.bent(x)) + TREES*self.trees.decision_function(x)) + self.offset

def probability(odds): return 1/(1 + np.exp(-odds))

def fitted(d:pd.DataFrame)->Model:
    "Runs between fine and failed count half, for the side they are nearer to"
    rng, parts = np.random.default_rng(0), [d]
    for names in (LOSS, OPTIMIZER):
        some = d[rng.random(len(d)) < .15].copy()
        some[names] = np.nan
        parts.append(some)
    d = pd.concat(parts, ignore_index=True)
    w = weights(d)
    return Model().fit(numbers(d), d.score < .7, w)

def weights(d:pd.DataFrame)->np.ndarray:
    w = np.where(d.outcome == 'between', .5, 1.)*d.origin.map(1/d.origin.value_counts())
    return (w*len(d)/w.sum()).to_numpy()

def calibrated(d:pd.DataFrame, groups)->tuple:
    "Slope and offset that make risks of groups not seen right on average (Platt, 1999), and these risks"
    odds, groups = np.full(len(d), np.nan), np.asarray(groups)
    for g in np.unique(groups): odds[groups == g] = fitted(d[groups != g]).log_odds(numbers(d[groups == g]))
    line = LogisticRegression(C=1e6).fit(odds[:, None], d.score < .7, weights(d))
    slope, offset = float(line.coef_[0, 0]), float(line.intercept_[0])
    return slope, offset, probability(slope*odds + offset)

def left_out(d:pd.DataFrame, groups)->np.ndarray:
    "For each row the risk by a fit that has not seen its group"
    return calibrated(d, groups)[2]

def whole(d:pd.DataFrame, groups)->tuple:
    "A fit to all, calibrated by fits that leave out groups; and the risks by those"
    model = fitted(d)
    model.slope, model.offset, risk = calibrated(d, groups)
    return model, risk

def plain(model)->list:
    "The trees as lists: [symptom, threshold, is NaN left?, left, right], or a number, to be added to the log odds"
    def node(nodes, i):
        n = nodes[i]
        if n['is_leaf']: return round(float(n['value']), 4)
        return [NAMES[n['feature_idx']], float(f"{n['num_threshold']:.5g}"), int(n['missing_go_to_left']), node(nodes, n['left']), node(nodes, n['right'])]
    return [node(p.nodes, 0) for stage in model.trees._predictors for p in stage]

def detected(risk, failed, alarms): return float((risk[failed] > np.quantile(risk[~failed], 1 - alarms)).mean())

def told(d:pd.DataFrame, risk, what:str):
    "How well a risk ranks the runs of each origin"
    for n in (25, 50, 100):
        for o in (*dict.fromkeys(d.origin), 'all'):
            m = ((d.batches == n) & (d.outcome != 'between') & ((d.origin == o) | (o == 'all'))).to_numpy()
            failed, r = (d.outcome == 'failed').to_numpy()[m], risk[m]
            if failed.any() and not failed.all():
                print(f'{what:14} {n:4} {o:12} {failed.sum():4} failed {(~failed).sum():4} fine  AUROC {roc_auc_score(failed, r):.4f}  detected at 3 %, 1 %:', *(f'{detected(r, failed, a):.3f}' for a in (.03, .01)))


def shift(d:pd.DataFrame):
    "For each symptom: how far its distribution in fine runs differs between origins, and how well it ranks runs within each"
    from scipy.stats import ks_2samp
    x, rows = d[(d.batches == 100) & (d.outcome != 'between')], {}
    for n in SYMPTOMS:
        by = {o: g for o,g in x.groupby('origin')}
        fine = {o: g[g.outcome == 'fine'][n].dropna() for o,g in by.items()}
        pairs = [ks_2samp(a, b).statistic for i,(o,a) in enumerate(fine.items()) for p,b in list(fine.items())[i + 1:] if len(a) > 9 and len(b) > 9]
        def rank(g):
            g = g[g[n].notna()]
            return roc_auc_score(g.outcome == 'failed', g[n]) if g.outcome.nunique() == 2 and len(g) > 20 else np.nan
        rows[n] = dict(shift=max(pairs, default=np.nan), **{o: rank(g) for o,g in by.items()})
    return pd.DataFrame(rows).T.round(2)


def alarm(d, risk, n:int)->float:
    "The risk from which on it is an alarm: of the healthy runs of origins left out, `FALSE` are above it, as a mean over origins"
    some = (d.batches == n) & (d.outcome == 'fine') & (d.kind != 'fault')
    by = [risk[some & (d.origin == o)] for o in d.origin.unique()]
    return next(t for t in np.arange(.05, 1, .01).round(2) if np.mean([np.mean(r >= t) for r in by]) <= FALSE)

def clear(d, risk, n:int, failing:float=.03)->float:
    "The highest risk up to which at most three in a hundred runs failed"
    some = (d.batches == n).to_numpy()
    r, bad = risk[some], (d.outcome == 'failed').to_numpy()[some]
    order = np.argsort(r)
    share = np.cumsum(bad[order])/np.arange(1, len(r) + 1)
    ok = np.flatnonzero(share <= failing)
    return round(float(r[order][ok[-1]]), 3) if len(ok) else 0.

def places(d, k:int=150)->dict:
    "Centres of clusters of the runs, by symptoms that do not mark a look, and how far a run of an origin left out usually is from them"
    from sklearn.cluster import KMeans
    names = [n for n in NAMES if n != 'steps']
    middle = d[names].median()
    spread = (d[names].quantile(.9) - d[names].quantile(.1)).clip(lower=.05)/2
    z = ((d[names] - middle)/spread).clip(-5, 5)
    def centres(x): return KMeans(k, n_init=1, random_state=0).fit(x.fillna(0)).cluster_centers_
    def far(x, c):
        x = x.to_numpy()
        known = np.isfinite(x)
        return np.sqrt(((np.nan_to_num(x)[:, None] - c)**2*known[:, None]).sum(-1)/known.sum(-1)[:, None]).min(1)
    outside = np.concatenate([far(z[d.origin == o], centres(z[d.origin != o])) for o in d.origin.unique()])
    return dict(names=names, centres=centres(z).round(2).tolist(), middle=middle.round(4).tolist(), spread=spread.round(4).tolist(), usual=round(float(np.quantile(outside, .99)), 3))


if __name__ == '__main__':
    d = pd.concat([look(o) for o in ORIGINS], ignore_index=True)
    if '--shift' in sys.argv:
        table = shift(d)
        print(table.to_string())
        (HERE.parent/'shift.json').write_text(json.dumps(dict(left_out=list(LEFT_OUT), table=table.where(table.notna(), None).to_dict('index')), indent=1) + '\n')
        sys.exit()
    model, risk = whole(d, d.origin)
    told(d, risk, 'never seen')
    told(d, left_out(d, pd.factorize(d.arch + d.origin)[0] % 6), 'same origins')
    usual = d[(d.batches == 100) & (d.kind == 'healthy')][list(SYMPTOMS)].median()
    curves = dict(names=NAMES, middle=model.middle.round(5).tolist(), spread=model.spread.round(5).tolist(), knots=KNOTS, edge=EDGE,
        slopes=model.curves.coef_.reshape(len(NAMES), -1).round(4).tolist(), start=round(float(model.curves.intercept_[0]), 4))
    res = dict(runs=int(len(d)/len(BATCHES)), origins=list(ORIGINS), limit=LIMIT, slope=round(model.slope, 4), offset=round(model.offset, 4),
        thresholds=[[n, float(alarm(d, risk, n))] for n in BATCHES], clear=[[n, clear(d, risk, n)] for n in BATCHES],
        typical={k: None if np.isnan(v) else round(float(v), 4) for k,v in usual.items()}, places=places(d), curves=curves,
        weight=TREES, start=round(float(model.trees._baseline_prediction.item()), 4), trees=plain(model))
    for k in ('slope', 'offset', 'thresholds', 'clear'): print(k, res[k])
    (HERE.parent.parent/'actstats'/'risk.json').write_text(json.dumps(res, separators=(',', ':')).replace('],[', '],\n[') + '\n')
