"""The chapters that can be opened in Colab: `python .ci/colab.py` gives each its badge, and the cell that installs the package there.

They need no data, nothing else of this repository, and nothing that `pip install 'actstats[book]'` does not bring; a check says so.
Elsewhere the cell does nothing: tests leave it out, and the site does not show it.
"""
import json
import re
import sys
from pathlib import Path

import frameworks

nbs = frameworks.root/'nbs'
CHAPTERS = '03b_rows 03c_bins 05a_plots 05b_heatmaps 05c_twins 10d_compare 12d_questions'.split()
BRINGS = 'torch numpy fastcore matplotlib pandas jinja2 rich numba torchvision datasets torcheval sklearn tqdm scipy IPython actstats nbdev'.split()
REPO = frameworks.cfg['git_url']
INSTALL = f"""#| hide
#| eval: false
! [ -e /content ] && pip install -q 'actstats[book] @ git+{REPO}'"""


def source(cell): return ''.join(cell['source'])
def badge(stem): return f'[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({REPO.replace("https://github.com", "https://colab.research.google.com/github")}/blob/main/nbs/{stem}.ipynb)'
def lines(text): return text.splitlines(keepends=True)


def cells(stem):
    "The two cells that follow the title"
    link = dict(cell_type='markdown', id='colab-badge', metadata={}, source=lines(badge(stem)))
    return [link, dict(cell_type='code', execution_count=None, id='colab-install', metadata={}, outputs=[], source=lines(INSTALL))]


def write(path, wanted):
    "Give a notebook its two cells, or take them away; and the closing cell, which exports, as Colab has no nbdev"
    nb = json.loads(path.read_text())
    others = [c for c in nb['cells'] if not c['id'].startswith('colab-')]
    if wanted: others = [others[0], *cells(path.stem), *(c for c in others[1:] if 'nbdev_export()' not in source(c))]
    if others == nb['cells']: return
    nb['cells'] = others
    path.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n')
    print(path.name)


def faults():
    "What would not run there, and what `python .ci/colab.py` would change"
    found = [f'.ci/colab.py names {s}, which is not there' for s in CHAPTERS if not (nbs/f'{s}.ipynb').exists()]
    for path in sorted(nbs.glob('*.ipynb')):
        all = json.loads(path.read_text())['cells']
        mine = [c for c in all if c['id'].startswith('colab-')]
        if [source(c) for c in mine] != [source(c) for c in cells(path.stem)]*(path.stem in CHAPTERS): found.append(f'{path.name}: run `python .ci/colab.py`')
        if path.stem not in CHAPTERS: continue
        code = '\n'.join(source(c) for c in all if c['cell_type'] == 'code' and c not in mine)
        needs = {m.split('.')[0] for m in re.findall(r'^(?:from|import) ([\w.]+)', code, re.M)} - {*BRINGS, '__future__'} - sys.stdlib_module_names
        found += [f'{path.name} imports {m}, which Colab may not have' for m in sorted(needs)]
        found += [f'{path.name} reads {f}, which Colab does not have' for f in re.findall(r"""['"]((?:\.\./|files/)[^'"]+)['"]""", code)]
        found += [f'{path.name} has cells for {f}' for f in ('fashion', 'browser') if re.search(rf'^#\|\s*{f}\b', code, re.M)]
    return found


if __name__ == '__main__':
    for path in sorted(nbs.glob('*.ipynb')): write(path, path.stem in CHAPTERS)
