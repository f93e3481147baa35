"""Open a page in real headless Chromium: at a desk's width and a phone's, light and dark, and printed to PDF.

    python3 tests/page_in_chromium.py results/report_test.html

Needs nothing but Python and Chromium, so that it also runs where Caffe does not (`make test`). It says what is wrong:
messages on the console, pictures that do not load or are of the other theme, content wider than the window.
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (1280, 390)
# Headless Chromium has no window narrower than 500 pixels, so each width is a frame. What is wrong goes to the console.
FRAMES = """<!DOCTYPE html><meta name="color-scheme" content="light dark">%s
<script>
onload = () => {
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, dark = frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches;
    const wrong = words => console.error(frame.width + " pixels, " + (dark ? "dark" : "light") + ": " + words);
    if (dark != %s) wrong("not the theme asked for");
    if (!page.images.length) wrong("no pictures at all");
    for (const image of page.images) {
      const source = image.parentElement.querySelector("source");
      if (!image.complete || !image.naturalWidth) wrong("a picture does not load: " + image.alt);
      if (source && (image.currentSrc == source.srcset) != dark) wrong("a picture of the other theme: " + image.alt);
    }
    const root = page.documentElement;
    if (root.scrollWidth > root.clientWidth) wrong("content is " + root.scrollWidth + " pixels wide");
  }
  document.title = "looked at";
};
</script>"""


def chromium():
    """The path of a Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def problems(text):
    """What is wrong with a page (HTML as str) in Chromium: a list of str, empty when all is well."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        frames = "".join('<iframe width="%d" height="900" srcdoc="%s"></iframe>' % (w, html.escape(text)) for w in WIDTHS)
        for dark in (False, True):
            page = os.path.join(folder, "dark.html" if dark else "light.html")
            with open(page, "w", encoding="utf-8") as f:
                f.write(FRAMES % (frames, str(dark).lower()))
            ran = _run(folder, ["--dump-dom", "--blink-settings=preferredColorScheme=%d" % (not dark), "file://" + page])
            found += re.findall(r'CONSOLE.*?\] (".*?)(?:, source|$)', ran.stderr, re.M)
            if "<title>looked at</title>" not in ran.stdout:
                found.append("%s did not load: %s" % (os.path.basename(page), ran.stderr[-500:]))
        alone, pdf = os.path.join(folder, "page.html"), os.path.join(folder, "page.pdf")
        with open(alone, "w", encoding="utf-8") as f:
            f.write(text)
        ran = _run(folder, ["--print-to-pdf=" + pdf, "--no-pdf-header-footer", "file://" + alone])
        if not os.path.exists(pdf) or os.path.getsize(pdf) < 10000:
            found.append("it does not print: %s" % ran.stderr[-500:])
    return found


def _run(folder, arguments):
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        "--virtual-time-budget=20000",
    ]
    return subprocess.run(
        [chromium()] + quiet + ["--user-data-dir=" + os.path.join(folder, "profile")] + arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=180,
        encoding="utf-8",
        errors="replace",
    )


if __name__ == "__main__":
    if not chromium():
        print("SKIPPED %s: no Chromium here (%s)" % (sys.argv[1], ", ".join(NAMES)))
        sys.exit(0)
    with open(sys.argv[1], encoding="utf-8") as opened:
        wrong = problems(opened.read())
    print("\n".join(wrong) or "%s in Chromium: %s pixels, light and dark, and printed: nothing wrong" % (sys.argv[1], " and ".join(map(str, WIDTHS))))
    sys.exit(bool(wrong))
