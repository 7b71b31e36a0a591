"""Many cores: does watching stay cheap when the training step is shared by many threads, and the pass over the tensors is not?

    python benchmarks/threads.py            # two minutes; writes benchmarks/threads.json

Measured here, with one thread and with two, side by side: the bare training step of a convolutional network, and the
pass over tensors of several sizes. From these, a model of both for up to 16 threads: a step of which a part is serial
(Amdahl), and a pass whose large tensors are shared by threads, each of which takes a time to wake up.
"""
import os
import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import actstats
from actstats.bins import FloatBins
from actstats.kernels import SHARE, Recorder
from actstats.rows import empty_rows

SIZES = (2**18, 2**20, 2**22, 2**23, 2**24, 2**25)


def seconds(f, rounds):
    "The median of the wall time of `f`"
    f(), f()
    found = []
    for _ in range(rounds):
        begin = time.perf_counter()
        f()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def network():
    def layer(ni, nf): return nn.Sequential(nn.Conv2d(ni, nf, 3, 1, 1), nn.BatchNorm2d(nf), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(layer(1, 16), layer(16, 32), layer(32, 64), nn.Flatten(), nn.Linear(64*9, 10))


def step(batch):
    "A training step of the network, and the sizes of its layers' outputs"
    torch.manual_seed(0)
    model, x, y = network(), torch.randn(batch, 1, 28, 28), torch.randint(10, (batch,))
    opt = torch.optim.SGD(model.parameters(), lr=.01)

    def train():
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step(), opt.zero_grad()
    with actstats.watch(model, optimizer=None) as rec: model(x)
    return train, [int(rec[k].n_total[0]) for k in rec.layers]


def reading(n):
    x = torch.randn(n//64, 64)
    r = Recorder(empty_rows(bins=FloatBins()), torch.zeros(64, dtype=torch.bool), FloatBins())
    return lambda: r(x, 1)


def measured(rounds, batch):
    "Seconds with one thread and with two, taken in turn"
    train, sizes = step(batch)
    out = {'step': {1: [], 2: []}, **{n: {1: [], 2: []} for n in SIZES}}
    for _ in range(rounds):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            out['step'][threads].append(seconds(train, 3))
            for n in SIZES: out[n][threads].append(seconds(reading(n), 5))
    return {k: {t: statistics.median(v) for t,v in of.items()} for k,of in out.items()}, sizes


def model(found, sizes, threads):
    "The ratio of a watched step to a bare one with so many threads: with tensors that are shared, and without"
    one, two = found['step'][1], found['step'][2]
    serial = min(one, max(0., 2*two - one))  # of one = serial + parallel, two = serial + parallel/2
    value = found[SIZES[-1]][1]/SIZES[-1]
    wake = max(0., statistics.median(found[n][2] - found[n][1]/2 for n in SIZES if n >= 2*SHARE))

    def read(n, shared):
        parts = min(threads, n//SHARE) if shared else 1
        return n*value/max(1, parts) + (wake if parts > 1 else 0)
    bare = serial + (one - serial)/threads
    return [1 + sum(read(n, shared) for n in sizes)/bare for shared in (True, False)]


def main():
    p = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--batch', type=int, default=1024)
    p.add_argument('--out', type=Path, default=Path(__file__).with_name('threads.json'))
    a = p.parse_args()
    found, sizes = measured(a.rounds, a.batch)
    ratios = {t: model(found, sizes, t) for t in (1, 2, 4, 8, 16)}
    print(f'a step of {a.batch:,} images: {found["step"][1]*1e3:.1f} ms with one thread, {found["step"][2]*1e3:.1f} with two')
    for n in SIZES: print(f'{n:12,} values: {found[n][1]*1e3:8.3f} ms with one thread, {found[n][2]*1e3:8.3f} with two')
    for t,(shared, alone) in ratios.items(): print(f'{t:3} threads: ratio {shared:.3f} if they share large tensors, {alone:.3f} if one reads all')
    machine = dict(processor=platform.processor() or platform.machine(), cores=os.cpu_count(), torch=torch.__version__)
    a.out.write_text(json.dumps(dict(machine=machine, share=SHARE, sizes=sizes, seconds=found, ratios=ratios), indent=1) + '\n')


if __name__ == '__main__': main()
