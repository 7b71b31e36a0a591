"""Judge the diagnosis after the first hundred steps: a look every 25 steps, as if live, beside a detector that sees only the loss.

    python benchmarks/failures/late_eval.py late strangers visitors    # runs of .runs/late-late and so on; writes benchmarks/late.json
    python benchmarks/failures/late_eval.py strangers 5       # a look every 5 steps; adds to the same file
"""
from pathlib import Path
import json
import math
import os
import sys
import warnings

os.environ.setdefault('OMP_NUM_THREADS', '1')

from joblib import Parallel, delayed
import numpy as np
import pandas as pd

import actstats
from actstats.ailments import RULES
from actstats.late import LATE_RULES, residuals
from actstats.symptoms import Case
from store import HERE, STORE

FIRST = 100
EVERY = next((int(a) for a in sys.argv if a.isdigit()), 25) # a number among the arguments: steps from look to look
SAME = {'early_stopping': 'none'} # the origins' list of remedies has no early stopping: nothing to change, but to stop
SUMS = [(k, h) for k in (.5, 1., 2.) for h in (4, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60, 80, 120, 200, 400)] # of the loss alone: what is subtracted, threshold


# ---- one run ----

def alarms(case)->list:
    "Those of the diagnosis that can begin late, the rules' own errors; the risk is about the first hundred steps"
    return [f for r in (*LATE_RULES.values(), RULES['not_finite']) for f in r(case) if f.severity == 'error']

def looks(rec, steps:int):
    "The new alarms of each look: T, findings"
    case = Case(rec)
    known = {f.rule for f in alarms(case.upto(FIRST))}
    for n in range(FIRST + EVERY, steps + EVERY, EVERY):
        n = min(n, steps)
        yield n, [f for f in alarms(case.upto(n)) if f.rule not in known]

def first_step(case, at:int)->int:
    "The first step after which a look would have found it, between the look that did and the one before"
    known = {f.rule for f in alarms(case.upto(FIRST))}
    return next((n for n in range(at - EVERY + 1, at) if any(f.rule not in known for f in alarms(case.upto(n)))), at)

def alone(losses:list, every:int)->dict:
    "When a cumulative sum of the loss alarms, at its next look, for each setting; infinity: never"
    y = np.array([math.nan if v is None else v for v in losses], float)
    bad = np.flatnonzero(~np.isfinite(y))
    x = np.log(np.maximum(y, 1e-12)) if np.nanmin(y[:FIRST]) > 0 and (y[np.isfinite(y)] > 0).mean() > .99 else y
    r = residuals(x, .02 if x is not y else .01*float(np.nanmedian(np.abs(y))))
    r[:FIRST] = 0
    out = {}
    for k,h in SUMS:
        s = np.cumsum(np.clip(r, -4, 4) - k)
        high = np.flatnonzero(s - np.minimum.accumulate(np.minimum(s, 0)) >= h)
        at = min(high[0] if len(high) else math.inf, bad[0] if len(bad) else math.inf)
        out[k, h] = math.inf if at == math.inf else FIRST + every*math.ceil((max(at, FIRST) + 1 - FIRST)/every)
    return out

def judged(folder:str, path:str, every:int)->dict:
    globals()['EVERY'] = every # also in another process
    warnings.simplefilter('ignore')
    path = STORE/folder/path
    r, rec = json.loads(path.with_suffix('.json').read_text()), actstats.Recording.load(path.with_suffix('.actstats'))
    at, step, first = math.inf, math.inf, None
    for n,found in looks(rec, r['steps']):
        if found:
            at, step, first = n, first_step(Case(rec), n), found[0]
            told = [f.rule for f in rec.diagnose(upto=n) if f.severity == 'error'] # the diagnosis says the same, with all its rules
            if first.rule not in told: rec.note('diagnose', f'{first.rule} is no alarm of the whole diagnosis')
            break
    notes = [p for p in rec.problems if 'diagnose' in p]
    right = lambda names: first is not None and (first.layer in names or any(n.rpartition('.')[0] == first.layer for n in names))
    return dict({k: r[k] for k in ('seed', 'arch', 'kind', 'what', 'severity', 'steps', 'begins', 'harmed')}, at=at, step=step, alone=alone(r['losses'], EVERY),
        alone_step=alone(r['losses'], 1), notes=notes,
        rule=first and first.rule, where=first and first.layer, since=first and first.step, remedy=bool(first and {first.remedy, SAME.get(first.remedy)} & {*r['remedies']}),
        places=bool(r['layers']), layer=right(r['layers']))


# ---- all runs ----

def begins(d)->pd.Series:
    "The step from which on an alarm is right. Overfitting is there before the validation loss turns"
    return d.begins.where(d.kind == 'fault', math.inf).where(d['what'] != 'overfits', FIRST)

def wrong(d, at)->tuple:
    "How many alarms in healthy steps, and how many of these there are: healthy runs, harmless controls, faulty runs before their fault"
    some, end = ~d.harmed.astype(bool) | (d.kind == 'fault'), np.minimum(begins(d), d.steps)
    early = (at <= end) & (at <= d.steps) & some
    return int(early.sum()), int((np.minimum(np.where(np.isfinite(at), at, 10**9), end) - FIRST)[some].clip(lower=0).sum())

def found(d, at): return d[(d.kind == 'fault') & d.harmed & (at > begins(d)) & (at <= d.steps)]

def tuned(d, limit:float)->tuple:
    "The settings of the loss alone that find most with no more wrong alarms in a step than this"
    def score(k):
        at = d.alone.map(lambda a: a[k])
        n, steps = wrong(d, at)
        f = found(d, at)
        return (n/max(steps, 1) <= limit, len(f), -float((at[f.index] - begins(f)).median()) if len(f) else 0)
    return max(SUMS, key=score)

def interval(k:int, n:int, z:float=1.96)->list:
    "Wilson's 95 % interval of a share"
    if not n: return [0., 1.]
    mid, half = (k + z*z/2)/(n + z*z), z*math.sqrt(k*(n - k)/n + z*z/4)/(n + z*z)
    return [round(mid - half, 3), round(mid + half, 3)]

def report(d)->dict:
    sick, none = d[(d.kind == 'fault') & d.harmed], wrong(d, d['at'])
    mine = found(d, d['at'])
    k = tuned(d, max(none[0]/max(none[1], 1), 1e-4))
    loss = d.alone.map(lambda a: a[k])
    ours, theirs = (d['at'] - begins(d)), (loss - begins(d))
    others = found(d, loss)
    sooner = mine.index[[not (0 < theirs[i] <= ours[i]) for i in mine.index]]
    by_step = d.alone_step.map(lambda a: a[k]) - begins(d) # and not only at the looks, which see much at once
    sooner_by_step = mine.index[[not (0 < by_step[i] <= d.step[i] - begins(d)[i]) for i in mine.index]]
    share = lambda x, n: dict(share=round(len(x)/max(n, 1), 3), interval=interval(len(x), n), of=int(n))
    quick = lambda x, t: x[t[x.index] <= 30]
    placed = mine[mine.places]
    res = dict(every=EVERY, runs=len(d), healthy_runs=int((d.kind == 'healthy').sum()), controls=int((d.kind == 'control').sum()), faults=int((d.kind == 'fault').sum()),
        harmful=len(sick), healthy_steps=none[1], notes=sorted({o for x in d.notes for o in x}),
        diagnosis=dict(found=share(mine, len(sick)), within_30=share(quick(mine, ours), len(sick)), delay=float(ours[mine.index].median()),
            before_loss=share(sooner, len(mine)), before_loss_by_step=share(sooner_by_step, len(mine)),
            delay_by_step=float((d.step - begins(d))[mine.index].median()), quick_and_before=share(quick(mine.loc[sooner], ours), len(sick)), wrong=none[0], wrong_in_10000=round(1e4*none[0]/max(none[1], 1), 2),
            remedy=share(mine[mine.remedy], len(mine)), layer=share(placed[placed.layer], len(placed))),
        loss_alone=dict(subtracted=k[0], threshold=k[1], found=share(others, len(sick)), within_30=share(quick(others, theirs), len(sick)),
            delay=float(theirs[others.index].median()), wrong=wrong(d, loss)[0], wrong_in_10000=round(1e4*wrong(d, loss)[0]/max(wrong(d, loss)[1], 1), 2)))
    rows = []
    for what,x in sick.groupby('what'):
        f, o = mine[mine['what'] == what], others[others['what'] == what]
        rows.append(dict(fault=what, harmful=len(x), found=len(f), delay=float(ours[f.index].median()) if len(f) else None, loss_found=len(o),
            loss_delay=float(theirs[o.index].median()) if len(o) else None, remedy=int(f.remedy.sum()), layer=int(f[f.places].layer.sum()), placed=int(f.places.sum()),
            called=f.rule.mode().iloc[0] if len(f) else None))
    early = d[(d['at'] <= np.minimum(begins(d), d.steps)) & (~d.harmed.astype(bool) | (d.kind == 'fault'))]
    res['by_fault'] = rows
    res['wrong_alarms'] = early[['seed', 'arch', 'what', 'at', 'rule', 'where']].to_dict('records')
    res['missed'] = sick.drop(mine.index)[['seed', 'arch', 'what', 'severity', 'begins', 'steps']].to_dict('records')
    return res

def runs(origin:str)->pd.DataFrame:
    folder = f'{origin}-late'
    names = sorted(p.stem for p in (STORE/folder).glob('*.json') if p.with_suffix('.actstats').exists())
    return pd.DataFrame(Parallel(n_jobs=2)(delayed(judged)(folder, n, EVERY) for n in names))


if __name__ == '__main__':
    where = HERE.parent/'late.json'
    res = json.loads(where.read_text()) if where.exists() else {}
    for origin in [a for a in sys.argv[1:] if not a.isdigit()] or ['late']:
        key = origin if EVERY == 25 else f'{origin}, every {EVERY} steps'
        res[key] = report(runs(origin))
        print(key, json.dumps({k: v for k,v in res[key].items() if k != 'by_fault'}, indent=1, default=str))
        print(pd.DataFrame(res[key]['by_fault']).to_string())
    where.write_text(json.dumps(res, indent=1, default=lambda o: o.item() if hasattr(o, 'item') else str(o)) + '\n')
