"""Does the advice help? Train again those runs that failed, with the remedies of what was found in them.

    python benchmarks/failures/cures.py 60      # of each development origin: every remedy found, to learn which finding to name first
"""
from collections import defaultdict
import json
import sys
import warnings

from joblib import Parallel, delayed
import pandas as pd

from actstats.ailments import RULES
from actstats.symptoms import Case
from fit import ORIGINS
from outcomes import FINE, healthy, judged, load, look
from store import STORE, WATCHED, Config, several

TRAINED = 'none', 'early_stopping' # remedies that leave the training as it is


def config(row)->Config: return Config(row.arch, row.kind, row.what, row.severity, row.seed)

def found(c:Config, origin:str)->list:
    "Rule, remedy and factor of everything that was found in the first hundred batches"
    warnings.simplefilter('ignore')
    case = Case(load(origin, c), WATCHED)
    fs = [f for rule in RULES.values() for f in rule(case if rule.whole else case.calm)]
    return [(f.rule, f.remedy, float(f.evidence.get('factor', 10.))) for f in fs if f.remedy not in TRAINED]

def scores(cs:list, origin:str, d)->dict:
    "The scores of runs that were trained again, by name"
    j = judged(pd.DataFrame([dict(r, name=c.name) for c,r in zip(cs, several(cs, origin)) if r]), healthy(d))
    return dict(zip(j.name, j.score))

def decision_list(tried:list)->list:
    "Rules in an order in which the first that applies cures most runs: greedily, the best rule for the runs that are left"
    order, left = [], list(tried)
    while left:
        n, good = defaultdict(int), defaultdict(int)
        for run in left:
            for rule,ok in run.items(): n[rule], good[rule] = n[rule] + 1, good[rule] + ok
        if not n: break
        best = max(n, key=lambda k: ((good[k] + 1)/(n[k] + 2), n[k]))  # Laplace's rule of succession
        order.append((best, good[best], n[best]))
        left = [{k: v for k,v in run.items() if k != best} for run in left if best not in run]
    return order

def tried(origin:str, most:int)->list:
    "Of runs that failed: for each rule that found something, was its remedy a cure?"
    d = look(origin)
    failed = d[(d.batches == WATCHED) & (d.outcome == 'failed') & (d.kind == 'fault')].sort_values('seed')
    cs = [config(r) for r in failed.head(most).itertuples()]
    finds = Parallel(n_jobs=-1, batch_size=4)(delayed(found)(c, origin) for c in cs)
    jobs = list({j.name: j for c,fs in zip(cs, finds) for _,remedy,factor in fs for j in [c.cured(remedy, factor)]}.values())
    print(f'{origin}: {len(cs)} runs that failed, {len(jobs)} to be trained again', flush=True)
    score = scores(jobs, origin, d)
    return [dict(origin=origin, what=c.what, arch=c.arch, seed=c.seed, scores={f'{r}:{m}': round(score[c.cured(m, k).name], 3) for r,m,k in fs},
        tried={r: bool(score[c.cured(m, k).name] >= FINE) for r,m,k in reversed(fs)}) for c,fs in zip(cs, finds)]


if __name__ == '__main__':
    all = [t for o in ORIGINS for t in tried(o, int(sys.argv[1]))]
    json.dump(all, open(STORE/'cures.json', 'w'), indent=0)
    for rule,good,n in decision_list([t['tried'] for t in all]): print(f'{rule:24} {good} of {n}')
    print('cured by something:', sum(any(t['tried'].values()) for t in all), 'of', len(all))
