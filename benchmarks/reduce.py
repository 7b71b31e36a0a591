"""What `rec.reduce` costs beside watching without it, and how many bytes a round takes, against the number of ranks and of layers.

    make reduce         # three minutes on two cores

Two processes train under DistributedDataParallel: bare, watched, and watched with `reduce`, in turn. Process time of rank 0, so that
the background thread counts and other work on the machine does not; the median over rounds of the ratio to the bare run of the same
round. The first hundred steps, which have a round every four, and those that follow are timed apart. The time that the training thread
itself spends on a round is measured too. Bytes are those handed to collectives: with an algorithm that sends around a ring, a rank sends
less than twice as many, whatever the number of ranks. Results go to benchmarks/reduce.json.
"""
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import actstats
from actstats.reduction import Reduction

warnings.simplefilter('ignore')
ROUNDS, FIRST, STEPS, EVERY = 5, 100, 300, 100
WORLDS, LAYERS = (2, 4, 8), (10, 40, 160)


def lesson():
    "The convolutional network of the other benchmarks"
    def conv(i, o): return nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.ReLU())
    return nn.Sequential(conv(1, 16), conv(16, 32), conv(32, 64), conv(64, 64), nn.Flatten(), nn.Linear(256, 10)), (1, 28, 28)


def deep(layers=40):
    return nn.Sequential(*[m for _ in range(layers//2) for m in (nn.Linear(64, 64), nn.ReLU())], nn.Linear(64, 10)), (64,)


def reduction(rec): return next(f for f in rec.listeners if isinstance(f, Reduction))


def train(make, mode):
    "Milliseconds of process time a step, in the first steps and in those that follow; of the training thread alone for a round"
    gc.collect()
    torch.manual_seed(0)
    model, shape = make()
    net, took = DistributedDataParallel(model), []
    opt, g = torch.optim.SGD(net.parameters(), lr=.01), torch.Generator().manual_seed(dist.get_rank())
    x, y = torch.randn(64, *shape, generator=g), torch.randint(0, 10, (64,), generator=g)
    watched = actstats.watch(net, opt) if mode != 'bare' else None
    rec = watched.start() if watched else None
    if mode == 'reduced':
        rec.reduce(every=EVERY)
        enqueue = reduction(rec)._enqueue
        def timed(*args):
            began = time.thread_time()
            enqueue(*args)
            took.append((args[0], 1000*(time.thread_time() - began)))
        reduction(rec)._enqueue = timed
    marks = [time.process_time()]
    for i in range(STEPS):
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if rec: rec.log(loss=loss)
        if i + 1 in (FIRST, STEPS): marks.append(time.process_time())
    if watched: watched.stop()
    first, later = 1000*(marks[1] - marks[0])/FIRST, 1000*(marks[2] - marks[1])/(STEPS - FIRST)
    return first, later, statistics.median([ms for n,ms in took if FIRST < n <= STEPS] or [0]), len(rec.keys()) if rec else 0


def cost(make):
    modes = 'bare', 'watched', 'reduced'
    for m in modes: train(make, m)
    rounds = [{m: train(make, m) for m in modes} for _ in range(ROUNDS)]
    def ratios(mode, i):
        v = sorted(r[mode][i]/r['bare'][i] for r in rounds)
        return dict(ratio=round(statistics.median(v), 3), least=round(v[0], 3), most=round(v[-1], 3))
    return dict(rows=rounds[0]['reduced'][3], bare_ms_a_step=round(statistics.median(r['bare'][1] for r in rounds), 2),
                training_thread_ms_a_round=round(statistics.median(r['reduced'][2] for r in rounds), 2),
                **{part: {m: ratios(m, i) for m in modes[1:]} for i,part in enumerate(('first', 'later'))})


def volume(layers):
    "Bytes that a rank hands to the collectives of one round, once all ranks know what they hold"
    sent, all_reduce = [], dist.all_reduce
    def spy(x, *args, **kwargs):
        sent.append(x.nbytes)
        return all_reduce(x, *args, **kwargs)
    model, shape = deep(layers)
    watched = actstats.watch(model, torch.optim.SGD(model.parameters(), lr=0.))
    rec = watched.start()
    rec.reduce(every=4, timeout=100)
    dist.all_reduce = spy
    for _ in range(8):
        model(torch.randn(4, *shape)).sum().backward()
        watched.given[0].step()
    watched.stop()
    reduction(rec).thread.join()
    dist.all_reduce = all_reduce
    at = sent.index(max(sent))  # counts and histograms come after the handshake, then means, distances, extremes and masks
    return sum(sent[at-1:at+5])


def worker(what, folder):
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=int(os.environ['RANK']), world_size=int(os.environ['WORLD_SIZE']))
    found = {str(n): volume(n) for n in LAYERS} if what == 'volume' else dict(lesson=cost(lesson), deep=cost(deep))
    if dist.get_rank() == 0: Path(folder, 'found').write_text(json.dumps(found))
    dist.destroy_process_group()


def run(world, what):
    "What rank 0 has found in so many processes"
    with tempfile.TemporaryDirectory() as folder:
        ps = [subprocess.Popen([sys.executable, '-W', 'ignore', __file__, what, folder], env=os.environ | dict(RANK=str(r), WORLD_SIZE=str(world)))
              for r in range(world)]
        try: status = [p.wait(1800) for p in ps]
        finally:
            for p in ps: p.kill()
        if any(status): raise SystemExit(f'{world} processes ended with {status}')
        return json.loads(Path(folder, 'found').read_text())


def main():
    sizes = {str(world): run(world, 'volume') for world in WORLDS}
    out = dict(bytes={n: {world: sizes[world][n] for world in sizes} for n in map(str, LAYERS)}, cost=run(2, 'cost'),
               rounds=ROUNDS, first=FIRST, steps=STEPS, every=EVERY, torch=torch.__version__)
    Path(__file__).with_suffix('.json').write_text(json.dumps(out, indent=1) + '\n')
    print(json.dumps(out, indent=1))


if __name__ == '__main__': worker(*sys.argv[1:]) if len(sys.argv) > 1 else main()
