"""How runs ended, and what could be seen of them after so many batches."""
from joblib import Parallel, delayed
import json
import warnings

import numpy as np
import pandas as pd

import actstats
from actstats.symptoms import SYMPTOMS, Case, symptoms
from store import STORE

BATCHES = 25, 50, 75, 100
FAILED, FINE = .5, .9 # scores: below the one it failed, from the other on it is fine


def load(origin:str, c)->actstats.Recording: return actstats.Recording.load(STORE/origin/f'{c.name}.actstats')

def _look(path)->list:
    "The symptoms of a run after each number of batches"
    warnings.simplefilter('ignore')
    run, rec = json.loads(path.read_text()), actstats.Recording.load(path.with_suffix('.actstats'))
    run.pop('losses'), run.pop('cures')
    run['total'] = run.pop('steps')  # batches of the whole run; steps, a symptom, are those that were seen
    case = Case(rec)
    return [dict(run, batches=n, **symptoms(case.upto(n))) for n in BATCHES]

def look(origin:str)->pd.DataFrame:
    "The symptoms of all runs of an origin, and how they ended; kept, until there are other symptoms"
    paths, kept = sorted((STORE/origin).glob('*.json')), STORE/f'{origin}.pkl'
    d = pd.read_pickle(kept) if kept.exists() else pd.DataFrame()
    if not set(SYMPTOMS) <= set(d): d = pd.DataFrame()
    new = [p for p in paths if d.empty or int(p.stem) not in set(d.seed)]
    if new:
        rows = Parallel(n_jobs=-1, batch_size=8)(delayed(_look)(p) for p in new)
        d = pd.concat([d, pd.DataFrame([r for rs in rows for r in rs])], ignore_index=True).sort_values(['seed', 'batches'], ignore_index=True)
        d.to_pickle(kept)
    return judged(d).assign(origin=origin)

def healthy(d:pd.DataFrame)->pd.Series:
    "What a healthy run reaches: the median for each architecture"
    return d[d.kind == 'healthy'].groupby('arch').metric.median()

def judged(d:pd.DataFrame, usual=None)->pd.DataFrame:
    "With the score of each run, 0 at chance and 1 at the healthy median, and what it is called"
    d = d.assign(metric=d.metric.astype(float))
    if usual is None: usual = healthy(d)
    score = (d.metric - d.chance)/(d.arch.map(usual) - d.chance)
    out = np.where(d.metric.isna() | (score < FAILED), 'failed', np.where(score >= FINE, 'fine', 'between'))
    return d.assign(score=score.where(d.metric.notna(), -np.inf), outcome=out)
