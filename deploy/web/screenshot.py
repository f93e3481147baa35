"""Take the README's picture of the page, on its drawn faces, in headless Chromium. `env/run --web -m deploy.web.screenshot`.

python -m deploy.web.screenshot --model models/resnet20_votes
"""

import argparse
import os
import tempfile
import threading

from playwright import sync_api

from common import errors
from deploy.web import build, serve

OUT = os.path.join(build.HERE, "screenshot.png")
SIZE = {"width": 1120, "height": 700}


def take(model, out, chromium, picture=None, **how):
    """Write a PNG of the page with `model` and a `picture` (None: the example). `how`: playwright's, such as color_scheme."""
    with tempfile.TemporaryDirectory() as folder, sync_api.sync_playwright() as playwright:
        build.build(model, os.path.join(folder, "page"))
        with serve.server(os.path.join(folder, "page"), 0) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(**dict({"viewport": SIZE}, **how))
            page.goto("http://%s:%d/" % server.server_address)
            page.set_input_files("#file", picture) if picture else page.click("#example")
            page.wait_for_selector("#result[data-probabilities]")
            sync_api.expect(page.locator(".label:empty")).to_have_count(0, timeout=30000)
            page.wait_for_timeout(500)  # until the bars stand still
            page.mouse.move(0, 0)
            page.screenshot(path=out)
            browser.close()
            server.shutdown()


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python -m deploy.web.screenshot", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", default=OUT)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--picture", help="another picture than the drawn faces")
    parser.add_argument("--dark", action="store_true")
    args = parser.parse_args()
    take(args.model, args.out, args.chromium, args.picture, color_scheme="dark" if args.dark else "light")


if __name__ == "__main__":
    main()
