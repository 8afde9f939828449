# make demo, make test, make test-lowest: each sets up all that it needs first. See scripts/bootstrap.py.
PYTHON ?= python3
OUT ?= out/demo
ARGS ?=
SHELL := /bin/bash
# What test-lowest runs: every library that the package bounds is called at its lowest version.
LOWEST_TESTS ?= test/test_locks.py test/test_doors.py test/test_public_api.py \
	test/geometry/test_grids.py test/evidence/test_bounds.py test/fuse/test_mesh.py test/session/test_session.py \
	test/bags/test_reader.py test/bags/test_decompression.py test/bags/test_writer.py test/bags/test_frames_dir.py \
	test/complete/compact test/complete/latent test/machine/test_safetensors_file.py \
	test/complete/zero123/test_zero123_model.py test/lab/evaluate/test_plots.py \
	test/lab/evaluate/grasp/test_trial.py test/lab/training/test_team.py test/cli/test_main.py
# The paths of a ROS or workspace that this shell has sourced stay outside.
ROS_PATHS := PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH

.PHONY: demo test test-lowest setup clean

demo: setup
	@unset $(ROS_PATHS) && source ws/env.sh && sparse_recon demo --out $(OUT) $(ARGS)

test: setup
	@unset $(ROS_PATHS) && source ws/env.sh && export ROS_PYTHON_CHECK_FIELDS=1 ROS_DOMAIN_ID=$$((1 + $$$$ % 100)) && python -m pytest $(ARGS)

test-lowest:
	@unset $(ROS_PATHS) && $(PYTHON) scripts/bootstrap.py --lowest
	@unset $(ROS_PATHS) && PATH="$(CURDIR)/ws/lowest/bin:$$PATH" python -m pytest -q $(LOWEST_TESTS) $(ARGS)

setup:
	@unset $(ROS_PATHS) && $(PYTHON) scripts/bootstrap.py

clean:
	rm -rf .venv ws out sparse_recon.egg-info
	find sparse_recon test scripts -name __pycache__ -type d -prune -exec rm -rf {} +
