"""Show the packed page on this machine alone.

python3 -m deploy.web.serve --port 8000
"""

import argparse
import errno
import functools
import http.server
import os
import sys

from common import errors

HERE = os.path.dirname(os.path.abspath(__file__))
ADDRESS = "127.0.0.1"
# The browser itself refuses the page, and its worker, whatever is not here: no other address can be asked or told anything.
# It stands in the page too, for hosts that send no headers.
PAGE_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "media-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
)
POLICY = PAGE_POLICY + "; frame-ancestors 'none'"  # which counts in headers alone
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}


class Page(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with HEADERS. The types do not hang on what this system's mime.types says."""

    extensions_map = dict(http.server.SimpleHTTPRequestHandler.extensions_map, **TYPES)

    timeout = 30  # seconds in which a client says what it wants; a slow one holds a thread no longer
    server_version, sys_version = "fer-lite", ""

    def send_head(self):
        """The front page and files: neither folders, nor what the standard library's server makes of odd paths (redirects, errors)."""
        if self.path.split("?")[0] != "/" and not os.path.isfile(self.translate_path(self.path)):
            return self.send_error(404)
        return super().send_head()

    def end_headers(self):
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # clients that may come at once

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):  # a browser that changed its mind is no error
            super().handle_error(request, client_address)


def server(folder, port):
    """A server of `folder` on ADDRESS, not yet running; `port` 0 takes any. Fail where the port is taken or none."""
    try:
        return Server((ADDRESS, port), functools.partial(Page, directory=folder))
    except OSError as mistake:
        if mistake.errno == errno.EADDRINUSE:
            raise errors.Fail("port %d is taken: choose another with `make try PORT=%d`" % (port, port + 1)) from None
        if mistake.errno == errno.EACCES:
            raise errors.Fail("port %d is not for ordinary users: choose one above 1023, as in `make try PORT=8000`" % port) from None
        raise
    except OverflowError:
        raise errors.Fail("there is no port %d: choose one from 1024 to 65535, as in `make try PORT=8000`" % port) from None


@errors.main
def main():
    parser = argparse.ArgumentParser(prog="python3 -m deploy.web.serve", description=__doc__.splitlines()[0])
    parser.add_argument("--port", default="8000")
    parser.add_argument("--folder", default=os.path.join(HERE, "build"))
    args = parser.parse_args()
    if not args.port.isdigit():
        raise errors.Fail("PORT=%s is no number: choose one as in `make try PORT=8000`" % args.port)
    if not os.path.isfile(os.path.join(args.folder, "index.html")):
        raise errors.Fail("%s holds no page: `make try` packs it" % args.folder)
    with server(args.folder, int(args.port)) as page:
        print("the page is at http://%s:%d (this machine only; Ctrl-C ends it)" % page.server_address, flush=True)
        try:
            page.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
