"""Judge the diagnosis on runs that nothing was set with, beside a detector that sees only the loss, and beside published rules.

    python benchmarks/failures/evaluate.py      # writes benchmarks/failures.json, which a chapter reads
"""
from collections import Counter
import json
import warnings

from joblib import Parallel, delayed
from sklearn.metrics import roc_auc_score
from torch import nn
import numpy as np
import pandas as pd

import actstats
from cures import config, cured, scores
from small_faults import REGISTRY, layers
from fit import LOSS, NAMES, fitted
from outcomes import look
from peers import RULES, near_zero
from runs import HERE, STORE, Config, prepare
from small_tasks import MODELS

AT = 25, 100


# ---- what was said about each run ----

def _said(c:Config, which:str)->dict:
    warnings.simplefilter('ignore')
    rec = actstats.Recording.load((STORE/which/c.name).with_suffix('.actstats'))
    res = dict(seed=c.seed)
    for n in AT:
        res[f'near_zero {n}'] = near_zero(rec, n)
        if which == 'dev': continue
        d = rec.diagnose(upto=n)
        res |= {f'risk {n}': d.risk, f'alarm {n}': d.alarm, f'problems {n}': len(rec.problems), **{f'{k} {n}': rule(rec, n) > 0 for k,rule in RULES.items()}}
        res[f'findings {n}'] = [(f.rule, f.layer, f.remedy, float(f.evidence.get('factor', 10.)), f.evidence.get('layers', [])) for f in d]
    return res

def said(d, which:str)->pd.DataFrame:
    "Of each run; that of the development runs, which has nothing to do with the diagnosis, is kept"
    kept = STORE/f'said_{which}.pkl'
    if which == 'dev' and kept.exists() and len(before := pd.read_pickle(kept)) == d.seed.nunique(): return before
    cs = [config(r) for r in d[d.batches == 100].itertuples()]
    res = pd.DataFrame(Parallel(n_jobs=-1, batch_size=8)(delayed(_said)(c, which) for c in cs)).set_index('seed')
    res.to_pickle(kept)
    return res


# ---- how good that is ----

def judge(x, risk, alarm)->dict:
    "AUROC, and alarms among runs that failed and among fine ones, with their counts"
    failed, fine = (x.outcome == 'failed').to_numpy(), (x.outcome == 'fine').to_numpy()
    some = failed | fine
    return dict(failed=int(failed.sum()), detected=int(alarm[failed].sum()), fine=int(fine.sum()), false=int(alarm[fine].sum()),
        auroc=None if risk is None else round(float(roc_auc_score(failed[some], risk[some])), 4))

def parts(x)->dict:
    "The runs by what was kept apart while thresholds were set"
    new_arch, new_fault = x.arch.map(lambda a: MODELS[a].held_out), x.what.map(lambda w: w in REGISTRY and REGISTRY[w].held_out)
    return {'all': x.seed > -1, 'architectures and faults that were seen': ~new_arch & ~new_fault, 'architectures never seen': new_arch, 'faults never seen, and whatever is fine': new_fault | (x.outcome == 'fine')}


# ---- where ----

def truth(c:Config)->str|None:
    "The first layer that is frozen, or half dead when the run begins, told by PyTorch and not by us"
    s = prepare(c)
    names = {m: n for n,m in s.model.named_modules()}
    if c.what == 'frozen': return next(names[m] for m in layers(s.model) if not any(p.requires_grad for p in m.parameters(recurse=False)))
    if c.what == 'not_in_the_optimizer': return next(names[m] for m in layers(s.model) if any(p in s.left_out for p in m.parameters(recurse=False)))
    outs = {}
    hooks = [m.register_forward_hook(lambda m, i, o: outs.setdefault(names[m], o.detach())) for m in s.model.modules() if isinstance(m, nn.ReLU)]
    s.model(s.prep(s.task.train[0][:s.batch]))
    [h.remove() for h in hooks]
    return next((n for n,o in outs.items() if (o == 0).all(0 if o.ndim == 2 else (0, 2, 3)).double().mean() >= .5), None)

def located(x, answers)->dict:
    "Of frozen and dead layers, how many were named"
    res = {}
    for fault,rule in (('frozen', 'frozen'), ('not_in_the_optimizer', 'frozen'), ('biases_of_one_layer', 'dead_units'), ('biases_too_low', 'dead_units')):
        right = []
        for r in x[x.what == fault].itertuples():
            t = truth(config(r))
            if t is not None: right.append(any(f[0] == rule and f[1] == t for f in answers.loc[r.seed, 'findings 25']))
        res[fault] = [sum(right), len(right)]
    return res


# ---- what to do ----

def right_remedy(r)->tuple:
    "What somebody would do who knew the fault"
    known = dict(lr_too_high=10**(.3 + 3.2*r.severity), lr_too_low=10**(.3 + 4.7*r.severity), lr_decays_too_soon=1., momentum=100., epsilon=1000., clipped_to_nothing=10**(.5 + 4.5*r.severity))
    return REGISTRY[r.what].cure, known.get(r.what, 10.)

def advised(x, answers, d)->dict:
    "Train the runs that failed again, by the first advice, and by what would be right"
    failed = [r for r in x[(x.outcome == 'failed') & (x.kind == 'fault')].itertuples()]
    first = {}
    for r in failed:
        f = next((f for f in answers.loc[r.seed, 'findings 100'] if f[2] != 'none'), None)
        first[r.seed] = (f[2], f[3]) if f else None
    ours, right = {r.seed: cured(config(r), *first[r.seed]) for r in failed if first[r.seed]}, {r.seed: cured(config(r), *right_remedy(r)) for r in failed}
    score = scores(list(ours.values()) + list(right.values()), d)
    rows = [dict(what=r.what, alarm=bool(answers.loc[r.seed, 'alarm 100']), first=first[r.seed][0] if first[r.seed] else '', right=right_remedy(r)[0],
        cured=bool(r.seed in ours and score[ours[r.seed].name] >= .9), curable=bool(score[right[r.seed].name] >= .9)) for r in failed]
    t = pd.DataFrame(rows)
    t['curable'] |= t.cured
    some = t[t.curable]
    return dict(failed=len(t), curable=len(some), cured=int(some.cured.sum()), cured_of_alarmed=[int(some[some.alarm].cured.sum()), int(some.alarm.sum())],
        by_fault={w: [int(g.cured.sum()), len(g), Counter(g['first']).most_common(2)] for w,g in some.groupby('what')})


# ---- when to stop ----

def stopped(d, answers)->dict:
    "What `should_stop` would have done: two looks in succession above 0.9, at 50, 75 and 100 batches"
    wide = d[d.batches.isin((50, 75, 100))].pivot(index='seed', columns='batches', values='risk')
    last = d[d.batches == 100].set_index('seed')
    at = np.where((wide[[50, 75]] > .9).all(axis=1), 75, np.where((wide[[75, 100]] > .9).all(axis=1), 100, 0))
    steps, out = last.loc[wide.index, 'total'].to_numpy(), last.loc[wide.index, 'outcome'].to_numpy()
    saved = np.where(at > 0, steps - at, 0)
    kind = last.loc[wide.index, 'kind'].to_numpy()
    return {o: dict(runs=int((out == o).sum()), stopped=int((at[out == o] > 0).sum()), batches=int(steps[out == o].sum()), saved=int(saved[out == o].sum())) for o in ('failed', 'between', 'fine')} | {'healthy and odd': dict(runs=int((kind != 'fault').sum()), stopped=int((at[kind != 'fault'] > 0).sum()))}


if __name__ == '__main__':
    from actstats.risk import probability
    dev, test = look('dev'), look('test')
    assert not set(dev.seed) & set(test.seed)
    before, answers = said(dev, 'dev'), said(test, 'test')
    res = dict(dev=int(dev.seed.nunique()), test=int(test.seed.nunique()), outcomes={k: g.outcome.value_counts().to_dict() for k,g in test[test.batches == 100].groupby('kind')},
        by_fault={w: g.outcome.value_counts().to_dict() for w,g in test[(test.batches == 100) & (test.kind != 'healthy')].groupby('what')}, judged={}, peers={})
    known = dev.copy()
    known[[n for n in NAMES if n not in LOSS + ['steps']]] = 0.
    loss_only = fitted(known)
    for n in AT:
        x, z = test[test.batches == n].set_index('seed', drop=False), dev[dev.batches == n]
        a = answers.loc[x.seed]
        risk, alarm = a[f'risk {n}'].to_numpy(), a[f'alarm {n}'].to_numpy(bool)
        res['judged'][n] = {k: judge(x[m], risk[m], alarm[m]) for k,m in parts(x).items()}
        odd = (x.kind != 'fault').to_numpy()
        res['judged'][n]['healthy and odd'] = dict(runs=int(odd.sum()), errors=int(alarm[odd].sum()), errors_of_fine=[int(alarm[odd & (x.outcome == 'fine').to_numpy()].sum()), int((odd & (x.outcome == 'fine').to_numpy()).sum())])
        only = {}
        y, w = x[NAMES].copy(), z[NAMES].copy()
        for t in (y, w): t[[k for k in NAMES if k not in LOSS + ['steps']]] = 0.
        lim = 20.
        p, q = (loss_only.predict_proba(t.clip(-lim, lim).to_numpy(float))[:, 1] for t in (y, w))
        share = .05 if n == 25 else .03
        fine = (z.outcome == 'fine').to_numpy()
        only['the loss alone, fitted in the same way'] = judge(x, p, p > np.quantile(q[fine], 1 - share))
        nz, nb = a[f'near_zero {n}'].to_numpy(float), before.loc[z.seed, f'near_zero {n}'].to_numpy(float)
        only['share of near-zero activations (fastai), threshold set here'] = judge(x, nz, nz > np.quantile(nb[fine], 1 - share))
        for k in RULES: only[f'{k}, published rules'] = judge(x, None, a[f'{k} {n}'].to_numpy(bool))
        res['peers'][n] = only
    x = test[test.batches == 100].set_index('seed', drop=False)
    risk, bad = answers.loc[x.seed, 'risk 100'].to_numpy(), (x.score < .7).to_numpy()
    edges = [0, .02, .05, .1, .2, .4, .6, .8, .9, .97, 1.0001]
    res['calibration'] = [[round(float(risk[m].mean()), 4), int(bad[m].sum()), int(m.sum())] for lo,hi in zip(edges, edges[1:]) if (m := (risk >= lo) & (risk < hi)).any()]
    res['missed'] = Counter(x[(x.outcome == 'failed') & ~answers.loc[x.seed, 'alarm 100'].to_numpy(bool)].what).most_common()
    res['problems'] = int(answers['problems 100'].sum())
    d = test.assign(risk=[probability(dict(zip(NAMES, r))) for r in test[NAMES].to_numpy(float)])
    res['stopped'] = stopped(d, answers)
    res['located'] = located(x, answers)
    out = HERE.parent/'failures.json'
    save = lambda: out.write_text(json.dumps(res, indent=1) + '\n')
    save()
    res['advice'] = advised(x, answers, test)
    save()
    print(json.dumps({k: res[k] for k in ('judged', 'peers', 'stopped', 'located', 'advice')}, indent=1))
