"""What a live view costs: the same training, bare, watched, and watched with a view, in turn and in one process.

    make live           # a few minutes

Each view is drawn with the default settings of `rec.live`: every two seconds, and never more than a twentieth of the time.
Process time, so that other work on the machine does not count; the median over rounds of the ratio to the bare run of the
same round. Results go to benchmarks/live.json, which the chapter on live views reads.
"""
import io
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
import torch.nn.functional as F
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

import actstats
from actstats.activations import CNN, set_seed
from actstats.datasets import digits
from actstats.live import NotebookView, TerminalView

ROUNDS, EPOCHS = 5, 120


class Page(NotebookView):
    "What a notebook shows, made and kept, but not sent"
    def __call__(self, rec, done): self.html = self.page(rec, done)


VIEWS = dict(terminal=lambda folder: TerminalView(console=Console(file=io.StringIO(), force_terminal=True, width=120)),
             notebook=lambda folder: Page(), tensorboard=SummaryWriter)


def train(mode, folder):
    "Seconds of process time of a training run, and its live view if there is one"
    set_seed(0)
    model, dls, live = CNN(), digits(), None
    opt = torch.optim.SGD(model.parameters(), lr=.1)
    watch = actstats.watch(model, opt) if mode != 'bare' else None
    rec = watch.start() if watch else None
    if mode in VIEWS: live = rec.live(VIEWS[mode](folder)).listeners[-1]
    began = time.process_time()
    for _ in range(EPOCHS):
        for xb, yb in dls['train']:
            loss = F.cross_entropy(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if rec: rec.log(loss=loss)
    if watch: watch.stop()
    return time.process_time() - began, live


def main():
    times, views = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for r in range(ROUNDS):
            for mode in ('bare', 'watched', *VIEWS):
                seconds, live = train(mode, f'{folder}/{r}')
                times.setdefault(mode, []).append(seconds)
                if live: views.setdefault(mode, []).append((live.drawn, live.took))
                print(f'{mode:12} {seconds:6.1f} s' + (f', drawn {live.drawn} times in {live.took:.2f} s' if live else ''), flush=True)
    ratio = lambda mode: statistics.median(a/b for a, b in zip(times[mode], times['bare']))
    out = dict(steps=EPOCHS*23, rounds=ROUNDS, seconds=statistics.median(times['bare']), ratio={m: ratio(m) for m in times if m != 'bare'},
               drawn={m: statistics.median(n for n, _ in v) for m, v in views.items()}, each={m: statistics.median(t/n for n, t in v) for m, v in views.items()})
    Path(__file__).with_suffix('.json').write_text(json.dumps(out, indent=1) + '\n')
    print(json.dumps(out, indent=1))


if __name__ == '__main__': main()
