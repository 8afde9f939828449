# make demo, make test: each sets up all that it needs first. See scripts/bootstrap.py.
PYTHON ?= python3
OUT ?= out/demo
ARGS ?=
SHELL := /bin/bash

.PHONY: demo test setup clean

demo: setup
	@source ws/env.sh && sparse_recon demo --out $(OUT) $(ARGS)

test: setup
	@source ws/env.sh && export ROS_PYTHON_CHECK_FIELDS=1 ROS_DOMAIN_ID=$$((1 + $$$$ % 100)) && python -m pytest $(ARGS)

setup:
	@env -u PYTHONPATH -u AMENT_PREFIX_PATH -u CMAKE_PREFIX_PATH -u LD_LIBRARY_PATH $(PYTHON) scripts/bootstrap.py

clean:
	rm -rf .venv ws out sparse_recon.egg-info
	find sparse_recon test scripts -name __pycache__ -type d -prune -exec rm -rf {} +
