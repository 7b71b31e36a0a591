"""What the lens `Outliers` costs: a small GPT, bare, watched, and watched with the lens, in turn and in one process.

    python benchmarks/outliers.py           # a minute or two

Process time, so that other work on the machine does not count; the modes take turns every ten steps, and the median over
rounds of the ratio to the bare run of the same round is kept. Reading is timed too: the kurtosis of a layer with a thousand
rows. Results go to benchmarks/outliers.json, which the chapter on outliers reads.
"""
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
import torch.nn.functional as F
from torch import nn

from actstats.outliers import Outliers
from actstats.recording import Recording
from actstats.watching import watch

ROUNDS, STEPS, WIDTH, DEPTH, LENGTH, BATCH, TOKENS = 9, 10, 128, 4, 64, 8, 96
MODES = dict(bare=None, watched=[], every_10=[Outliers(every=10)], every_1=[Outliers(every=1)])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3*WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.gelu, self.down = nn.Linear(WIDTH, 4*WIDTH), nn.GELU(), nn.Linear(4*WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = (o.unflatten(-1, (4, -1)).transpose(1, 2) for o in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(self.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Embedding(TOKENS, WIDTH), nn.Parameter(torch.randn(LENGTH, WIDTH)*.02)
        self.blocks, self.norm = nn.Sequential(*[Block() for _ in range(DEPTH)]), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, TOKENS)

    def forward(self, ids): return self.head(self.norm(self.blocks(self.embed(ids) + self.place)))


class Run:
    "A training run in one of the modes, some steps at a time"
    def __init__(self, lenses):
        torch.manual_seed(0)
        self.model, self.made = GPT(), torch.Generator().manual_seed(1)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.watch = None if lenses is None else watch(self.model, lenses=lenses)
        if self.watch: self.watch.start()

    def steps(self, n):
        "Seconds of process time of `n` steps"
        began = time.process_time()
        for _ in range(n):
            ids = torch.randint(TOKENS, (BATCH, LENGTH + 1), generator=self.made)
            loss = F.cross_entropy(self.model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        return time.process_time() - began


def reading(rows=1024):
    "Seconds of process time to read kurtosis and far values of a layer with that many rows"
    rec = Recording(max_rows=rows)
    for i in range(rows): rec.put('x', 'act', torch.randn(4096), i)
    h, began = rec['x'], time.process_time()
    h.kurtosis
    took = time.process_time() - began
    h.beyond()
    return dict(rows=rows, kurtosis=took, beyond=time.process_time() - began - took)


def main():
    torch.set_num_threads(1)
    runs = {k: Run(v) for k, v in MODES.items()}
    for r in runs.values(): r.steps(STEPS)
    times = {k: [] for k in runs}
    for i in range(ROUNDS):
        for k, r in runs.items(): times[k].append(r.steps(STEPS))
        print(i, {k: round(v[-1], 3) for k, v in times.items()}, flush=True)
    for r in runs.values():
        if r.watch: r.watch.stop()
    same = all(torch.equal(a, b) for r in runs.values() for a, b in zip(r.model.parameters(), runs['bare'].model.parameters()))
    ratio = {k: statistics.median(a/b for a, b in zip(times[k], times['bare'])) for k in runs if k != 'bare'}
    out = dict(rounds=ROUNDS, steps=STEPS, layers=len(runs['watched'].watch.modules), milliseconds=1e3*statistics.median(times['bare'])/STEPS,
               ratio=ratio, same=same, reading=reading())
    Path(__file__).with_suffix('.json').write_text(json.dumps(out, indent=1) + '\n')
    print(json.dumps(out, indent=1))


if __name__ == '__main__': main()
