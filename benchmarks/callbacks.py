"""What a framework's callback costs, beside `watch` in a plain loop: the same network and batches in each, in turn and in one process.

    make callbacks      # some minutes, in .frameworks

Three ways in each framework: bare; `with actstats.watch(model, params=True)` around its fit; its WatchCallback with default
settings, which records the same and logs loss and learning rate. Process time, so that other work on the machine does not
count; the median over rounds of the ratio to the bare fit of the same round. The last part times `rec.headline()` beside a
watched step of networks of several depths. Results go to benchmarks/callbacks.json.
"""
import json
import os
import statistics
import tempfile
import time
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.update(HF_HUB_OFFLINE='1', WANDB_MODE='disabled')
warnings.simplefilter('ignore')

import logging

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
import transformers
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
import fastai.callback.progress  # gives learners `no_bar`
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from torch import nn

import actstats
from actstats import fastai as ours_fastai, huggingface as ours_hf, lightning as ours_lightning

logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
ROUNDS, STEPS, BATCH, LR = 7, 200, 64, .01
torch.manual_seed(0)
DATA = [(x, y) for x, y in zip(torch.randn(STEPS*BATCH, 1, 28, 28), torch.randint(0, 10, (STEPS*BATCH,)))]


def network():
    def conv(i, o): return nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.ReLU())
    return nn.Sequential(conv(1, 16), conv(16, 32), conv(32, 64), conv(64, 64), nn.Flatten(), nn.Linear(256, 10))


def plain(model, callback):
    opt, watched = torch.optim.SGD(model.parameters(), lr=LR), None
    if callback: watched = actstats.watch(model, opt)
    with watched or nullcontext() as rec:
        for i in range(STEPS):
            xs, ys = zip(*DATA[i*BATCH:(i + 1)*BATCH])
            loss = F.cross_entropy(model(torch.stack(xs)), torch.stack(ys))
            loss.backward()
            if rec: rec.log(loss=loss, lr=LR)
            opt.step()
            opt.zero_grad()


class Labelled(nn.Module):
    "A network as Hugging Face's Trainer expects it"
    def __init__(self, net): super().__init__(); self.net = net
    def forward(self, x, labels):
        out = self.net(x)
        return dict(loss=F.cross_entropy(out, labels), logits=out)


def huggingface(model, callback):
    with tempfile.TemporaryDirectory() as folder:
        args = transformers.TrainingArguments(folder, per_device_train_batch_size=BATCH, max_steps=STEPS, learning_rate=LR, report_to='none',
                                              disable_tqdm=True, save_strategy='no', logging_strategy='steps', logging_steps=50, use_cpu=True)
        trainer = transformers.Trainer(Labelled(model), args, train_dataset=[dict(x=x, labels=y) for x, y in DATA],
                                       optimizer_cls_and_kwargs=(torch.optim.SGD, dict(lr=LR)), callbacks=[ours_hf.WatchCallback()] if callback else [])
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()


class Module(pl.LightningModule):
    def __init__(self, net): super().__init__(); self.net = net
    def training_step(self, batch, i): return F.cross_entropy(self.net(batch[0]), batch[1])
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), lr=LR)


def lightning(model, callback):
    trainer = pl.Trainer(max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                         callbacks=[ours_lightning.WatchCallback()] if callback else None)
    trainer.fit(Module(model), torch.utils.data.DataLoader(DATA, BATCH))


def fastai_(model, callback):
    learn = Learner(DataLoaders(DataLoader(DATA, bs=BATCH), DataLoader(DATA[:BATCH], bs=BATCH)), model, nn.CrossEntropyLoss(),
                    opt_func=partial(OptimWrapper, opt=torch.optim.SGD), cbs=[ours_fastai.WatchCallback()] if callback else [])
    with learn.no_bar(), learn.no_logging(): learn.fit(1, LR)


def seconds(fit, mode):
    torch.manual_seed(0)
    model = network()
    began = time.process_time()
    with actstats.watch(model, params=True) if mode == 'watch' else nullcontext(): fit(model, mode == 'callback')
    return time.process_time() - began


def measure(fit):
    modes = ['bare', 'callback'] + ['watch']*(fit is not plain)
    for m in modes: seconds(fit, m)
    rounds = [{m: seconds(fit, m) for m in modes} for _ in range(ROUNDS)]
    ratios = {m: sorted(r[m]/r['bare'] for r in rounds) for m in modes[1:]}
    return dict(bare_ms_a_step=round(1000*statistics.median(r['bare'] for r in rounds)/STEPS, 2),
                **{m: dict(ratio=round(statistics.median(v), 3), least=round(v[0], 3), most=round(v[-1], 3)) for m, v in ratios.items()})


def headline(layers):
    "Milliseconds of a watched step, of a headline without a diagnosis, and of one with it"
    net = nn.Sequential(*[m for _ in range(layers//2) for m in (nn.Linear(64, 64), nn.ReLU())], nn.Linear(64, 10))
    opt, x, y = torch.optim.SGD(net.parameters(), lr=LR), torch.randn(64, 64), torch.randint(0, 10, (64,))
    times = dict(step=[], headline=[], diagnosis=[])
    def timed(name, f):
        began = time.process_time()
        f()
        times[name].append(1000*(time.process_time() - began))
    def step():
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        rec.log(loss=loss)
    with actstats.watch(net, opt) as rec:
        for i in range(40):
            timed('step', step)
            if i == 12: timed('diagnosis', lambda: rec.headline(fresh=True))
            elif i > 12: timed('headline', rec.headline)
    return {k: round(statistics.median(v), 2) for k, v in times.items()}


if __name__ == '__main__':
    frameworks = dict(plain=plain, huggingface=huggingface, lightning=lightning, fastai=fastai_)
    results = dict(frameworks={k: measure(f) for k, f in frameworks.items()}, headline={str(n): headline(n) for n in (10, 150, 1000)},
                   rounds=ROUNDS, steps=STEPS, torch=torch.__version__)
    text = json.dumps(results, indent=1)
    Path(__file__).with_name('callbacks.json').write_text(text + '\n')
    print(text)
