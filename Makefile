# Two commands for everybody: `make demo` and `make test`. Both install into .venv, once for each state of settings.ini.
PYTHON ?= python3
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN    := .venv/$(SCRIPTS)
# Which flagged cells to test: `make test FLAGS=fashion` fetches Fashion-MNIST from the hub; with ACTSTATS_DATA set it is on by itself.
FLAGS  ?=
# Where the chapters run that need other people's frameworks: `make test FRAMEWORKS=` leaves them out
FRAMEWORKS ?= .frameworks
export FRAMEWORKS

.PHONY: demo test installed processors notebooks ladder ladder_search bench callbacks lens_rules outliers reduce memory long live gpu sweep failures export docs readme clean
.DEFAULT_GOAL := demo

.venv/.installed: settings.ini setup.py
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv: PyTorch is large, so the first time takes some minutes"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[book]'
	@touch $@

.venv/.installed-dev: settings.ini setup.py
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv, with what development needs: PyTorch is large, so the first time takes some minutes"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]'
	@touch .venv/.installed $@

$(FRAMEWORKS)/.installed: .venv/.installed-dev .ci/frameworks.py
	@echo "Installing frameworks into $(FRAMEWORKS), which uses the PyTorch of .venv: two minutes and a gigabyte"
	@$(BIN)/python .ci/frameworks.py
	@mkdir -p $(@D) && touch $@

demo: .venv/.installed  ## see a network fail, read why, fix it: make demo ARGS="--data fashion_mnist"
	@$(BIN)/actstats demo $(ARGS)

test: .venv/.installed-dev $(FRAMEWORKS:%=%/.installed)  ## everything CI runs
	@$(BIN)/python .ci/check.py --flags "$(FLAGS)"

# PyTorch first, so that installing the package has to leave it alone; and outside of the clone, so that only what was installed can be imported
WITH   ?= torch fastcore
installed:  ## the wheel alone in an environment of its own: make installed WITH="torch==2.4.* numpy<2 fastcore<2"
	@rm -rf .bare build && $(PYTHON) -m venv .bare && mkdir .bare/wheel
	@.bare/$(SCRIPTS)/python -m pip install -qq --disable-pip-version-check $(foreach w,$(WITH),'$(w)')
	@.bare/$(SCRIPTS)/python -m pip wheel -qq --disable-pip-version-check --no-deps -w .bare/wheel .
	@.bare/$(SCRIPTS)/python -m pip freeze | grep -i '^torch' > .bare/before
	@.bare/$(SCRIPTS)/python -m pip install -qq --disable-pip-version-check .bare/wheel/*.whl $(foreach w,$(WITH),'$(w)')
	@.bare/$(SCRIPTS)/python -m pip freeze | grep -i '^torch' | diff .bare/before -
	@cd .bare && $(SCRIPTS)/python ../.ci/installed.py

# the chapters that compare numbers
NUMBERS = $(wildcard nbs/03*.ipynb nbs/04*.ipynb nbs/07*.ipynb nbs/08*.ipynb nbs/10d*.ipynb nbs/13*.ipynb nbs/16*.ipynb)
processors: .venv/.installed-dev  ## do tests depend on the processor, on threads or on a busy machine? an hour; make processors NB="nbs/03d_stats.ipynb"
	@$(BIN)/python .ci/rounding.py --check
	@$(BIN)/python .ci/rounding.py --settings -- $(or $(NB),$(NUMBERS))

export: .venv/.installed-dev  ## after editing a notebook: write the modules and their stubs, clean the notebooks
	@$(BIN)/nbdev_export && $(BIN)/nbdev_clean && $(BIN)/python .ci/stubs.py

notebooks: .venv/.installed-dev  ## run all notebooks and store their outputs: make notebooks NB="nbs/03d_stats.ipynb"
	@$(BIN)/python .ci/execute.py $(NB)

ladder: .venv/.installed-dev  ## train what takes long again, most of an hour on two cores: the study of batch sizes and the ladder
	@$(BIN)/python .ci/execute.py nbs/08_batchnorm.ipynb nbs/12a_ladder.ipynb

ladder_search: .venv/.installed-dev  ## search the ladder's last recipe on held-out training pictures, then report the test set once: half an hour on an idle core; results go to benchmarks/ladder_search.json, and runs that are there are not trained again
	@$(BIN)/python -W ignore benchmarks/ladder_search.py $(ARGS)

bench: .venv/.installed-dev .bench/.installed  ## what watching costs, beside other tools: half an hour; results go to benchmarks/overhead.json
	@$(BIN)/python -W ignore benchmarks/overhead.py $(ARGS)

gpu: .venv/.installed-dev .bench/.installed  ## all that needs an NVIDIA GPU, checked and measured: under ten minutes; results go to benchmarks/gpu.json; some parts: make gpu ARGS="backend graphs"
	@$(BIN)/python -W ignore benchmarks/gpu.py $(ARGS)

live: .venv/.installed-dev  ## what a live view costs; results go to benchmarks/live.json
	@$(BIN)/python -W ignore benchmarks/live.py

lens_rules: .venv/.installed-dev  ## do the rules for attention and experts find what is broken, and nothing else? six minutes
	@$(BIN)/python benchmarks/lens_rules.py

outliers: .venv/.installed-dev  ## what the lens for outliers costs; results go to benchmarks/outliers.json
	@$(BIN)/python -W ignore benchmarks/outliers.py

reduce: .venv/.installed-dev  ## what rec.reduce costs, and how many bytes a round takes; results go to benchmarks/reduce.json
	@$(BIN)/python -W ignore benchmarks/reduce.py

memory: .venv/.installed-dev  ## bytes that a row takes, and what many histories add to a process; results go to benchmarks/memory.json
	@$(BIN)/python -W ignore benchmarks/memory.py

callbacks: $(FRAMEWORKS)/.installed  ## what the callbacks for frameworks cost, beside watch in a plain loop; results go to benchmarks/callbacks.json
	@PYTHONPATH=. $(FRAMEWORKS)/bin/python benchmarks/callbacks.py

long: .venv/.installed-dev  ## 100,000 steps, watched: are totals exact, memory and time flat? two minutes; results go to benchmarks/long_run.json
	@$(BIN)/python benchmarks/long_run.py $(ARGS)

.bench/.installed: benchmarks/peers.txt  # apart from .venv, and without their PyTorch
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --target .bench --upgrade $$(sed -n 's/^with: //p' $<)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --target .bench --upgrade --no-deps $$(sed -n 's/^alone: //p' $<)
	@touch $@

failures: .venv/.installed-dev .bench/.installed-sweep  ## how often is the diagnosis right? trains some 6,000 models, fits the risk, judges it: four hours; runs are kept in .runs/, results go to benchmarks/; one part: make failures PARTS=fit.py
	@for step in $(or $(PARTS),"store.py small 750" "store.py networks 500" "store.py objectives 900" "store.py strangers 480" "store.py visitors 240" "cures.py 75" fit.py "fit.py --shift" "advice.py --try" evaluate.py \
		"store.py late 110 -late" "store.py strangers 90 -late" "store.py visitors 90 -late" "late_eval.py late strangers visitors" real.py "real.py --faults"); do echo "$$step" && $(BIN)/python -W ignore benchmarks/failures/$$step || exit 1; done

sweep: .venv/.installed-dev .bench/.installed-sweep  ## watch what others wrote, some eight hundred models: half an hour; results go to benchmarks/sweep.json
	@$(BIN)/python benchmarks/sweep.py $(ARGS)

.bench/.installed-sweep: benchmarks/sweep.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --target .bench --upgrade --no-deps $$(sed -n 's/^alone: //p' $<)
	@touch $@

# What an earlier run left in _proc would become pages. nbdev writes README.md again, without quarto's settings, when its
# file is older than the notebook; and it installs a quarto that is missing.
docs: .venv/.installed-dev  ## the site, from the stored outputs: _docs/index.html; needs quarto 1.7 or newer, from https://quarto.org
	@command -v quarto >/dev/null || { echo "quarto is missing: https://quarto.org/docs/get-started"; exit 1; }
	@rm -rf _proc _docs && touch README.md
	@PATH="$(CURDIR)/$(BIN):$$PATH" nbdev_docs
	@test -s _docs/index.html && test -s _docs/llms.txt
	@$(BIN)/actstats demo --out _docs/sample-report.html

readme: .venv/.installed-dev  ## README.md from nbs/index.ipynb
	@$(BIN)/python .ci/check.py --write-readme

clean:
	rm -rf .venv .frameworks .bare .bench .runs _proc _docs build dist *.egg-info actstats-report.html
