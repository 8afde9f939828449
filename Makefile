# make demo, make test: each sets up all that it needs first. See scripts/bootstrap.py.
PYTHON ?= python3
OUT ?= out/demo
ARGS ?=
SHELL := /bin/bash
# The paths of a ROS or workspace that this shell has sourced stay outside.
ROS_PATHS := PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH

.PHONY: demo test setup clean

demo: setup
	@unset $(ROS_PATHS) && source ws/env.sh && sparse_recon demo --out $(OUT) $(ARGS)

test: setup
	@unset $(ROS_PATHS) && source ws/env.sh && export ROS_PYTHON_CHECK_FIELDS=1 ROS_DOMAIN_ID=$$((1 + $$$$ % 100)) && python -m pytest $(ARGS)

setup:
	@unset $(ROS_PATHS) && $(PYTHON) scripts/bootstrap.py

clean:
	rm -rf .venv ws out sparse_recon.egg-info
	find sparse_recon test scripts -name __pycache__ -type d -prune -exec rm -rf {} +
