# The PyTorch engine (ENGINE=torch): its environment, its tests, its bench. Included by the Makefile.
#   make env ENGINE=torch               an ordinary virtual environment; no Caffe
#   make row ROW=8 ENGINE=torch PRECISION=bf16 [DEVICE=cuda]
# TORCH_PYTHON: Python 3.10 or later. TORCH_PIP: more arguments for pip, such as the address of PyTorch's CPU packages.

DEVICE       ?= cpu
TORCH_PYTHON ?= python3
TORCH_PIP    ?=
$(call cached,TORCH_ENV,torch,torch.lock torch.txt)
TORCH        := $(OWN_PYTHON) $(call q,$(TORCH_ENV)/bin/python)
$(call renew_venv,$(TORCH_ENV))

$(call known,DEVICE,$(DEVICE),cpu cuda)
$(call known,PRECISION,$(PRECISION),fp32 tf32 bf16)
$(if $(filter-out fp32,$(PRECISION)),$(if $(filter torch,$(ENGINE)),,$(error PRECISION=$(PRECISION) is the PyTorch engine's: add ENGINE=torch)))
ifeq ($(DEVICE),cuda)
GPU := $(or $(GPU),0)
endif

# pip puts a changed list into the environment that is there; the mark says that all of it is. The lock has all but PyTorch's build.
$(TORCH_ENV)/.complete: env/torch.lock env/torch.txt
	@$(TORCH_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "error: ENGINE=torch needs Python 3.10 or later, and $(TORCH_PYTHON) is none: set TORCH_PYTHON=python3.12 or the like" >&2; exit 1; }
	@$(call make_venv,$(TORCH_ENV),$(TORCH_PYTHON),PyTorch for ENGINE=torch (a minute),TORCH_ENV)
	@echo '*' > $(call q,$(TORCH_ENV))/.gitignore
	@$(call locked,$(TORCH_ENV)/bin/python,torch,$(TORCH_PIP))
	@$(TORCH) -m pip install --quiet --disable-pip-version-check $(TORCH_PIP) -r env/torch.txt
	@touch $(call q,$@)

.PHONY: tensorboard test-torch test-gpu bench bench-torch gpu-check
tensorboard: $(TORCH_ENV)/.complete ## write the logs of every run in RUNS for TensorBoard (with the packages of ENGINE=torch)
	@$(TORCH) -m evaluation.report.tensorboard --runs=$(call q,$(RUNS)) --out=$(call q,$(W)results/tensorboard)

test: $(if $(TESTS),,test-torch)
# PyTorch's tests run Caffe's side of the comparison by env/run themselves.
# One thread: on nets as small as the tests' several would mostly wait for one another.
test-torch test-gpu: export THREADS := 1
test-torch test-gpu: export OMP_NUM_THREADS := 1
test-torch: $(TORCH_ENV)/.complete | env ## test the PyTorch engine, beside real Caffe
	@$(TORCH) -m pytest -q tests/test_torch_engine.py tests/test_torch_parity.py tests/test_recipe.py tests/test_tensorboard.py tests/test_pipeline.py
	@$(TORCH) -m pytest -q -m torch tests/test_anomaly.py tests/test_soak.py tests/test_reproduce.py

test-gpu: $(TORCH_ENV)/.complete ## test the PyTorch engine on an NVIDIA card, beside itself on the CPU (skipped where there is none)
	@$(TORCH) -m pytest -q -m gpu tests/test_gpu.py

bench: bench-torch
bench-torch: $(TORCH_ENV)/.complete | env ## speed of the PyTorch engine beside Caffe, bare PyTorch, a usual script, the machine's limit
	@$(TORCH) -m benchmarks.torch_engine

# DEVICE=cpu tries the same on a tiny scale where there is no card.
gpu-check: $(TORCH_ENV)/.complete ## is this GPU right, how fast is it, does a short row run: four minutes, one JSON (OUT=gpu.json)
	@$(TORCH) -m benchmarks.gpu --device $(if $(filter override,$(origin DEVICE)),$(DEVICE),cuda) --out=$(call q,$(or $(OUT),gpu.json))

# Beyond the paper (paper/recipe.py): networks trained on FER+'s votes, for use. SEED: another run of the same recipe.
SEED ?= 1
.PHONY: best small
best small: ENGINE = torch
best small: $(TORCH_ENV)/.complete ## train the recipe's network on FER+'s votes (data: make data SRC=ferplus_votes ENGINE=torch)
	$(if $(TEACHER),@$(TORCH) -m evaluation.test --deploy=$(call q,$(TEACHER)/deploy.prototxt) --weights=$(call q,$(TEACHER)/net.caffemodel) \
	  --data=$(call q,$(W)data/ferplus_votes) --split train --if-changed --engine $(TORCH_NAME) --out=$(call q,$(RUNS)/$@/teacher))
	$(call train,$(W)solvers/$@.prototxt,$(RUNS)/$@/seed$(SEED),--recipe $@ $(call opt,--trial,$(SEED)) \
	  $(if $(TEACHER),--teacher $(call q,$(RUNS)/$@/teacher/scores_train.npz)))
