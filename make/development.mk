# Checks, tests and speed of this project itself. Included by the Makefile.

## Development
.PHONY: check test test-gpu gpu-check bench bench-predict clean

# What a change must pass before anything else: any Python from 3.9 on (CHECK_PYTHON), and 50 seconds.
check: ## lint, and the fast tests that need neither Caffe nor PyTorch (50 seconds; TESTS=tests/test_netgen.py: a part)
	@bash env/run --check -m ruff check
	@bash env/run --check -m ruff format --check --quiet || { echo 'error: these files are not as `ruff format` writes them: run it' >&2; exit 1; }
	@bash env/run --check -m pytest -q -m 'not caffe and not torch and not slow and not network' $(or $(TESTS),-n auto --dist worksteal)

TORCH_TESTS  := tests/test_torch_engine.py tests/test_torch_parity.py tests/test_recipe.py tests/test_tensorboard.py tests/test_pipeline.py
DEPLOY_TESTS := tests/test_deploy.py tests/test_runtimes.py tests/test_foreign_nets.py tests/test_deploy_predict.py tests/test_deploy_video.py tests/test_predictor.py tests/test_serve.py tests/test_package.py
ANYWHERE     := tests/test_signature.py tests/test_anomaly.py tests/test_readme.py
# A file of TESTS, and the environment that it needs: that of networks in use, or of ENGINE.
test_file   = $(firstword $(subst ::, ,$(TESTS)))
test_python = $(if $(filter tests/test_web.py,$(test_file)),bash env/run --web,$(if $(filter $(DEPLOY_TESTS),$(test_file)),bash env/run --package,$(PYTHON)))

# PyTorch's tests run Caffe's side of the comparison by env/run themselves; on nets as small as theirs several threads would mostly wait for one another.
# Chromium is where people have it, outside Caffe's environment. What cannot be had here is named by the tests that are left out for it.
test: | env ## install what is needed and run all tests; TESTS=tests/test_netgen.py: that part, in the environment that it needs or of ENGINE
ifneq ($(TESTS),)
	@$(test_python) -m pytest -q $(TESTS)
else
	@bash env/run --package -m pytest -q $(DEPLOY_TESTS) $(ANYWHERE)
	@THREADS=1 OMP_NUM_THREADS=1 $(TORCH) -m pytest -q $(TORCH_TESTS)
	@THREADS=1 OMP_NUM_THREADS=1 $(TORCH) -m pytest -q -m torch tests/test_anomaly.py tests/test_soak.py tests/test_reproduce.py tests/test_study.py
	@GPU_TESTS_ON=cpu THREADS=1 OMP_NUM_THREADS=1 $(TORCH) -m pytest -q tests/test_gpu.py
	@! command -v npm >/dev/null || $(MAKE) deploy/web/node_modules/.complete
	@command -v chromium chromium-browser google-chrome >/dev/null || test $$(id -u) != 0 || ! command -v apt-get >/dev/null || { echo 'installing Chromium for the tests of the pages'; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null; } || true
	@bash env/run --web -m pytest -q -rs tests/test_web.py
	@mkdir -p $(call q,$(RESULTS)) && made=$$(mktemp -d $(call q,$(RESULTS)/page_test.XXXXXX)) && trap 'rm -rf "$$made"' EXIT && $(PLAIN) tests/synthetic_scores.py "$$made/runs" && \
	  $(PLAIN) -m evaluation.report.page --runs "$$made/runs" --out "$$made" && python3 tests/page_in_chromium.py "$$made"/report_*.html
	@$(PYTHON) -m pytest -q
endif

test-gpu: ## test the PyTorch engine on an NVIDIA card, beside itself on the CPU (skipped where there is none)
	@THREADS=1 OMP_NUM_THREADS=1 $(TORCH) -m pytest -q -m gpu tests/test_gpu.py

# DEVICE=cpu tries the same on a tiny scale where there is no card.
gpu-check: ## is this GPU right, how fast is it, does a short row run: four minutes, one JSON (OUT=gpu.json)
	@$(TORCH) -m benchmarks.gpu --device $(if $(filter override,$(origin DEVICE)),$(DEVICE),cuda) --out=$(call q,$(or $(OUT),gpu.json))

bench: | env ## speed of all that computes, beside the stock tools, bare loops and ready-made packages (tens of minutes, 15 GB; one alone: docs/speed.md)
	@$(PYTHON) -m benchmarks.training
	@$(PYTHON) -m benchmarks.evaluation --data=$(call q,$(W)data/ferplus)
	@$(PYTHON) -m benchmarks.data --downloads=$(call q,$(DOWNLOADS))
	@$(TORCH) -m benchmarks.torch_engine
	@$(EXPORT_RUN) -m benchmarks.deploy $(call opt,--model,$(MODEL)) $(WITH_CAFFE) $$(bash env/run --rivals -c 'import sys; print("--rivals=" + sys.executable)')
	@bash env/run --package -m benchmarks.serve $(call opt,--model,$(MODEL))
	@$(MAKE) bench-predict ARGS='--fer "env/run --rivals"'
bench-predict: ## photographs and video frames a second, faces found, beside a bare loop of YuNet and ONNX Runtime
	@$(EXPORT_RUN) -m benchmarks.predict $(call opt,--model,$(MODEL)) $(ARGS)

clean: ## remove what the demo made (runs, data and downloads stay)
	rm -rf $(DEMO)
