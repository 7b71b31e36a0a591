"""What an epoch of Fashion-MNIST costs, and what `import actstats` costs: side by side, interleaved, medians.

    ACTSTATS_DATA=... python benchmarks/epoch.py [--rounds 7] [--threads 2] [--data fashion_mnist]

The CNN of the lesson (1-8-16-32-64-10), batch size 1024, plain SGD. Five ways to run one training epoch:
a loop in plain torch, the `Learner`, the `Learner` with metrics, and the plain loop watched, exactly and with samples of 16,384 values.
"""
import argparse
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext

import torch
import torch.nn.functional as F

import actstats
from actstats import datasets
from actstats.activations import CNN, set_seed
from actstats.learner import MetricsCB, TrainLearner


def plain(model, dls, watching=lambda model: nullcontext()):
    opt = torch.optim.SGD(model.parameters(), lr=.1)
    with watching(model):
        for xb, yb in dls['train']:
            F.cross_entropy(model(xb), yb).backward()
            opt.step()
            opt.zero_grad()


def learner(model, dls, cbs=()): TrainLearner(model, dls, lr=.1, cbs=list(cbs)).fit(valid=False)


def with_metrics(model, dls):
    from torcheval.metrics import MulticlassAccuracy
    learner(model, dls, [Silent(MulticlassAccuracy(num_classes=10))])


class Silent(MetricsCB):
    def _show(self, table): pass


WAYS = {'plain loop': plain, 'Learner': learner, 'Learner, with metrics': with_metrics,
        'plain loop, watched': lambda m, d: plain(m, d, lambda m: actstats.watch(m, modules=m.layers)),
        'plain loop, watched, sample=16384': lambda m, d: plain(m, d, lambda m: actstats.watch(m, modules=m.layers, sample=16384))}


def epochs(dls, rounds):
    "CPU and wall-clock seconds of each way, a list for each"
    cpu, wall = ({k: [] for k in WAYS} for _ in range(2))
    for r in range(rounds + 1):
        for k, f in WAYS.items():
            set_seed(r)
            model, c, w = CNN(), time.process_time(), time.perf_counter()
            f(model, dls)
            if r: cpu[k].append(time.process_time() - c), wall[k].append(time.perf_counter() - w)  # the first round warms up
    return cpu, wall


def imports(rounds):
    "CPU seconds of importing torch and actstats, in processes of their own"
    code = 'import time; t = time.process_time(); import {}; print(time.process_time() - t)'
    times = {m: [] for m in ('torch', 'actstats')}
    for _ in range(rounds):
        for m, ts in times.items(): ts.append(float(subprocess.run([sys.executable, '-c', code.format(m)], capture_output=True, text=True, check=True).stdout))
    return times


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--rounds', type=int, default=7)
    p.add_argument('--threads', type=int, default=2)
    p.add_argument('--data', default='fashion_mnist')
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    dls = getattr(datasets, a.data)(1024)
    print(f'torch {torch.__version__}, {a.threads} threads, {a.rounds} rounds, {a.data}\n')
    cpu, wall = epochs(dls, a.rounds)
    base = statistics.median(cpu['plain loop'])
    print(f'{"one training epoch":36} wall s   CPU s   ratio of CPU')
    for k in WAYS: print(f'{k:36} {statistics.median(wall[k]):6.2f}  {statistics.median(cpu[k]):6.2f}  {statistics.median(cpu[k])/base:6.2f}')
    t = imports(a.rounds)
    print(f'\nimport torch {statistics.median(t["torch"]):.2f} s, import actstats {statistics.median(t["actstats"]):.2f} s: ratio {statistics.median(t["actstats"])/statistics.median(t["torch"]):.3f}')
