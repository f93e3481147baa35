# Trained networks in use. Included by the Makefile.
#   make predict IMAGE=photo.jpg [MODEL=models/resnet20_votes, or A+B] [DRAW=out.jpg] [ARGS='--crops 10 --faces given --fps 5 --smooth 1 --csv']
#   make export MODEL=runs/.../final.caffemodel [OUT=exports/NAME] [DATA=data/ferplus]
#   make export MODEL=their.caffemodel DEPLOY=their.prototxt [MEAN='104 117 123'] [SCALE=0.017] [RESIZE=54] [LOGITS=1]     another's network
#   make model MODEL=runs/.../trial1 NAME=resnet32_cifar10
# CAFFE=none: without Caffe to check against.

MODELS ?= models
DATA   ?= $(W)data/ferplus
SEED   ?= 1
NEEDS_CAFFE = $(if $(filter none,$(CAFFE)),,env)
# Accuracies of an export are measured on the validation part unless SPLIT is given.
EXPORT_ON = --data=$(call q,$(DATA)) --split $(if $(filter file,$(origin SPLIT)),valid,$(SPLIT)) $(WITH_CAFFE)

## Networks in use
.PHONY: predict try best export model wheel

predict: ## find the faces in IMAGE (a file, folder, video or camera's number) and say what they express
	@$(DEPLOY_RUN) -m fer_lite $(call q,$(or $(IMAGE),$(error predict needs IMAGE=photo.jpg, a folder, a video, or a camera's number))) \
	  $(call opt,--model,$(MODEL)) $(call opt,--draw,$(DRAW)) $(ARGS)

try: deploy/web/node_modules/.complete ## a page on this machine that runs the networks in the browser, on a picture, a video or the camera (PORT, MODEL)
	@python3 -m deploy.web.build --model=$(call q,$(or $(MODEL),models/resnet20_votes))
	@python3 -m deploy.web.serve --port=$(call q,$(or $(PORT),8000))

# npm empties node_modules before it fills it, so the mark says that all of it is there.
deploy/web/node_modules/.complete: deploy/web/package.json deploy/web/package-lock.json
	@command -v npm >/dev/null || { echo 'error: the page needs npm (it comes with Node.js), once: sudo apt-get install nodejs npm' >&2; exit 1; }
	@echo 'getting the browser build of ONNX Runtime from npm (30 MB, once)'
	@cd deploy/web && npm ci --loglevel=error || { echo 'error: npm could not install what deploy/web/package-lock.json names: try again with a network' >&2; exit 1; }
	@touch $@

# Beyond the paper (paper/recipe.py). The teacher's answers to the training part come first; SRC is a source only where it is given.
BEGUN     = $(if $(filter override,$(origin SRC)),$(filter-out none,$(SRC)))
BEST      = $(RUNS)/$(RECIPE)$(addprefix _from_,$(BEGUN))
BEST_INIT = $(if $(BEGUN),$(BEST)/init.caffemodel)
$(if $(and $(filter best,$(MAKECMDGOALS)),$(BEGUN),$(filter small%,$(RECIPE))),$(error SRC=$(SRC) is for RECIPE=best and robust, which have the form of the paper's pretrained networks))
best: $(W)solvers/$(RECIPE).prototxt $(W)prototxt/$(RECIPE)_train.prototxt $(W)data/ferplus_votes/manifest.json $(BEST_INIT) ## train a network for use on FER+'s votes (RECIPE=small, ...; SEED=1, SRC=cifar100, TEACHER=models/...)
	$(if $(TEACHER),@$(TORCH) -m evaluation.test --deploy=$(call q,$(TEACHER)/deploy.prototxt) --weights=$(call q,$(TEACHER)/net.caffemodel) \
	  --data=$(call q,$(W)data/ferplus_votes) --split train --if-changed --engine torch --out=$(call q,$(BEST)/teacher))
	$(call train,$(W)solvers/$(RECIPE).prototxt,$(BEST)/seed$(SEED),--recipe $(RECIPE) $(call opt,--trial,$(SEED)) \
	  $(call opt,--weights,$(BEST_INIT)) $(if $(TEACHER),--teacher=$(call q,$(BEST)/teacher/scores_train.npz)))
$(if $(BEST_INIT),$(eval $(call transplanting_rule,$(BEST_INIT),20,$(BEGUN),$(W)prototxt/$(RECIPE)_deploy.prototxt)))

export: | $(NEEDS_CAFFE) ## MODEL as Caffe files, folded and not, and ONNX, float and int8, each checked against Caffe
	@$(EXPORT_RUN) -m deploy.export $(call q,$(or $(MODEL),$(error export needs MODEL=runs/.../final.caffemodel or a name in models/))) $(call opt,--out,$(OUT)) $(EXPORT_ON) \
	  $(call opt,--deploy,$(DEPLOY)) $(if $(MEAN),--mean $(foreach value,$(MEAN),$(call q,$(value)))) $(call opt,--scale,$(SCALE)) $(call opt,--resize,$(RESIZE)) $(if $(LOGITS),--logits)

model: | $(NEEDS_CAFFE) ## models/NAME from the run in MODEL: its files, checked, its model card, the checksums
	@$(EXPORT_RUN) -m deploy.card $(call q,$(or $(MODEL),$(error model needs MODEL=runs/.../trial1))) --name=$(call q,$(or $(NAME),$(error model needs NAME=))) \
	  --root=$(call q,$(MODELS)) $(EXPORT_ON)

wheel: ## the package that people install, in dist/: a wheel and a source distribution
	@bash env/run --package -m build --no-isolation
