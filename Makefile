# `make demo` runs a real sweep on embedded data, `make test` passes the checks and the tests, `make test-slow` the tests that
# are slow by nature (statistics over many draws, launchers and nodes that are killed, long training), `make test-all` both,
# `make site` builds the pages (a broken link is an error); each makes .venv first. `make study` runs the replication study
# anew into STUDY, `make study-report` makes its laws, figures and verdicts from the stored rows. `make study2` and
# `make study2-report` do the same for the second study; each goes on where it stopped.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# The tests start hundreds of interpreters: each would compile all our modules anew where the environment forbids to keep them.
export PYTHONDONTWRITEBYTECODE =
# Free workers take tests from busy ones; within a worker a file's tests stay together, for what they share.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

.PHONY: demo checks test test-slow test-all test-slurm site study study-report study2 study2-report clean

demo: $(INSTALLED)
	$(BIN)/sweeper launch demo --results results/demo
	$(BIN)/analysis fit-theory results/demo
	$(BIN)/analysis dashboard results/demo

STUDY ?= studies/paper_in_miniature/results
TASKS := text shd
PARTS := holdout axes architectures ablations

study: $(INSTALLED)
	set -e; for task in $(TASKS); do \
	  $(BIN)/sweeper launch studies/paper_in_miniature/grids/study_$${task}_pilot.yaml --results $(STUDY)/$${task}_pilot; \
	  $(BIN)/analysis learning-rate $(STUDY)/$${task}_pilot; \
	  $(BIN)/sweeper launch studies/paper_in_miniature/grids/study_$$task.yaml --results $(STUDY)/$$task; \
	  test -f $(STUDY)/$$task/prediction.json || \
	    $(BIN)/python -m studies.paper_in_miniature.study predict $(STUDY)/$$task studies/paper_in_miniature/grids/study_$${task}_holdout.yaml -o $(STUDY)/$$task/prediction.json; \
	  for part in $(PARTS); do $(BIN)/sweeper launch studies/paper_in_miniature/grids/study_$${task}_$$part.yaml --results $(STUDY)/$$task; done; \
	  longer=studies/paper_in_miniature/grids/study_$${task}_longer.yaml; \
	  test ! -f $$longer || $(BIN)/sweeper launch $$longer --results $(STUDY)/$${task}_longer; \
	done
	$(MAKE) study-report

study-report: $(INSTALLED)
	set -e; for task in $(TASKS); do \
	  main="sweep in ('study_$$task', 'study_$${task}_holdout')"; \
	  case $$task in text) rho_rec=0.5;; shd) rho_rec=0.25;; esac; \
	  first="architecture == 'elm' and l_mlp == 1 and rho_rec == $$rho_rec and tau_m_max == 100"; \
	  $(BIN)/analysis fit-theory $(STUDY)/$$task --where "$$main" -o $(STUDY)/$$task/fit.json; \
	  $(BIN)/analysis fit-theory $(STUDY)/$$task --where "$$first" -o $(STUDY)/$$task/fit_all.json; \
	  $(BIN)/analysis export $(STUDY)/$$task --where "$$main" --figures $(STUDY)/$$task/figures; \
	  $(BIN)/analysis verify $(STUDY)/$$task/fit.json; \
	done
	$(BIN)/python -m studies.paper_in_miniature.study verdicts $(TASKS:%=$(STUDY)/%) -o $(STUDY) --figures

STUDY2 ?= studies/interior_optimum/results
GRIDS2 := studies/interior_optimum/grids/study2_

# Grids that cannot be written before others have been run are launched once they exist.
study2: $(INSTALLED)
	set -e; launch() { test ! -f $(GRIDS2)$$1.yaml || $(BIN)/sweeper launch $(GRIDS2)$$1.yaml --results $(STUDY2)/$$2; }; \
	for task in text spikes; do \
	  launch $${task}_pilot $${task}_pilot; \
	  $(BIN)/analysis learning-rate $(STUDY2)/$${task}_pilot; \
	  test -f $(GRIDS2)$$task.yaml || continue; \
	  for part in "" _converged _longer; do launch $$task$$part $$task; done; \
	  test -f $(STUDY2)/$$task/prediction.json || $(BIN)/python -m studies.interior_optimum predict $(STUDY2) $$task; \
	  launch $${task}_baselines_pilot $${task}_baselines_pilot; \
	  if test $$task = text && test ! -f $(GRIDS2)text_baselines.yaml; then \
	    $(BIN)/python -m studies.interior_optimum baselines $(STUDY2)/text_baselines_pilot; fi; \
	  for part in _baselines _holdout; do launch $$task$$part $$task; done; \
	done
	$(MAKE) study2-report

study2-report: $(INSTALLED)
	$(BIN)/python -m studies.interior_optimum verdicts $(STUDY2) -o $(STUDY2) --figures

test: $(INSTALLED)
	$(MAKE) --jobs 2 --output-sync checks site
	$(PYTEST) -m "not slow"

test-slow: $(INSTALLED)
	$(PYTEST) -m slow

# Both in one go: what is slow by nature mostly waits, and the others fill the time.
test-all: $(INSTALLED)
	$(MAKE) --jobs 2 --output-sync checks site
	$(PYTEST)

checks: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# On a login node of a real Slurm, in a folder that all nodes see.
test-slurm: $(INSTALLED)
	REAL_SLURM=1 $(BIN)/python -m pytest tests/cluster/kinds/test_real_slurm.py
	mkdir -p results-slurm && $(BIN)/python -m benchmarks.slurm_faults "$$PWD/results-slurm" --prepare "export PATH='$$PWD/$(BIN)':\"\$$PATH\""

site: $(INSTALLED)
	$(BIN)/python -m sphinx -q -W --keep-going -c docs . site

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev,docs]'
	touch $@

clean:
	rm -rf .venv
