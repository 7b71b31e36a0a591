"Everything here is read from settings.ini, so that nothing is stated twice."
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
ini = ConfigParser(delimiters=['='])
ini.read(here / 'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']

book = cfg['book_requirements'].split()
# PyPI shows the README by itself: its links and pictures lead to the repository
place = cfg['git_url'] + '/%s/' + cfg['branch'] + '/'
def absolute(m): return f"{m[1]}({place % ('raw' if m[1].startswith('!') else 'blob')}{m[2]})"
readme = re.sub(r'(!?\[[^]]*\])\((?!\w+:|#)([^)]+)\)', absolute, (here / 'README.md').read_text(encoding='utf-8'))
statuses = {1: '1 - Planning', 2: '2 - Pre-Alpha', 3: '3 - Alpha', 4: '4 - Beta', 5: '5 - Production/Stable'}

setup(
    name=cfg['lib_name'], version=cfg['version'], license='Apache-2.0', license_files=['LICENSE'],
    description=cfg['description'], keywords=cfg['keywords'], author=cfg['author'], author_email=cfg['author_email'],
    long_description=readme, long_description_content_type='text/markdown',
    url=cfg['git_url'], project_urls={'Documentation': cfg['doc_host'] + cfg['doc_baseurl'], 'Changes': place % 'blob' + 'CHANGELOG.md', 'Issues': cfg['git_url'] + '/issues'},
    classifiers=[f"Development Status :: {statuses[int(cfg['status'])]}", f"Intended Audience :: {cfg['audience']}",
                 f"Natural Language :: {cfg['language']}", 'Topic :: Scientific/Engineering :: Artificial Intelligence',
                 *(f'Programming Language :: Python :: {v}' for v in cfg['python_versions'].split())],
    packages=find_packages(include=['actstats', 'actstats.*']), include_package_data=True, package_data={'actstats': ['*.json', '*.html', '*.css', '*.js', '*.pyi', 'py.typed']}, zip_safe=False,
    python_requires='>=' + cfg['min_python'], install_requires=cfg['requirements'].split(),
    extras_require={'book': book, 'dev': [*book, *cfg['dev_requirements'].split()]},
    entry_points={'console_scripts': cfg['console_scripts'].split(),
                  'nbdev': [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]},
)
