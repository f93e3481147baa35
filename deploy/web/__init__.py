"""The page of `make try`: networks run in the browser, on a picture, a video or the camera; nothing leaves the machine.

    build        packs page/, as static files for any web host: ONNX Runtime's web build, the face detector and the networks of models/ into build/
    serve        shows that folder on 127.0.0.1, with headers that forbid the page any other address
    page/        the page itself: page.js (what one sees), worker.js (what is computed), faces.js, pixels.js

Needs no Python package; node_modules/ comes from npm (package.json, package-lock.json).
"""
