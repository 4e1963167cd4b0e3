# Everything happens inside .venv; the first target that needs it creates it.
PYTHON ?= python3
# A process per core; a file's tests stay together, as they share what is slow to make.
PYTEST_ARGS ?= -n auto --dist loadfile
BIN := .venv/bin
READY := .venv/.ready
# Tests start many processes; what one has compiled, the next need not compile again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test suite test-slow check bench clean

demo: $(READY)
	$(BIN)/headstart demo --out runs/demo

# Side by side: types are checked on one core alone.
test: $(READY)
	$(MAKE) --no-print-directory -j2 check suite

suite: $(READY)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow or not slow" $(PYTEST_ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/contracts/test_rooms.py

bench: $(READY)
	$(BIN)/python -m benchmarks

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[tests,check,studies,device]'
	touch $(READY)

clean:
	rm -rf .venv runs
