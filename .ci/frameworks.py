"""The chapters that need other people's frameworks, and the environment they run in: `make .frameworks/.installed` calls `build`.

It lies over .venv: what is not in it is found there, PyTorch above all. What is in it comes first, as fastcore 2, which fastai wants.
"""
import os
import subprocess
import sys
import sysconfig
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

CHAPTERS = ('10f', '17')  # the numbers that these chapters begin with

root = Path(__file__).resolve().parents[1]
folder = root/os.environ.get('FRAMEWORKS', '.frameworks')
python = folder/'bin/python'
ini = ConfigParser(delimiters=['='])
ini.read(root/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']


def needed(path): return Path(path).name.startswith(CHAPTERS)
def there(): return python.exists()


# Nothing is sent, asked of a hub, or written beside the notebooks
QUIET = dict(DO_NOT_TRACK='1', HF_HUB_DISABLE_TELEMETRY='1', HF_HUB_DISABLE_PROGRESS_BARS='1', TOKENIZERS_PARALLELISM='false', KERAS_BACKEND='torch',
    WANDB_MODE='offline', WANDB_SILENT='true', WANDB_ERROR_REPORTING='false', MLFLOW_DISABLE_TELEMETRY='true', GRADIO_ANALYTICS_ENABLED='False',
    PYTHONWARNINGS='ignore:`torch.jit.script` is deprecated:FutureWarning')  # fastai's, when it is imported
FOLDERS = ('WANDB_DIR', 'WANDB_CACHE_DIR', 'WANDB_CONFIG_DIR', 'WANDB_DATA_DIR', 'TRACKIO_DIR', 'KERAS_HOME', 'FASTAI_HOME')


@contextmanager
def environment(hub=False):
    "Environment variables for one notebook; only if `hub` may it fetch a data set"
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        new = QUIET | {k: scratch for k in FOLDERS} | dict(MLFLOW_TRACKING_URI=f'sqlite:///{scratch}/mlflow.db')
        if not hub: new |= dict(HF_HUB_OFFLINE='1', HF_HOME=scratch)
        yield dict(OMP_NUM_THREADS='1') | os.environ | new | dict(PYTHONPATH=os.pathsep.join(filter(None, (str(root), os.environ.get('PYTHONPATH')))))


def build():
    "Make it with the Python of .venv, or bring it up to date, and prove that .venv stays as it is"
    least = cfg['frameworks_min_python']
    if sys.version_info < tuple(map(int, least.split('.'))): return print(f'The frameworks need Python {least}: their chapters will be left out')
    below, site = (Path(sysconfig.get_path('purelib', vars=v)) for v in ({}, dict(base=str(folder), platbase=str(folder))))
    versions = lambda: sorted(p.name for p in below.glob('*.dist-info'))
    before, paths = versions(), f'{below}\n{root}\n'
    pth = site/'below.pth'
    if not pth.exists() or pth.read_text() != paths:
        subprocess.run([sys.executable, '-m', 'venv', '--clear', folder], check=True)
        pth.write_text(paths)
    r = subprocess.run([python, '-m', 'pip', 'install', '-qq', '--disable-pip-version-check', '--no-warn-conflicts', *cfg['frameworks_requirements'].split()])
    if versions() != before: sys.exit('.venv is not what it was: remove it, and `make test` builds it again')
    if r.returncode: sys.exit(f'{folder.name} could not be built; `make test FRAMEWORKS=` leaves its chapters out')


if __name__ == '__main__': build()
