"""Learn which remedy is right, from runs of the development origins that failed and whose fault is known; writes actstats/advice.json.

    python benchmarks/failures/advice.py        # learn and write
    python benchmarks/failures/advice.py --try  # how often is it right about an origin that it has not seen?

A multinomial logistic regression, for each remedy: on symptoms after a hundred batches, bent as for the risk; on which rules found something;
and on which remedies these name first, in the order of the rules. Rules know causes that symptoms do not show; symptoms know of
failures that no rule explains.
"""
import json
import sys

from joblib import Parallel, delayed
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from actstats.diagnosis import named, ordered
from actstats.ailments import REMEDIES, RULES
from actstats.symptoms import SYMPTOMS
from cures import TRAINED, config, found
from fit import EDGE, KNOTS, LIMIT, ORIGINS, bent
from outcomes import look
from store import HERE, WATCHED, origin as module_of

NAMES = [s for s in SYMPTOMS if s != 'steps']
TAUGHT = [r for r in REMEDIES if r not in TRAINED]
RULE, FIRST = 2., 6. # how much more than a symptom a rule counts, and a remedy that is named first, when slopes are kept small


def failed()->pd.DataFrame:
    "Runs with faults that failed: their symptoms, what the rules find, and the right remedy"
    d = pd.concat([look(o) for o in ORIGINS], ignore_index=True)
    d = d[(d.batches == WATCHED) & (d.outcome == 'failed') & (d.kind == 'fault')]
    cs = [config(r) for r in d.itertuples()]
    finds = Parallel(n_jobs=-1, batch_size=8)(delayed(found)(c, o) for c,o in zip(cs, d.origin))
    right = [module_of(o).right(c)[0] for c,o in zip(cs, d.origin)]
    d = d.assign(finds=[[(r, m) for r,m,_ in fs] for fs in finds], right=right)
    return d[d.right.isin(TAUGHT)].reset_index(drop=True)


class Advice:
    "Which remedy?"
    def fit(self, d):
        x = self.x(d)
        self.middle = np.nan_to_num(np.nanmedian(x, 0))
        spread = (np.nanquantile(x, .9, axis=0) - np.nanquantile(x, .1, axis=0))/2
        self.spread = np.where(spread > .025, spread, .025)
        w = d.origin.map(1/d.origin.value_counts())
        self.model = LogisticRegression(C=.01, max_iter=1000).fit(self.columns(d), d.right, w*len(w)/w.sum())
        return self

    def x(self, d): return d[NAMES].clip(-LIMIT, LIMIT).to_numpy(float)

    def columns(self, d)->np.ndarray:
        rules = [[r in {f for f,_ in fs} for r in RULES] for fs in d.finds]
        return np.c_[bent(self.x(d), self.middle, self.spread), RULE*np.array(rules, float), FIRST*np.array([named([m for _,m in fs], TAUGHT) for fs in d.finds])]

    def likeliest(self, d)->np.ndarray:
        "For each run the remedies, the best first"
        firsts = [next((m for _,m in fs if m in TAUGHT), None) for fs in d.finds]
        return np.array([list(ordered(dict(zip(self.model.classes_, p)), f)) for p,f in zip(self.model.predict_proba(self.columns(d)), firsts)])


def tried(d)->dict:
    "For each origin, by a fit to the others: how often the right remedy is the first that is named, or one of two; and by the order of the rules alone"
    res = {}
    for o,test in d.groupby('origin'):
        ours, right = Advice().fit(d[d.origin != o]).likeliest(test), test.right.to_numpy()
        rules = [list(dict.fromkeys(m for _,m in fs)) for fs in test.finds]
        res[o] = dict(failed=len(test), first=float((ours[:, 0] == right).mean()), of_two=float((ours[:, :2] == right[:, None]).any(1).mean()),
            rules_first=float(np.mean([r in ms[:1] for r,ms in zip(right, rules)])), rules_of_two=float(np.mean([r in ms[:2] for r,ms in zip(right, rules)])))
    return res


if __name__ == '__main__':
    d = failed()
    if '--try' in sys.argv:
        res = tried(d)
        print(pd.DataFrame(res).T.round(3).to_string())
        (HERE.parent/'advice.json').write_text(json.dumps(res, indent=1) + '\n')
    a = Advice().fit(d)
    n = len(NAMES)*(len(KNOTS) + 2)
    slopes = a.model.coef_
    res = dict(runs=len(d), names=NAMES, middle=a.middle.round(4).tolist(), spread=a.spread.round(4).tolist(), knots=KNOTS, edge=EDGE, limit=LIMIT, remedies=a.model.classes_.tolist(),
        start=a.model.intercept_.round(4).tolist(), slopes=slopes[:, :n].round(4).reshape(len(slopes), len(NAMES), -1).tolist(),
        rules={r: (RULE*slopes[:, n + i]).round(4).tolist() for i,r in enumerate(RULES)},
        first={r: (FIRST*slopes[:, n + len(RULES) + i]).round(4).tolist() for i,r in enumerate(TAUGHT)})
    (HERE.parent.parent/'actstats'/'advice.json').write_text(json.dumps(res, separators=(',', ':')).replace('],[', '],\n[') + '\n')
