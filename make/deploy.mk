# Trained networks in use: `make predict`, `make export`, `make models-check`, `make model`. Included by the Makefile.
#   make predict IMAGE=photo.jpg [MODEL=models/resnet20_votes, or A+B] [CROPS=10|1] [FACES=detect|given] [DRAW=out.jpg] [FPS=5] [SMOOTH=1] [CSV=1]
#   make export MODEL=runs/.../final.caffemodel [OUT=exports/NAME] [DATA=data/ferplus]
#   make export MODEL=their.caffemodel DEPLOY=their.prototxt [MEAN='104 117 123'] [SCALE=0.017] [RESIZE=54] [LOGITS=1]     another's network
#   make model MODEL=runs/.../trial1 NAME=resnet32_cifar10
# DEPLOY_PYTHON: Python 3.10 or later. DEPLOY_PIP: more arguments for pip. CAFFE=none: export without Caffe to check against.

DEPLOY_PYTHON ?= python3
DEPLOY_PIP    ?=
$(call cached,DEPLOY_ENV,deploy,deploy.lock export.lock web.lock package.lock)
DEPLOY_RUN    := $(OWN_PYTHON) $(call q,$(DEPLOY_ENV)/bin/python)
$(call renew_venv,$(DEPLOY_ENV))

MODEL  ?=
OUT    ?=
NAME   ?=
DEPLOY ?=
MEAN   ?=
SCALE  ?=
RESIZE ?=
LOGITS ?=
IMAGE  ?=
DATA   ?= $(W)data/ferplus
CROPS  ?=
FACES  ?= detect
DRAW   ?=
FPS    ?=
SMOOTH ?=
CSV    ?=
CAFFE  ?= $(RUN) python3
MODELS ?= models

$(if $(CROPS),$(call known,CROPS,$(CROPS),1 10))
$(call known,FACES,$(FACES),detect given)

DEPLOY_CAFFE = --caffe=$(call q,$(filter-out none,$(CAFFE)))
DEPLOY_NEEDS = $(if $(filter none,$(CAFFE)),,env)
# Accuracies of an export are measured on the validation part unless SPLIT is given.
DEPLOY_SPLIT = $(if $(filter file,$(origin SPLIT)),valid,$(SPLIT))

# pip puts a changed list into the environment that is there; the marks say that all of it is.
$(DEPLOY_ENV)/.complete: env/deploy.lock
	@$(DEPLOY_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "error: this needs Python 3.10 or later, and $(DEPLOY_PYTHON) is none: set DEPLOY_PYTHON=python3.12 or the like" >&2; exit 1; }
	@$(call make_venv,$(DEPLOY_ENV),$(DEPLOY_PYTHON),NumPy$(comma) OpenCV and ONNX Runtime (half a minute),DEPLOY_ENV)
	@echo '*' > $(call q,$(DEPLOY_ENV))/.gitignore
	@$(call locked,$(DEPLOY_ENV)/bin/python,deploy,$(DEPLOY_PIP))
	@touch $(call q,$@)

$(DEPLOY_ENV)/.complete-export: env/export.lock $(DEPLOY_ENV)/.complete
	@$(call locked,$(DEPLOY_ENV)/bin/python,export,$(DEPLOY_PIP))
	@touch $(call q,$@)

$(DEPLOY_ENV)/.complete-package: env/package.lock $(DEPLOY_ENV)/.complete-export
	@$(call locked,$(DEPLOY_ENV)/bin/python,package,$(DEPLOY_PIP))
	@touch $(call q,$@)

.PHONY: export
export: $(DEPLOY_ENV)/.complete-export | $(DEPLOY_NEEDS) ## MODEL as Caffe files, folded and not, and ONNX, float and int8, each checked against Caffe
	@$(DEPLOY_RUN) -m deploy.export $(call q,$(or $(MODEL),$(error export needs MODEL=runs/.../final.caffemodel or a name in models/))) \
	  $(call opt,--out,$(OUT)) --data=$(call q,$(DATA)) --split $(DEPLOY_SPLIT) $(DEPLOY_CAFFE) \
	  $(call opt,--deploy,$(DEPLOY)) $(if $(MEAN),--mean $(foreach value,$(MEAN),$(call q,$(value)))) $(call opt,--scale,$(SCALE)) $(call opt,--resize,$(RESIZE)) $(if $(LOGITS),--logits)

.PHONY: predict
predict: $(DEPLOY_ENV)/.complete ## find the faces in IMAGE (a file, folder, video or camera's number) and say what they express
	@$(DEPLOY_RUN) -m fer_lite $(call q,$(or $(IMAGE),$(error predict needs IMAGE=photo.jpg, a folder, a video, or a camera's number))) \
	  $(call opt,--model,$(MODEL)) $(CROPS:%=--crops %) --faces $(FACES) $(call opt,--draw,$(DRAW)) $(call opt,--fps,$(FPS)) $(call opt,--smooth,$(SMOOTH)) $(if $(CSV),--csv)

.PHONY: wheel
wheel: $(DEPLOY_ENV)/.complete-package ## the package that people install, in dist/: a wheel and a source distribution
	@$(DEPLOY_RUN) -m build --no-isolation

.PHONY: models-check
models-check: $(DEPLOY_ENV)/.complete-export | $(DEPLOY_NEEDS) ## the networks of models/: checksums, signature (SIGNERS=whom to believe), and the same scores in every runtime
	@$(DEPLOY_RUN) -m deploy.signature $(call q,$(MODELS)) $(call opt,--signers,$(SIGNERS))
	@$(DEPLOY_RUN) -m deploy.check $(call q,$(MODELS)) $(DEPLOY_CAFFE)

.PHONY: model
model: $(DEPLOY_ENV)/.complete-export | $(DEPLOY_NEEDS) ## models/NAME from the run in MODEL: its files, checked, its model card, the checksums
	@$(DEPLOY_RUN) -m deploy.card $(call q,$(or $(MODEL),$(error model needs MODEL=runs/.../trial1))) --name=$(call q,$(or $(NAME),$(error model needs NAME=))) \
	  --root=$(call q,$(MODELS)) --data=$(call q,$(DATA)) --split $(DEPLOY_SPLIT) $(DEPLOY_CAFFE)

# Ready-made packages to compare with, in an environment of their own; where they do not install, bench says so and goes on.
$(call cached,RIVALS_ENV,rivals,rivals.txt rivals_need.txt)
RIVALS_PYTHON = $(call q,$(RIVALS_ENV)/bin/python)

$(RIVALS_ENV)/.complete: env/rivals.txt env/rivals_need.txt
	@echo making $(call q,$(RIVALS_ENV)): 'ready-made packages to compare with (some minutes, 1.5 GB)' >&2
	@test -x $(RIVALS_PYTHON) || $(DEPLOY_PYTHON) -m venv $(call q,$(RIVALS_ENV))
	@echo '*' > $(call q,$(RIVALS_ENV))/.gitignore
	@$(RIVALS_PYTHON) -m pip install --quiet --disable-pip-version-check $(DEPLOY_PIP) -r env/rivals_need.txt
	@$(RIVALS_PYTHON) -m pip install --quiet --disable-pip-version-check $(DEPLOY_PIP) --no-deps -r env/rivals.txt
	@touch $(call q,$@)

.PHONY: bench bench-deploy bench-predict bench-serve test test-deploy
bench: bench-deploy bench-predict bench-serve
bench-predict: $(DEPLOY_ENV)/.complete-export ## photographs and video frames a second, faces found, beside a bare loop of YuNet and ONNX Runtime
	@$(DEPLOY_RUN) -m benchmarks.predict $(call opt,--model,$(MODEL)) $(BENCH)

bench-serve: $(DEPLOY_ENV)/.complete-package ## requests a second of `fer-lite serve` and their time, beside the same Predictor without a server
	@$(DEPLOY_RUN) -m benchmarks.serve $(call opt,--model,$(MODEL)) $(BENCH)

bench-deploy: $(DEPLOY_ENV)/.complete-export | env ## milliseconds a face in every runtime, and in ready-made packages (RIVALS=none: without them)
	@$(if $(filter none,$(RIVALS)),,$(MAKE) $(call q,$(RIVALS_ENV)/.complete) ||) true
	@$(DEPLOY_RUN) -m benchmarks.deploy $(call opt,--model,$(MODEL)) --caffe=$(call q,$(RUN) python3) $(if $(filter none,$(RIVALS)),,--rivals=$(call q,$(RIVALS_PYTHON))) $(BENCH)

test: $(if $(TESTS),,test-deploy)
test-deploy: $(DEPLOY_ENV)/.complete-package | env ## test export, predict, the package and their kin, beside real Caffe
	@$(DEPLOY_RUN) -m pytest -q tests/test_deploy.py tests/test_foreign_nets.py tests/test_deploy_predict.py tests/test_deploy_video.py tests/test_predictor.py tests/test_serve.py tests/test_package.py tests/test_signature.py tests/test_anomaly.py tests/test_readme.py
