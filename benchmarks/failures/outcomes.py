"""How runs ended, and what could be seen of them after so many batches."""
from joblib import Parallel, delayed
import json
import warnings

import numpy as np
import pandas as pd

import actstats
from actstats.symptoms import Case, symptoms
from runs import STORE

BATCHES = 15, 25, 50, 75, 100


def _look(path, at)->list:
    "The symptoms of a run after each number of batches"
    warnings.simplefilter('ignore')
    run, rec = json.loads(path.read_text()), actstats.Recording.load(path.with_suffix('.actstats'))
    run.pop('losses'), run.pop('cures')
    run['total'] = run.pop('steps')  # batches of the whole run; steps, a symptom, are those that were seen
    case = Case(rec)
    return [dict(run, batches=n, **symptoms(case.upto(n))) for n in at]

def look(which:str, n:int|None=None)->pd.DataFrame:
    "The symptoms of all runs of a set, and how they ended; kept until there are more runs"
    paths, kept = sorted((STORE/which).glob('*.json'))[:n], STORE/f'{which}.pkl'
    if kept.exists() and len(d := pd.read_pickle(kept)) == len(paths)*len(BATCHES): return d
    d = pd.DataFrame([row for rows in Parallel(n_jobs=-1, batch_size=8)(delayed(_look)(p, BATCHES) for p in paths) for row in rows])
    d = judged(d)
    d.to_pickle(kept)
    return d

def judged(d:pd.DataFrame, healthy=None)->pd.DataFrame:
    "With the score of each run, and what it is called: failed below 0.5 or not finite, fine from 0.9 on"
    if healthy is None: healthy = d[d.kind == 'healthy'].groupby('arch').metric.median()
    score = (d.metric - d.chance)/(d.arch.map(healthy) - d.chance)
    out = np.where(d.metric.isna() | (score < .5), 'failed', np.where(score >= .9, 'fine', 'between'))
    return d.assign(score=score.where(d.metric.notna(), -np.inf), outcome=out)
