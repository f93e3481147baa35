# Whole experiments, their overview, curves and speed. Included by the Makefile.
#   make -j4 row ROW=8                      five trials of one row of Table II, side by side
#   make -j4 table2 ROWS=1,2,7-8 TRIALS=1-3
# ROWS, TRIALS: numbers with commas, ranges with "-". THREADS: BLAS threads of each training (default 1).
# LAUNCH stands before each training and testing: LAUNCH='srun -c2'. STOP_AFTER=90m: every training snapshots and stops then.

TRIALS ?= 1-5
ROW    ?=

comma := ,
expand = $(foreach part,$(subst $(comma), ,$(1)),$(if $(findstring -,$(part)),$(shell seq $(foreach n,$(subst -, ,$(part)),$(call q,$(n)))),$(part)))
# Table II's rows as number:depth:source.
TABLE2_ROWS = $(shell $(PLAIN) -m paper.experiments)
# (number:depth:source, with colons as blanks): the metrics of that row's TRIALS.
trial_metrics = $(foreach trial,$(call expand,$(TRIALS)),$(call finetuned,$(word 2,$(1)),$(word 3,$(1)),$(trial))/metrics_$(SPLIT).json)
row_metrics = $(foreach row,$(TABLE2_ROWS),$(if $(filter $(1),$(firstword $(subst :, ,$(row)))),$(call trial_metrics,$(subst :, ,$(row)))))

.PHONY: row experiment status curves bench bench-training
# (numbers of rows): the targets that train their TRIALS side by side.
row_trials = $(foreach row,$(TABLE2_ROWS),$(if $(filter $(1),$(firstword $(subst :, ,$(row)))),trials-$(word 2,$(subst :, ,$(row)))-$(word 3,$(subst :, ,$(row)))))

# Train and test what is missing of ROWS. A run that fails does not keep the others back: make again retries it.
experiment: | env
	$(if $(filter cuda,$(DEVICE)),@$(MAKE) --no-print-directory --keep-going $(foreach f,$(call row_trials,$(call expand,$(or $(ROWS),1-12))),$(call q,$(f))))
	@$(MAKE) --no-print-directory --keep-going $(or $(strip $(foreach f,$(call row_metrics,$(call expand,$(or $(ROWS),1-12))),$(call q,$(f)))),no-such-row)

# Table II is printed (report.mk) when it is complete; SHOW=1 prints what is there and trains nothing.
table2: $(if $(SHOW),,experiment)

row: ## train and test all TRIALS of row ROW of Table II (with -jN side by side)
	@$(MAKE) --no-print-directory experiment ROWS=$(call q,$(or $(ROW),$(error row needs ROW=1 to ROW=12)))
	@$(MAKE) --no-print-directory status

no-such-row:
	@echo error: ROWS=$(call q,$(ROWS)) ROW=$(call q,$(ROW)) 'names no row of Table II: 1 to 12, as in ROWS=1,2,7-8' >&2; exit 1

# For a machine that has no data: make bundle here, make unbundle there; make results there, make unbundle FROM=row8.zip here.
.PHONY: bundle results unbundle
bundle: | $(PLAIN_ENV) ## pack what ROWS need into a folder of files under 60 MB (OUT=bundle)
	@$(PLAIN) -m training.bundle pack --rows $(call expand,$(or $(ROWS),1-12)) --work=$(call q,$(or $(WORK),.)) --out=$(call q,$(or $(OUT),bundle))

results: | $(PLAIN_ENV) ## pack what ROWS gave, an archive under 16 MB a row, into OUT
	@$(PLAIN) -m training.bundle results --rows $(call expand,$(or $(ROWS),1-12)) --runs=$(call q,$(RUNS)) --out=$(call q,$(or $(OUT),.))

unbundle: | $(PLAIN_ENV) ## unpack FROM=bundle into WORK, or FROM=row8.zip into RUNS
	@$(PLAIN) -m training.bundle unpack --from=$(call q,$(or $(FROM),bundle)) --work=$(call q,$(or $(WORK),.)) --runs=$(call q,$(RUNS))

status: | $(PLAIN_ENV) ## how Table II stands: done, running, stopped, failed, missing, time left
	@$(PLAIN) -m evaluation.report.status $(REPORT_FROM)

curves: | $(PLAIN_ENV) ## draw loss, rate and validation accuracy of every run in RUNS, and all in one picture
	@$(PLAIN) -m evaluation.report.curves --runs=$(call q,$(RUNS)) --out=$(call q,$(W)results/curves$(addprefix _,$(filter-out caffe,$(ENGINE_NAME))).png)

bench: bench-training ## speed: training against the stock caffe, testing against caffe.Classifier
bench-training: | env
	@$(PYTHON) -m benchmarks.training
