"""Does the advice help? Train again those runs that failed, with the remedies of what was found in them.

    python benchmarks/failures/cures.py dev 250      # every remedy found, to learn which finding to name first: a decision list
"""
from collections import defaultdict
import json
import sys
import warnings

from joblib import Parallel, delayed
import pandas as pd

import actstats
from actstats.ailments import AILMENTS
from actstats.symptoms import Case
from outcomes import judged, look
from runs import STORE, WATCHED, Config, several


def config(row)->Config: return Config(row.arch, row.kind, row.what, row.severity, row.seed)

def found(c:Config, which:str)->list:
    "Rule, remedy and factor of everything that was found in the first hundred batches"
    warnings.simplefilter('ignore')
    case = Case(actstats.Recording.load((STORE/which/c.name).with_suffix('.actstats')), WATCHED)
    return [(f.rule, f.remedy, float(f.evidence.get('factor', 10.))) for rule in AILMENTS for f in rule(case) if f.remedy != 'none']

def cured(c:Config, remedy:str, factor:float)->Config: return Config(c.arch, c.kind, c.what, c.severity, c.seed, ((remedy, round(factor, 2)),))

def healthy(d): return d[d.kind == 'healthy'].groupby('arch').metric.median()

def scores(cs:list, d)->dict:
    "The scores of runs that were trained again, by name"
    runs = [dict(r, name=c.name) for c,r in zip(cs, several(cs, 'cured'))]
    j = judged(pd.DataFrame(runs), healthy(d))
    return dict(zip(j.name, j.score))

def decision_list(tried:list)->list:
    "Rules in an order in which the first that applies cures most runs: greedily, the best rule for the runs that are left"
    order, left = [], list(tried)
    while left:
        n, good = defaultdict(int), defaultdict(int)
        for run in left:
            for rule,ok in run.items():
                if rule not in order: n[rule], good[rule] = n[rule] + 1, good[rule] + ok
        if not n: break
        best = max(n, key=lambda k: ((good[k] + 1)/(n[k] + 2), n[k]))  # Laplace's rule of succession
        order.append((best, good[best], n[best]))
        left = [run for run in left if best not in run]
        order_names = [o[0] for o in order]
        left = [{k: v for k,v in run.items() if k not in order_names} for run in left]
    return order


if __name__ == '__main__':
    which, most = sys.argv[1], int(sys.argv[2])
    d = look(which)
    failed = d[(d.batches == WATCHED) & (d.outcome == 'failed')].sort_values('seed')
    cs = [config(r) for r in failed.head(most).itertuples()]
    finds = Parallel(n_jobs=-1, batch_size=8)(delayed(found)(c, which) for c in cs)
    jobs = list({j.name: j for c,fs in zip(cs, finds) for _,remedy,factor in fs for j in [cured(c, remedy, factor)]}.values())
    print(len(cs), 'runs that failed,', len(jobs), 'to be trained again')
    score = scores(jobs, d)
    tried = [{rule: bool(score[cured(c, remedy, factor).name] >= .9) for rule,remedy,factor in fs} for c,fs in zip(cs, finds)]
    json.dump([dict(what=c.what, arch=c.arch, seed=c.seed, tried={r: ok for r,ok in t.items()}, scores={f'{r}:{m}': round(score[cured(c, m, k).name], 3) for r,m,k in fs}) for c,fs,t in zip(cs, finds, tried)], open(STORE/f'cures_{which}.json', 'w'), indent=0)
    for rule,good,n in decision_list(tried): print(f'{rule:24} {good} of {n}')
    print('cured by something:', sum(any(t.values()) for t in tried), 'of', len(tried))
