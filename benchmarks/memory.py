"""The memory that rows take: bytes of a packed row of several networks, and what many histories add to a process over a long run.

    make memory         # two minutes

Each network trains for some steps, and the rows of each kind are counted as their pages store them. Then a chain of layers that do
nothing runs for many more steps than there are rows, in a process of its own, once bare and once watched: the rows' memory as
`rec.nbytes` states it, and the peak of the process. Results go to benchmarks/memory.json, which the chapter on pages reads.
"""
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
import torch.nn.functional as F
from torch import nn

import actstats
from actstats.pages import Page
from overhead import GPT, cnn, resnet
from reduce import deep

STEPS = 192        # of each network: twelve pages of 16 rows
LAYERS, LONG = 200, 4000


def convolutions():
    model, x, y = cnn()
    return model, lambda: (torch.randn(64, *x.shape[1:]), torch.randint(10, (64,)))

def residual():
    model, x, y = resnet()
    return model, lambda: (torch.randn(4, 3, 64, 64), torch.randint(10, (4,)))

def tokens():
    def batch():
        x = torch.randint(256, (4, 65))
        return x[:, :-1], x[:, 1:].flatten()
    return GPT(layers=4, d=128, length=64), batch

def linear():
    model, shape = deep()
    return model, lambda: (torch.randn(64, *shape), torch.randint(10, (64,)))

NETWORKS = {'CNN, batch 64': convolutions, 'ResNet-18, 4x3x64x64': residual, 'GPT, 4 layers, width 128, 4x64': tokens,
            '40 linear layers and ReLUs, width 64': linear}


def train(model, batch, steps):
    "The recording of a run"
    opt = torch.optim.AdamW(model.parameters(), 1e-3)
    with actstats.watch(model, opt) as rec:
        for _ in range(steps):
            x, y = batch()
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
    return rec


def bytes_a_row(rec):
    "For each kind: the number of histories, and the bytes of a row in packed pages, in the mean"
    t, found = next(t for (timeline, _),t in rec.tracks.items() if timeline == 'train').snapshot(), {}
    for kind in sorted({kind for _,kind in t.slots}):
        some = [i for (_, k),i in t.slots.items() if k == kind]
        masks = [torch.from_numpy(p.masks(t._bytes(i).start, t._bytes(i).stop)) for p in t.past.pages for i in some]
        per = len(some)
        pages = [Page(p.read()[0][some], torch.cat(masks[per*j:per*(j + 1)], 1)) for j,p in enumerate(t.past.pages)]
        found[kind] = dict(histories=per, bytes=round(sum(p.nbytes for p in pages)/sum(p.n*per for p in pages), 1))
    return found


def peak():
    "The most memory that this process has had, in bytes; `ru_maxrss` of a new process begins with that of its parent"
    status = Path('/proc/self/status')
    if status.exists(): return next(int(line.split()[1])*1024 for line in status.read_text().splitlines() if line.startswith('VmHWM'))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def chain(way):
    "A long run of layers that do nothing: the rows' bytes after every eighth of the steps, and the peak of this process"
    model, x, rows = nn.Sequential(*[nn.Identity() for _ in range(LAYERS)]), torch.randn(4, 16), []
    w = actstats.watch(model, optimizer=None) if way == 'watched' else None
    rec = w.start() if w else None
    for step in range(1, LONG + 1):
        model(x)
        if rec and step % (LONG//8) == 0: rows.append(rec.nbytes)
    if w: w.stop(tell=False)
    return dict(rows=rows, peak=peak(), histories=len(rec.keys()) if rec else 0, max_rows=rec.max_rows if rec else 0)


def alone(way):
    "The result of `chain` in a process of its own"
    out = subprocess.run([sys.executable, '-W', 'ignore', __file__, way], check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def main():
    began, networks = time.process_time(), {}
    for name,make in NETWORKS.items():
        torch.manual_seed(0)
        networks[name] = bytes_a_row(train(*make(), STEPS))
        print(name, networks[name], f'{time.process_time() - began:.0f} s', flush=True)
    runs = {way: alone(way) for way in ('bare', 'watched')}
    out = dict(machine=dict(torch=torch.__version__, python=platform.python_version(), system=platform.system()),
               steps=STEPS, networks=networks, layers=LAYERS, long=LONG, runs=runs)
    Path(__file__).with_suffix('.json').write_text(json.dumps(out, indent=1) + '\n')
    print(json.dumps(runs, indent=1))


if __name__ == '__main__': print(json.dumps(chain(sys.argv[1]))) if len(sys.argv) > 1 else main()
