"""The ladder's recipes, searched on pictures held out of the training set; then one report of the test set.

    make ladder_search                                # half an hour on an idle core; writes benchmarks/ladder_search.json
    python benchmarks/ladder_search.py search         # the search without the report

It trains with the functions of chapter 12a, for five epochs and never a larger network. The search climbs as the ladder does: each stage tries a few
settings on top of the best recipe so far, with one seed; the six best recipes of all are trained with two seeds more, and the best mean wins. Only
then, and only once, is the test set looked at: five networks, trained by the winner with seeds that no search used. Runs that are in the file are not
trained again, so a search that was stopped goes on where it was.
"""
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is loaded

import argparse
import json
import platform
import sys
import time
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))  # behind everything: what is installed wins

import numpy as np
import torch
from torch import nn, optim

from actstats.batchnorm import BatchNorm
from actstats.datasets import fashion_mnist

SEEDS = [100, 101, 102]  # of the search; the first alone chooses within a stage
REPORT = [2001, 2002, 2003, 2004, 2005]  # of the one report
FINALISTS = 6
CELLS = 'def raw(', 'class MirrorCB(', 'def orthogonal(', 'class Muon(', 'def train(', 'def held_out('


def chapter():
    "The functions of chapter 12a, from its notebook"
    nb, found = json.loads((HERE.parent/'nbs/12a_ladder.ipynb').read_text()), {}
    code = [''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'code']
    for source in code[:1] + [s for s in code if s.startswith(CELLS)]: exec(source, found)
    return found


train, held_out, Muon = map(chapter().__getitem__, ('train', 'held_out', 'Muon'))


def over(**kw):
    "One recipe for each value of the only argument"
    [(k, values)] = kw.items()
    return [{k: v} for v in values]


# A rung, what it changes, and the settings among which it may choose; a rung that may be left out has to beat the best recipe before it.
# A schedule rises for three tenths of the steps and AdamW decays weights by 0.01, as PyTorch has it, until a later stage says otherwise.
STAGES = [
    ('BatchNorm + momentum',    'always', dict(norm=BatchNorm, momentum=.9), over(lr=(.1, .2, .4))),
    ('+ batches of 64',         'always', dict(bs=64), over(lr=(.025, .05, .1))),
    ('+ one cycle',             'always', dict(one_cycle=.3), over(lr=(.1, .2))),
    ('+ AdamW',                 'always', dict(opt=optim.AdamW, momentum=0., wd=.01), over(lr=(.008, .016, .032))),
    ('+ an earlier peak',       'better', {}, over(one_cycle=(.1,))),
    ('+ more weight decay',     'better', {}, over(wd=(.05, .2))),
    ('+ a smooth activation',   'better', {}, over(act=(nn.GELU, nn.SiLU))),
    ('+ mirrored pictures',     'better', dict(mirror=True), [{}]),
    ('+ slow running averages', 'better', dict(norm=partial(BatchNorm, mom=.01)), [{}]),
    ('+ another rate',          'better', {}, over(lr=(.011,))),
    ('+ Muon',                  'better', dict(opt=Muon), over(lr=(.008, .016, .032))),
    ('+ Muon, mirrored',        'better', dict(mirror=True), [{}]),
    ('+ batches of 32',         'better', dict(bs=32), over(lr=(.011,))),
]


def plain(v):
    "A setting as JSON holds it: classes by name, partials as calls"
    if isinstance(v, dict): return {k: plain(o) for k, o in v.items()}
    if isinstance(v, partial): return f'{v.func.__name__}({", ".join([*map(str, v.args), *(f"{k}={o}" for k, o in v.keywords.items())])})'
    return getattr(v, '__name__', v)


def torchs(recipe):
    "The same recipe with PyTorch's own batch norm, which equals the book's and takes two thirds of the time"
    norm, kw = recipe.get('norm'), {}
    if isinstance(norm, partial) and norm.func is BatchNorm: norm, kw = BatchNorm, dict(momentum=norm.keywords['mom'])
    return recipe | dict(norm=partial(nn.BatchNorm2d, **kw)) if norm is BatchNorm else recipe


class Search:
    "Runs by recipe and seed, kept in a file"
    def __init__(self, path):
        self.path = path
        self.found = json.loads(path.read_text()) if path.exists() else dict(runs=[])
        self.recipes = {}

    def save(self): self.path.write_text(json.dumps(self.found, indent=1) + '\n')

    def run(self, recipe, seed):
        "Accuracies on the held-out pictures after each epoch"
        key = plain(recipe)
        self.recipes[json.dumps(key, sort_keys=True)] = recipe
        for r in self.found['runs']:
            if (r['recipe'], r['seed']) == (key, seed): return r['accuracy']
        began, cpu = time.time(), time.process_time()
        acc, _ = train(seed, data=held_out, **torchs(recipe))
        self.found['runs'].append(dict(recipe=key, seed=seed, accuracy=[round(a, 5) for a in acc]))
        self.save()
        print(f'{acc[-1]:.4f}  seed {seed}  {time.process_time() - cpu:.0f} of {time.time() - began:.0f} s  {key}', flush=True)
        return self.run(recipe, seed)

    def score(self, recipe, seeds): return float(np.mean([self.run(recipe, s)[-1] for s in seeds]))

    def search(self):
        "Stage by stage with one seed, then the best of all with three: the winner"
        best, self.found['stages'] = {}, []
        for rung, when, change, choices in STAGES:
            tried = [best | change | o for o in choices]
            tried.sort(key=lambda r: -self.score(r, SEEDS[:1]))
            kept = when == 'always' or self.score(tried[0], SEEDS[:1]) > self.score(best, SEEDS[:1])
            if kept: best = tried[0]
            of_one = [dict(recipe=plain(r), accuracy=self.score(r, SEEDS[:1])) for r in tried]
            self.found['stages'].append(dict(rung=rung, kept=kept, tried=of_one))
            print(f'{rung}: {"kept" if kept else "left out"}', flush=True)
        of_all = sorted(self.recipes.values(), key=lambda r: -self.score(r, SEEDS[:1]))
        self.finalists = of_all[:FINALISTS]
        return max(self.finalists, key=lambda r: self.score(r, SEEDS))


def summary(search, recipe):
    acc = [search.run(recipe, s) for s in SEEDS]
    return dict(recipe=plain(recipe), accuracy=acc, mean=round(float(np.mean([a[-1] for a in acc])), 5))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('part', nargs='?', choices=['search'], help='search: without the report of the test set')
    parser.add_argument('--out', type=Path, default=Path(__file__).with_suffix('.json'))
    args = parser.parse_args()
    torch.set_num_threads(1)
    s = Search(args.out)
    s.found |= dict(split=dict(of='the training set of Fashion-MNIST', train=50_000, held_out=10_000, generator=42), epochs=5, seeds=SEEDS,
                    report_seeds=REPORT, torch=torch.__version__, machine=platform.machine())
    best = s.search()
    s.found |= dict(finalists=[summary(s, r) for r in s.finalists], winner=summary(s, best))
    s.save()
    if args.part != 'search' and 'report' not in s.found:  # once
        began = time.time()
        last = np.array([train(seed, data=fashion_mnist, **torchs(best))[0][-1] for seed in REPORT])
        s.found['report'] = dict(recipe=plain(best), train=60_000, test=10_000, seeds=REPORT, accuracy=last.round(5).tolist(),
                                 mean=round(last.mean(), 5), std=round(last.std(ddof=1), 5), seconds=round(time.time() - began))
        s.save()
        print('the test set:', s.found['report'], flush=True)


if __name__ == '__main__': main()
