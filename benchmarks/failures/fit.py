"""Fit the risk on the development runs, choose the alarm's threshold, and write both to actstats/risk.json, as plain numbers.

    python benchmarks/failures/fit.py

Boosted trees of six leaves at most, from scikit-learn, which prediction does not need. Symptoms of which one knows that they
can only make things worse are told to the fit (`monotonic_cst`). A sixth of the runs are seen once more without loss, and a
sixth without optimizer, so that the risk is right for those who do not give them.
"""
import json

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from outcomes import look
from runs import HERE
from actstats.symptoms import SYMPTOMS

NAMES = list(SYMPTOMS)
WORSE = dict(loss_late=1, loss_level=1, below_zero=1, dead=1, saturated=1, frozen=1, not_finite=1, batch=-1)
LOSS = [n for n in NAMES if n.startswith('loss') or n == 'below_zero']
OPTIMIZER = [n for n in NAMES if n.startswith(('grad', 'update', 'gain', 'frozen'))]
LIMIT = 20. # no symptom counts beyond this
ALARMS = (25, .04), (100, .022) # share of fine development runs in which an alarm may be false, on architectures not seen


def trees(): return HistGradientBoostingClassifier(max_iter=150, learning_rate=.1, max_leaf_nodes=6, max_depth=3, l2_regularization=2., min_samples_leaf=40,
    monotonic_cst=[WORSE.get(n, 0) for n in NAMES], early_stopping=False, random_state=0)

def numbers(d:pd.DataFrame)->np.ndarray: return d[NAMES].clip(-LIMIT, LIMIT).to_numpy(float)

def fitted(d:pd.DataFrame):
    "The classifier; runs between fine and failed count half, for the side they are nearer to"
    rng = np.random.default_rng(0)
    for names in (LOSS, OPTIMIZER):
        some = d[d.batches.notna() & (rng.random(len(d)) < .15)].copy()
        some[names] = np.nan
        d = pd.concat([d, some], ignore_index=True)
    return trees().fit(numbers(d), d.score < .7, sample_weight=np.where(d.outcome == 'between', .5, 1.))

def left_out(d:pd.DataFrame, groups:np.ndarray)->np.ndarray:
    "For each row the risk by a fit that has not seen its group"
    risk = np.full(len(d), np.nan)
    for g in np.unique(groups): risk[groups == g] = fitted(d[groups != g]).predict_proba(numbers(d[groups == g]))[:, 1]
    return risk

def plain(model)->list:
    "The trees as lists: [symptom, threshold, is NaN left?, left, right], or a number, to be added to the log odds"
    def node(nodes, i):
        n = nodes[i]
        if n['is_leaf']: return round(float(n['value']), 4)
        return [NAMES[n['feature_idx']], float(f"{n['num_threshold']:.5g}"), int(n['missing_go_to_left']), node(nodes, n['left']), node(nodes, n['right'])]
    return [node(p.nodes, 0) for stage in model._predictors for p in stage]

def detected(risk, failed, alarms): return float((risk[failed] > np.quantile(risk[~failed], 1 - alarms)).mean())


if __name__ == '__main__':
    d = look('dev')
    archs = np.array(sorted(d.arch.unique()))
    np.random.default_rng(0).shuffle(archs)
    group = d.arch.map({a: i % 6 for i,a in enumerate(archs)}).to_numpy()
    d['risk'] = left_out(d, group)
    for n in (25, 100):
        x = d[(d.batches == n) & (d.outcome != 'between')]
        failed, risk = (x.outcome == 'failed').to_numpy(), x.risk.to_numpy()
        print(f'{n} batches, architectures not seen: AUROC {roc_auc_score(failed, risk):.4f}; detected at 5 %, 3 %, 1 % of false alarms:', *(f'{detected(risk, failed, a):.3f}' for a in (.05, .03, .01)))
        for t in (.4, .5, .6, .7, .8, .9):
            odd = d[(d.batches == n) & (d.kind != 'fault') & (d.outcome != 'failed')].risk
            print(f'  alarm above {t}: detected {(risk[failed] > t).mean():.3f}, false {(risk[~failed] > t).mean():.3f}; of healthy and odd {(odd > t).mean():.4f} of {len(odd)}')
    fine = {n: d[(d.batches == n) & (d.outcome == 'fine')].risk for n,_ in ALARMS}
    thresholds = [[n, round(float(np.quantile(fine[n], 1 - share)), 2)] for n,share in ALARMS]
    model = fitted(d)
    typical = d[(d.batches == 100) & (d.kind == 'healthy')][NAMES].median()
    res = dict(runs=int(d.seed.nunique()), start=round(float(model._baseline_prediction.item()), 4), limit=LIMIT, thresholds=thresholds, typical={k: None if np.isnan(v) else round(float(v), 4) for k,v in typical.items()}, trees=plain(model))
    (HERE.parent.parent/'actstats'/'risk.json').write_text(json.dumps(res, separators=(',', ':')).replace('],[', '],\n[') + '\n')
