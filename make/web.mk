# The page of `make try`: networks in the browser. Included by the Makefile.
#   make try [PORT=8000] [MODEL=models/resnet20_votes]
# WEB_PYTHON: any Python from 3.8; no package is needed.

PORT ?= 8000
WEB_PYTHON ?= python3

.PHONY: try test-web
try: deploy/web/node_modules/.complete ## a page on this machine that runs the networks in the browser, on a picture, a video or the camera (PORT, MODEL)
	@$(WEB_PYTHON) -m deploy.web.build --model=$(call q,$(or $(MODEL),models/resnet20_votes))
	@$(WEB_PYTHON) -m deploy.web.serve --port=$(call q,$(PORT))

# npm empties node_modules before it fills it, so the mark says that all of it is there.
deploy/web/node_modules/.complete: deploy/web/package.json deploy/web/package-lock.json
	@command -v npm >/dev/null || { echo 'error: the page needs npm (it comes with Node.js), once: sudo apt-get install nodejs npm' >&2; exit 1; }
	@echo 'getting the browser build of ONNX Runtime from npm (30 MB, once)'
	@cd deploy/web && npm ci --loglevel=error || { echo 'error: npm could not install what deploy/web/package-lock.json names: try again with a network' >&2; exit 1; }
	@touch $@

$(DEPLOY_ENV)/.complete-web: env/web.lock $(DEPLOY_ENV)/.complete-export
	@$(call locked,$(DEPLOY_ENV)/bin/python,web,$(DEPLOY_PIP))
	@touch $(call q,$@)

# What cannot be had here is named by the tests that are left out for it.
test: $(if $(TESTS),,test-web)
test-web: $(DEPLOY_ENV)/.complete-web ## test the page in headless Chromium (as root, Chromium is installed where apt-get is)
	@! command -v npm >/dev/null || $(MAKE) deploy/web/node_modules/.complete
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  test $$(id -u) != 0 || ! command -v apt-get >/dev/null || { echo 'installing Chromium for the tests of the page'; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null; } || true
	@$(DEPLOY_RUN) -m pytest -q -rs tests/test_web.py
