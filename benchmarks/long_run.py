"""A long run: is every value counted, and do memory and time per step stay as they are?

    make long                                         # 100,000 steps, two minutes; writes benchmarks/long_run.json
    python benchmarks/long_run.py --steps 20000

Parts of the run that are watched alternate with parts of the same length that are not, so that a busy machine is not taken for a slow recording.
"""
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is loaded

import argparse
import json
import platform
import time
from pathlib import Path

import torch
from torch import nn

import actstats


def resident():
    "Megabytes of memory that this process holds, None where the system does not tell"
    try: return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20
    except OSError: return None


def trainer(seed):
    "A small model, its optimizer, and a function that trains so many steps and gives the seconds of processor time"
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    opt, x = torch.optim.SGD(model.parameters(), lr=.01), torch.randn(8, 16)
    def train(steps, log=lambda loss: None):
        began = time.process_time()
        for _ in range(steps):
            loss = model(x).square().mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            log(loss)
        return time.process_time() - began
    return model, opt, train


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--steps', type=int, default=100_000)
    parser.add_argument('--parts', type=int, default=20)
    parser.add_argument('--out', type=Path, default=Path(__file__).with_suffix('.json'))
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, opt, train = trainer(0)
    *_, train_bare = trainer(0)
    each, parts, sums = args.steps // args.parts, [], torch.zeros((), dtype=torch.float64)
    with actstats.watch(model, opt, grads=True, max_rows=1024) as rec:
        def log(loss):
            rec.log(loss=loss)
            sums.add_(loss.detach())
        for _ in range(args.parts):
            bare, watched = train_bare(each), train(each, log)
            parts.append(dict(steps=len(rec), rows=len(rec['0']), rows_mb=rec.nbytes/2**20, resident_mb=resident(), bare_us=bare/each*1e6, watched_us=watched/each*1e6))
            print('{steps:7,} steps  {rows:5} rows  {rows_mb:5.1f} MB  process {resident_mb:.1f} MB  bare {bare_us:.0f} us a step, watched {watched_us:.0f}'.format(**parts[-1]), flush=True)
    steps, sizes = each * args.parts, {'0': 8*32, '1': 8*32, '2': 8*32, '3': 8*4}
    counts = {f'{k}, {kind}': int(rec[k, kind].n_total.sum()) - steps*n for k,n in sizes.items() for kind in ('act', 'grad')}
    counts |= {f'{k}, {kind}': int(rec[k, kind].n_total.sum()) - steps*p.numel() for k,p in model.named_parameters() for kind in ('param', 'param_grad', 'update')}
    loss, histories = rec['loss', 'log'], [rec[k] for k in rec]
    totals = dict(histories=len(histories), wrong_counts=sum(map(bool, counts.values())), wrong_histograms=sum(int((h.hist.sum(1) != h.n + h.n_posinf + h.n_neginf).any()) for h in histories),
                  wrong_steps=sum(int(h.n_steps.sum() != steps) for h in histories), loss_error=float(abs((loss.mean*loss.n).sum() - sums)/abs(sums)))
    print(totals)
    args.out.write_text(json.dumps(dict(torch=torch.__version__, python=platform.python_version(), totals=totals, parts=parts), indent=1) + '\n')


if __name__ == '__main__': main()
