"""Judge the diagnosis on origins that it was not fitted to, beside a detector that sees only the loss, and beside published rules.

    python benchmarks/failures/evaluate.py            # writes benchmarks/failures.json, which a chapter reads
    python benchmarks/failures/evaluate.py --again    # from what the package said of the runs last time

Each development origin is judged by trees, thresholds and all-clears that were made from the other development origins only. The exam is an
origin that nothing was ever fitted to or looked at with: it is judged by what the package ships.
"""
from collections import Counter
import json
import sys
import warnings

from joblib import Parallel, delayed
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import nn
import numpy as np
import pandas as pd

import actstats.risk
from actstats.symptoms import SYMPTOMS
from cures import TRAINED, config, scores
from fit import BATCHES, LOSS, NAMES, OPTIMIZER, ORIGINS, alarm, clear, left_out, numbers, probability, whole
from outcomes import FINE, load, look
from peers import RULES as PUBLISHED, near_zero
from store import HERE, STORE, WATCHED, Config, origin as module_of

EXAM = 'visitors'
AT = 25, 50, 100


# ---- what was said about each run ----

def _said(o:str, c:Config)->dict:
    warnings.simplefilter('ignore')
    rec, res = load(o, c), dict(seed=c.seed)
    for n in AT:
        d = rec.diagnose(upto=n)
        res |= {f'risk {n}': d.risk, f'alarm {n}': d.alarm, f'verdict {n}': d.verdict, f'distance {n}': d.distance, f'problems {n}': len(rec.problems),
                f'facts {n}': [f.rule for f in d if f.severity == 'error' and f.rule != 'will_fail']}
        res[f'findings {n}'] = [(f.rule, f.layer, f.remedy, float(f.evidence.get('factor', 10.)), f.evidence.get('layers', [])) for f in d]
        if o == EXAM: res |= {f'near_zero {n}': near_zero(rec, n), **{f'{k} {n}': rule(rec, n) > 0 for k,rule in PUBLISHED.items()}}
    return res

def said(d, o:str)->pd.DataFrame:
    "What the package says of each run of an origin"
    cs = [config(r) for r in d[d.batches == WATCHED].itertuples()]
    return pd.DataFrame(Parallel(n_jobs=-1, batch_size=8)(delayed(_said)(o, c) for c in cs)).set_index('seed')

def near_zero_of_fine(d, o:str, n:int, most:int=80)->list:
    "fastai's number, of fine runs of a development origin"
    cs = [config(r) for r in d[(d.batches == n) & (d.outcome == 'fine')].head(most).itertuples()]
    return Parallel(n_jobs=-1, batch_size=8)(delayed(lambda c: near_zero(load(o, c), n))(c) for c in cs)


# ---- how good that is ----

def interval(k, n, z:float=1.96)->list:
    "Wilson's interval for a share"
    if not n: return [0., 1.]
    p, m = k/n, 1 + z*z/n
    half = z*np.sqrt(p*(1 - p)/n + z*z/4/n/n)
    return [round(float(v), 4) for v in ((p + z*z/2/n - half)/m, (p + z*z/2/n + half)/m)]

def auroc(bad, risk)->list:
    "The area under the ROC curve, with the 95 % of 500 bootstrap samples"
    rng, some = np.random.default_rng(0), []
    for _ in range(500):
        i = rng.integers(len(bad), size=len(bad))
        if 0 < bad[i].sum() < len(i): some.append(roc_auc_score(bad[i], risk[i]))
    return [round(float(v), 4) for v in (roc_auc_score(bad, risk), *np.quantile(some, (.025, .975)))]

def judge(x, risk, alarms)->dict:
    "AUROC, and alarms among runs that failed and among fine ones, with 95 % intervals; and what is detected at 3 % of false alarms"
    failed, fine = (x.outcome == 'failed').to_numpy(), (x.outcome == 'fine').to_numpy()
    some, (k, n), (f, m) = failed | fine, (int(alarms[failed].sum()), int(failed.sum())), (int(alarms[fine].sum()), int(fine.sum()))
    healthy = fine & (x.kind != 'fault').to_numpy()
    res = dict(failed=n, detected=k, detected_ci=interval(k, n), fine=m, false=f, false_ci=interval(f, m), healthy=int(healthy.sum()), healthy_false=int(alarms[healthy].sum()))
    if risk is not None and failed.any() and fine.any(): res |= dict(auroc=auroc(failed[some], risk[some]), at_3=round(float((risk[failed] > np.quantile(risk[fine], .97)).mean()), 4))
    return res

def calibration(x, risk)->list:
    "Mean risk, runs with a score below 0.7, and runs, by groups of the risk"
    bad, edges = (x.score < .7).to_numpy(), [0, .02, .05, .1, .2, .4, .6, .8, .9, .97, 1.0001]
    return [[round(float(risk[m].mean()), 4), int(bad[m].sum()), int(m.sum())] for lo,hi in zip(edges, edges[1:]) if (m := (risk >= lo) & (risk < hi)).any()]

def never_seen(d, answers)->dict:
    "Each development origin, judged by what was made from the others"
    res, risks = {}, {}
    for o in ORIGINS:
        mine, rest = d[d.origin == o], d[d.origin != o]
        model, inner = whole(rest, rest.origin)
        risk = pd.Series(probability(model.log_odds(numbers(mine))), mine.index)
        res[o] = {}
        for n in AT:
            x = mine[mine.batches == n]
            t, low, r = alarm(rest, inner, n), clear(rest, inner, n), risk[x.index].to_numpy()
            facts = answers[o].loc[x.seed, f'facts {n}'].map(len).to_numpy() > 0
            alarms = (r >= t) | facts
            res[o][n] = judge(x, r, alarms) | dict(not_yet=round(float(((r > low) & ~alarms).mean()), 3), by_facts=int(facts[(x.outcome == 'failed').to_numpy()].sum()))
            if n == WATCHED: res[o]['calibration'], risks[o] = calibration(x, r), risk
    return res, risks

def pooled(parts:list)->dict:
    "Several origins together: counts add up, the area is their mean"
    res = {k: sum(p[k] for p in parts) for k in ('failed', 'detected', 'fine', 'false', 'healthy', 'healthy_false')}
    areas = [p['auroc'][0] for p in parts if 'auroc' in p]
    return res | dict(detected_ci=interval(res['detected'], res['failed']), false_ci=interval(res['false'], res['fine'])) | (dict(auroc=[round(float(np.mean(areas)), 4)]) if areas else {})


# ---- others, and what could be had ----

def loss_only(d)->pd.DataFrame:
    d = d.copy()
    d[[n for n in NAMES if n not in LOSS + ['steps']]] = 0.
    return d

def peers(dev, test, answers, n:int)->dict:
    x, z = test[test.batches == n], dev[dev.batches == n]
    a = answers[EXAM].loc[x.seed]
    share, res = .03, {}
    model, inner = whole(loss_only(dev), dev.origin)
    p = probability(model.log_odds(numbers(loss_only(x))))
    res['the loss alone, fitted in the same way'] = judge(x, p, p >= alarm(dev, inner, n))
    nz = a[f'near_zero {n}'].to_numpy(float)
    before = np.concatenate([near_zero_of_fine(g, o, n) for o,g in z.groupby('origin')])
    res['share of near-zero activations (fastai), threshold set on the development runs'] = judge(x, nz, nz > np.quantile(before, 1 - share))
    return res | {f'{k}, published rules': judge(x, None, a[f'{k} {n}'].to_numpy(bool)) for k in PUBLISHED}

def attainable(test, n:int)->list:
    "What a forest reaches that is fitted to the exam itself, by ten-fold cross-validation: about the most that these symptoms can tell"
    x = test[(test.batches == n) & (test.outcome != 'between')]
    bad = (x.outcome == 'failed').to_numpy()
    p = cross_val_predict(ExtraTreesClassifier(1000, min_samples_leaf=3, random_state=0), x[NAMES].clip(-20, 20).fillna(-20), bad, cv=StratifiedKFold(10, shuffle=True, random_state=0), method='predict_proba')[:, 1]
    return auroc(bad, p) + [round(float((p[bad] > np.quantile(p[~bad], .97)).mean()), 4)]


def lacking(x, names:list)->dict:
    "Runs judged by their risk without some symptoms, as those of people who give no loss or no optimizer"
    some = x[list(SYMPTOMS)].assign(**{k: np.nan for k in names}).to_dict('records')
    risk = np.array([actstats.risk.probability(r) for r in some])
    return judge(x, risk, risk >= actstats.risk.threshold(WATCHED))


# ---- where ----

def truth(c:Config)->str|None:
    "The first layer that is frozen, or half dead when the run begins, told by PyTorch and not by us"
    from small import prepare
    from small_faults import layers
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
    "Of frozen and dead layers of the origin whose setups can tell, how many were named"
    res = {}
    for fault,rule in (('frozen', 'frozen'), ('not_in_the_optimizer', 'frozen'), ('biases_of_one_layer', 'dead_units'), ('biases_too_low', 'dead_units')):
        right = []
        for r in x[x.what == fault].itertuples():
            t = truth(config(r))
            if t is not None: right.append(any(f[0] == rule and f[1] == t for f in answers.loc[r.seed, 'findings 25']))
        res[fault] = [sum(right), len(right)]
    return res


# ---- what to do ----

def advised(d, answers, o:str, most:int=10**6)->dict:
    "Train the runs that failed again, by the first advice, and by what would be right"
    x = d[d.batches == WATCHED]
    failed = list(x[(x.outcome == 'failed') & (x.kind == 'fault')].sort_values('seed').itertuples())[:most]
    firsts, module = {}, module_of(o)
    for r in failed:
        f = [f for f in answers.loc[r.seed, 'findings 100'] if f[2] not in TRAINED]
        firsts[r.seed] = [(g[2], g[3]) for g in ({h[2]: h for h in reversed(f)}[k] for k in dict.fromkeys(h[2] for h in f))][:2]
    jobs = {r.seed: [config(r).cured(*a) for a in firsts[r.seed]] for r in failed}
    known = {r.seed: config(r).cured(*module.right(config(r))) for r in failed}
    score = scores(list({c.name: c for cs in jobs.values() for c in cs}.values()) + list(known.values()), o, d)
    rows = []
    for r in failed:
        ok = [bool(score[c.name] >= FINE) for c in jobs[r.seed]]
        rows.append(dict(what=r.what, alarm=bool(answers.loc[r.seed, 'alarm 100']), first=firsts[r.seed][0][0] if firsts[r.seed] else '', right=module.right(config(r))[0],
            named=bool(firsts[r.seed] and firsts[r.seed][0][0] == module.right(config(r))[0]), cured=bool(ok and ok[0]), second=any(ok), curable=any(ok) or bool(score[known[r.seed].name] >= FINE)))
    t = pd.DataFrame(rows)
    some = t[t.curable]
    told = some[some.alarm]
    return dict(failed=len(t), curable=len(some), cured=int(some.cured.sum()), cured_ci=interval(int(some.cured.sum()), len(some)), by_two=int(some.second.sum()), named=int(some.named.sum()), named_of_alarmed=int(told.named.sum()),
        alarmed=len(told), cured_of_alarmed=int(told.cured.sum()), cured_of_alarmed_ci=interval(int(told.cured.sum()), len(told)),
        by_fault={w: [int(g.cured.sum()), len(g), Counter(g['first']).most_common(2), g.right.iloc[0]] for w,g in some.groupby('what')})


# ---- when to stop ----

def stopped(d, answers)->dict:
    "What `should_stop` would have done: an alarm with a risk above 0.8, or values that are not finite, after 50 and after 100 batches"
    last = d[d.batches == WATCHED].set_index('seed')
    a = answers.loc[last.index]
    hopeless = {n: (a[f'alarm {n}'] & ((a[f'risk {n}'] > .8) | a[f'facts {n}'].map(lambda f: 'not_finite' in f))).to_numpy() for n in (50, 100)}
    at = np.where(hopeless[50] & hopeless[100], 100, 0)
    steps, out = last.total.to_numpy(), last.outcome.to_numpy()
    saved = np.where(at > 0, steps - at, 0)
    return {o: dict(runs=int((out == o).sum()), stopped=int((at[out == o] > 0).sum()), batches=int(steps[out == o].sum()), saved=int(saved[out == o].sum())) for o in ('failed', 'between', 'fine')}


if __name__ == '__main__':
    ds = {o: look(o) for o in (*ORIGINS, EXAM)}
    dev, test = pd.concat([ds[o] for o in ORIGINS], ignore_index=True), ds[EXAM]
    answers = pd.read_pickle(STORE/'said.pkl') if '--again' in sys.argv else {o: said(ds[o], o) for o in ds}
    pd.to_pickle(answers, STORE/'said.pkl')
    res = dict(origins=list(ORIGINS), exam=EXAM, runs={o: int(len(d)/len(BATCHES)) for o,d in ds.items()},
        outcomes={o: {k: g.outcome.value_counts().to_dict() for k,g in d[d.batches == 100].groupby('kind')} for o,d in ds.items()})
    res['never_seen'], risks = never_seen(dev, answers)
    res['pooled'] = {n: pooled([res['never_seen'][o][n] for o in ORIGINS]) for n in AT}
    same = left_out(dev, pd.factorize(dev.arch + dev.origin)[0] % 6)
    res['exam_judged'], res['same_origin'], res['peers'], res['attainable'], res['verdicts'] = {}, {}, {}, {}, {}
    for n in AT:
        x, m = test[test.batches == n], (dev.batches == n).to_numpy()
        a = answers[EXAM].loc[x.seed]
        res['exam_judged'][n] = judge(x, a[f'risk {n}'].to_numpy(), a[f'alarm {n}'].to_numpy(bool))
        res['same_origin'][n] = judge(dev[m], same[m], same[m] >= alarm(dev, same, n))
        res['attainable'][n] = attainable(test, n)
        if n != 50: res['peers'][n] = peers(dev, test, answers, n)
        res['verdicts'][n] = {v: Counter(x.outcome[(a[f'verdict {n}'] == v).to_numpy()]) for v in ('will fail', 'not yet known', 'will train')}
        far = (a[f'distance {n}'] > 1).to_numpy()
        res['verdicts'][n]['unlike all that it has seen'] = Counter(x.outcome[far])
    x = test[test.batches == 100]
    a = answers[EXAM].loc[x.seed]
    res['lacking'] = {'no loss': lacking(x, LOSS), 'no optimizer': lacking(x, OPTIMIZER), 'neither': lacking(x, LOSS + OPTIMIZER)}
    res['calibration'] = calibration(x, a['risk 100'].to_numpy())
    res['by_fault'] = {w: [int((g.outcome == 'failed').sum()), int(a.loc[g.seed, 'alarm 100'][(g.outcome == 'failed').to_numpy()].sum()), int((g.outcome == 'fine').sum()),
        int(a.loc[g.seed, 'alarm 100'][(g.outcome == 'fine').to_numpy()].sum())] for w,g in x.groupby(x.what.where(x.what != '', 'healthy'))}
    res['missed'] = Counter(x[(x.outcome == 'failed') & ~a['alarm 100'].to_numpy(bool)].what).most_common()
    res['problems'] = int(sum(a['problems 100'].sum() for a in answers.values()))
    res['stopped'] = stopped(test, answers[EXAM])
    res['located'] = located(ds['small'][ds['small'].batches == 100], answers['small'])
    out = HERE.parent/'failures.json'
    save = lambda: out.write_text(json.dumps(res, indent=1) + '\n')
    save()
    print(json.dumps({k: res[k] for k in ('never_seen', 'pooled', 'exam_judged', 'verdicts', 'attainable', 'peers', 'stopped', 'located', 'missed')}, indent=1))
    res['advice'] = advised(test, answers[EXAM], EXAM)
    save()
    print(json.dumps(res['advice'], indent=1))
