"""Trainings of real models on real data: does the diagnosis keep quiet while they are healthy, and speak when they are not?

    python benchmarks/failures/real.py                          # all healthy trainings, three seeds of each; writes real.json
    python benchmarks/failures/real.py --faults                 # eight of them with four faults each
    python benchmarks/failures/real.py --again                  # judge the recordings of both again, without training
    python benchmarks/failures/real.py --only GPT --steps 8     # a trial, which writes nothing

What is trained, and how, is in real_trainings.py. Recordings are kept in .runs/real/. timm and transformers come from
`make .bench/.installed-sweep`; trainings that need them cannot be made without.
"""
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is loaded
os.environ.update(HF_HUB_OFFLINE='1', TRANSFORMERS_VERBOSITY='error')

import argparse
import json
import math
import platform
import re
import statistics
import sys
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from joblib import Parallel, delayed
from torch.optim.lr_scheduler import LambdaLR

import actstats
from actstats.activations import set_seed
from actstats.recording import Recording
from real_trainings import TRAININGS, missing

LOOKS = 25, 50, 100  # steps after which the diagnosis is asked, besides the last
LEARNT = .15  # of the way from a guess to perfection: a training that comes as far is healthy
POINTS = 60  # of a loss curve that are kept
RUNS = Path(__file__).parents[2]/'.runs'/'real'


# ---- faults ----

FAULTS = {}
FAULTY = 'MobileNetV3, RMSprop', 'ViT, mixup and cutmix', 'ConvNeXt, RMS norms', 'LCNet, linear decay', 'ALBERT, classifier', 'LSTM, SGD at a rate of 20', 'U-Net, diffusion', 'CNN, by how many degrees?'

def fault(name):
    def enter(f): FAULTS[name] = f; return f
    return enter

def scale_rate(t, factor):
    for group in t.opt.param_groups: group['lr'] *= factor

@fault('rate x 100')
def too_high(t): scale_rate(t, 100)

@fault('rate / 1000')
def too_low(t): scale_rate(t, 1e-3)

@fault('gradients are never zeroed')
def never_zeroed(t): t.zero = False

@fault('targets are shuffled')
def shuffled(t):
    t.batches = ((x, y[torch.randperm(len(y))]) for x,y in t.batches)

@fault('pictures are not scaled')
def not_scaled(t):
    "In training only, where pixels go from 0 to 255 or so"
    t.batches = ((90*x + 73,) for x, in t.batches)

def faults_of(name):
    "Four of them: targets can be shuffled only where there are any"
    return [f for f in FAULTS if f != ('pictures are not scaled' if TRAININGS[name].targets else 'targets are shuffled')]


# ---- training and looking ----

def one_step(t):
    "A step of the optimizer; the mean loss of its batches"
    losses = []
    for _ in range(t.accumulate):
        with torch.autocast('cpu', torch.bfloat16, enabled=t.autocast): loss = t.loss(t.model, *next(t.batches))
        (loss/t.accumulate).backward()
        losses.append(loss.detach())
    if t.clip: t.clip(t.model)
    t.opt.step()
    if t.zero: t.opt.zero_grad()
    if t.after: t.after(t.model)
    return torch.stack(losses).mean()

def train(t, steps):
    "Train and watch: the recording, and the losses"
    schedule, losses = t.rate and LambdaLR(t.opt, lambda i: t.rate(i, steps)), []
    with actstats.watch(t.model, t.opt, total_steps=steps) as rec:
        for _ in range(steps):
            loss = one_step(t)
            if schedule: schedule.step()
            rec.log(loss=loss)
            losses.append(loss.item())
    return rec, losses

def places(diagnosis, severity): return [f'{f.rule}: {f.layer}' for f in diagnosis.findings if f.severity == severity]

def verdict(diagnosis): return 'alarm' if diagnosis.alarm else 'not known' if math.isnan(diagnosis.risk) else 'quiet'

def advice(diagnosis):
    "The likeliest cause and what is to be done, if there is an alarm"
    first = next((f for f in diagnosis.findings if f.severity == 'error'), None)
    return first and [first.evidence.get('cause') or first.rule, first.remedy]

def looked(rec):
    "What is to be said about a recording, at each look"
    seen = {str(i):rec.diagnose(upto=i) for i in LOOKS if i <= len(rec)} | dict(end=rec.diagnose())
    return dict(verdict={k:verdict(d) for k,d in seen.items()}, risk={k:d.risk for k,d in seen.items()},
                errors={k:places(d, 'error') for k,d in seen.items()}, advice={k:advice(d) for k,d in seen.items()},
                warnings=places(seen['end'], 'warning'), problems=rec.problems)

def thinned(losses):
    "Means of about `POINTS` stretches of equal length"
    k = math.ceil(len(losses)/POINTS)
    return [statistics.fmean(losses[i:i + k]) for i in range(0, len(losses), k)]

def judge(name, seed, wrong=None, steps=None):
    "Train once, unless a recording is there; what is to be said about it. A training of a given number of steps is a trial"
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    set_seed(seed)
    recipe = TRAININGS[name]
    t = recipe.make(steps or recipe.steps)
    if wrong: FAULTS[wrong](t)
    start = time.process_time()
    rec, losses = train(t, steps or recipe.steps)
    seconds = time.process_time() - start
    with torch.no_grad(): value = t.metric(t.model.eval())
    if not steps: rec.save(where(name, seed, wrong))
    return dict(name=name, seed=seed, fault=wrong, library=recipe.library, optimizer=type(t.opt).__name__, parameters=sum(p.numel() for p in t.model.parameters()),
                steps=len(losses), metric=recipe.metric, value=value, guessing=recipe.guess(), learnt=recipe.learnt(value)) | looked(rec) | dict(
                losses=thinned(losses), seconds=seconds)

def where(name, seed, wrong):
    "The file of a recording"
    RUNS.mkdir(parents=True, exist_ok=True)
    return RUNS/(re.sub(r'\W+', '-', f'{name} {wrong or ""}').strip('-') + f'-{seed}.actstats')

def judge_again(row): return row | looked(Recording.load(where(row['name'], row['seed'], row['fault'])))


# ---- results ----

def line(row):
    errors = [f'at {k}: {e}' for k,es in row['errors'].items() for e in es]
    return (f'{row["name"]:35} {row["fault"] or "":27} seed {row["seed"]}  {row["parameters"]:>10,} parameters  {row["metric"]} {row["value"]:.3f} '
            f'(guessing {row["guessing"]:.2f}; learnt {row["learnt"]:.2f})  risk {" ".join("-" if v is None else f"{v:.2f}" for v in row["risk"].values())}  '
            f'errors {"; ".join(errors) or "none"}  warnings {"; ".join(row["warnings"]) or "none"}  '
            + f'problems {len(row["problems"])}  '*bool(row['problems']) + f'{row["seconds"]:.0f} s, {row["seconds"]/row["steps"]:.3f} a step')

def rounded(o):
    "Floats with four digits after the point or, if they are large, in all; those that are not finite, which JSON does not have, as None"
    if isinstance(o, dict): return {k:rounded(v) for k,v in o.items()}
    if isinstance(o, list): return [rounded(v) for v in o]
    return o if not isinstance(o, float) else float(f'{o:.4g}') if math.isfinite(o) else None

def written(o):
    "As JSON, a list of numbers in one line"
    text = json.dumps(rounded(o), indent=1)
    return re.sub(r'\[[-+.\de,\s]+\]', lambda found: re.sub(r'\s+', ' ', found[0]).replace('[ ', '[').replace(' ]', ']'), text) + '\n'

def about():
    def found(name):
        try: return version(name)
        except PackageNotFoundError: return None
    return {k:found(k) for k in ('torch', 'torchvision', 'timm', 'transformers')} | dict(python=platform.python_version())

def key(row): return list(TRAININGS).index(row['name']), [None, *FAULTS].index(row['fault']), row['seed']

def outcome(rows):
    "Has each training failed? With a fault: if it learnt less than half of what the same network learns without. NaN counts as nothing"
    for row in rows:
        usual = [r['learnt'] for r in rows if r['name'] == row['name'] and not r['fault']]
        needed = statistics.median(usual)/2 if row['fault'] and usual else LEARNT
        row['failed'] = not (row['learnt'] is not None and row['learnt'] >= needed)
    return rows

def say(rows):
    "The sum of it"
    for look in (*map(str, LOOKS), 'end'):
        some = [r for r in rows if look in r['verdict']]
        groups = {'healthy': [r for r in some if not r['fault'] and not r['failed']], 'that failed by a fault': [r for r in some if r['fault'] and r['failed']],
                  'that did not mind a fault': [r for r in some if r['fault'] and not r['failed']]}
        for what,group in groups.items():
            if group: print(f'after {look:>3}: an alarm in {sum(r["verdict"][look] == "alarm" for r in group)} of {len(group)} trainings {what}')
    odd = [f'{r["name"]}, seed {r["seed"]}' for r in rows if not r['fault'] and r['failed']]
    if odd: print('not healthy, though nothing was done to them:', '; '.join(odd))

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', nargs='+', choices=list(TRAININGS), metavar='NAME', help=', '.join(map(repr, TRAININGS)))
    parser.add_argument('--faults', action='store_true', help='trainings with faults, one seed of each')
    parser.add_argument('--again', action='store_true', help='judge the recordings that are there')
    parser.add_argument('--steps', type=int, help='of each training, for a trial: nothing is written')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--out', type=Path, default=Path(__file__).with_suffix('.json'))
    args = parser.parse_args()
    before = [r for r in json.loads(args.out.read_text())['trainings'] if 'fault' in r] if args.out.exists() else []
    names = args.only or (FAULTY if args.faults else list(TRAININGS))
    if args.again: work = [delayed(judge_again)(r) for r in before if r['name'] in (args.only or TRAININGS)]
    elif args.faults: work = [delayed(judge)(name, 0, wrong, args.steps) for name in names for wrong in faults_of(name)]
    else: work = [delayed(judge)(name, seed, None, args.steps) for name in names for seed in range(args.seeds)]
    if not args.again and (gone := missing(names)):
        sys.exit(f'{" and ".join(gone)} cannot be imported: `make .bench/.installed-sweep` installs timm and transformers beside .venv; or name other trainings with --only')
    rows = []
    for row in Parallel(n_jobs=args.jobs, return_as='generator')(work):
        rows.append(row)
        print(line(row), flush=True)
    if args.steps: return
    new = {key(r) for r in rows}
    rows += [r for r in before if r['name'] in TRAININGS and key(r) not in new]  # what was not run again stays
    say(outcome(rows))
    args.out.write_text(written(about() | dict(trainings=sorted(rows, key=key))))


if __name__ == '__main__': main()
