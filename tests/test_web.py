"""The page of `make try` in real headless Chromium: the same scores as ONNX Runtime's in Python, and nothing leaves the machine."""

import base64
import functools
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from playwright import sync_api

from common import errors
from common.drawn import faces
from deploy import onnx_net, quantize
from deploy.web import build, example, serve
from fer_lite import crops, names
from fer_lite import faces as deploy_faces
from netgen import fold, resnet, weights
from paper import facts

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CLASSES = list(facts.EXPRESSIONS)
MEAN = np.array([120, 125, 130], np.float32)
SCORES = "#result[data-probabilities]"
TOLERANCE = 1e-4  # of a probability: float32 sums in another order
INT8_TOLERANCE = 0.002  # ONNX Runtime's integer kernels round otherwise in WebAssembly than on this processor
sync_api.expect.set_options(timeout=60000)  # ms: a busy machine takes more than the usual five seconds to start the networks
FAKE_CAMERA = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--use-file-for-fake-video-capture="]


# ---- networks, the packed page, browsers ------------------------------------------------------------------------------


def write_network(folder, name, depth, seed, int8=False, side=facts.CROP):
    """An exported network with random weights; its final layer is set so that its answers differ from face to face.

    int8 keeps the random final layer: the other one would make each rounding step of int8 a large one.
    """
    net = resnet.deploy_net(depth, "ferplus", len(CLASSES), side=side)
    model = weights.random(net, seed)
    path = folder / name
    path.mkdir(parents=True)
    file = str(path / names.FLOAT)
    made = onnx_net.build(*fold.fold(net, model), MEAN, {})
    onnx.save(made, file)
    rng = np.random.RandomState(0)
    small = [cv2.resize(faces.face(rng, {expression: 1.0}, 1.0), (side, side)) for expression in CLASSES]
    shown = np.repeat(np.stack(small)[:, None], 3, axis=1).astype(np.float32)
    logits = np.log(answers(file, shown))
    if int8:
        onnx.save(quantize.int8(made, shown), str(path / names.INT8))
    middle = logits.mean(axis=0)
    factor = 1.5 / (logits - middle).std()
    kernel, bias = next(layer.blobs for layer in reversed(model.layer) if len(layer.blobs) == 2)
    bias.data[:] = factor * (np.array(bias.data) - middle)
    kernel.data[:] = factor * np.array(kernel.data)
    onnx.save(onnx_net.build(*fold.fold(net, model), MEAN, {}), file)
    (path / "model.json").write_text(json.dumps({"name": name, "classes": CLASSES, "crop": side, "resize": max(facts.RESIZE, side)}))


def answers(file, shown):
    """ONNX Runtime's probabilities of crops, N x classes."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"data": shown})[0]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The folder of the packed page with two networks, one that is damaged, and what Python's side needs."""
    if not os.path.isdir(build.ORT):
        pytest.skip("web/node_modules is not there (`make test` installs it where npm is)")
    folder = tmp_path_factory.mktemp("web")
    write_network(folder / "models", "net20", 20, 1, int8=True)
    write_network(folder / "models", "net32", 32, 2)
    write_network(folder / "models", "net48", 20, 4, side=48)
    write_network(folder / "models", "net99", 20, 3)
    (folder / "models" / "net99" / "model.onnx").write_bytes((folder / "models" / "net20" / "model.onnx").read_bytes()[:5000])
    build.build("net20", str(folder / "build"), str(folder / "models"))
    cv2.imwrite(str(folder / "photo.png"), photo())
    return folder


def photo():
    """A photograph with one face: scikit-image's astronaut (NASA, public domain), uint8 512 x 512 x 3 BGR."""
    skimage = pytest.importorskip("skimage", reason="scikit-image is not installed (env/export.txt)")
    return cv2.imread(os.path.join(os.path.dirname(skimage.__file__), "data", "astronaut.png"))


@pytest.fixture(scope="module")
def served(packed):
    page = serve.server(str(packed / "build"), 0)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    yield "http://127.0.0.1:%d/" % page.server_address[1]
    page.shutdown()
    page.server_close()


@pytest.fixture(scope="module")
def chromium(packed):
    """Functions that start it: `chromium(*arguments)`."""
    if not CHROMIUM:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        yield lambda *arguments: playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])


@pytest.fixture(scope="module")
def browser(chromium):
    started = chromium()
    yield started
    started.close()


class Visit:
    """A page opened in a browser, with all that it asked for and all that it complained of."""

    def __init__(self, browser, url, **how):
        self.asked, self.complaints = [], []
        self.context = browser.new_context(**how)
        self.context.set_default_timeout(60000)
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)
        self.offered = self.context.request.get(url + "models.json").json()

    def open(self, path):
        """Choose a picture; return the scores of its largest face."""
        self.page.set_input_files("#file", path)
        return self.scores()

    def scores(self):
        return np.array(json.loads(self.page.locator(SCORES).get_attribute("data-probabilities")))

    def square(self):
        found = json.loads(self.page.locator("#square").get_attribute("data-square"))
        return found["x"], found["y"], found["size"]

    def choose(self, title):
        """Choose the network of this title."""
        self.page.select_option("#model", index=[offer["title"] for offer in self.offered].index(title))

    def says(self, text):
        sync_api.expect(self.page.locator("#message")).to_contain_text(text)


@pytest.fixture
def visit(browser, served):
    """A visit that ends without a complaint, and without a request to anybody else."""
    visit = Visit(browser, served, viewport={"width": 1280, "height": 900})
    yield visit
    visit.context.close()
    assert not visit.complaints
    assert visit.asked and all(url.startswith((served, "blob:" + served)) for url in visit.asked)


def expected(packed, name, image, square, ten=True, file=names.FLOAT):
    """Scores by fer_lite.faces, fer_lite.crops and ONNX Runtime of a square (x, y, size) of a BGR image."""
    x, y, size = square
    side, crop = (48, 48) if name == "net48" else (facts.RESIZE, facts.CROP)
    shown = crops.ten_crops(deploy_faces.cut(image, (x, y, size, size), side)[None], np.float32(0), crop)[0]
    return answers(str(packed / "models" / name / file), shown if ten else shown[crops.CENTRE : crops.CENTRE + 1]).mean(axis=0)


# ---- the same scores as in Python ---------------------------------------------------------------------------------------


def test_any_square_becomes_the_same_bytes_as_in_python(visit):
    rng = np.random.RandomState(0)
    image = cv2.GaussianBlur(rng.randint(0, 256, (300, 400, 3)).astype(np.uint8), (5, 5), 1)
    squares = [(10, 10, side) for side in (1, 2, 20, 36, 47, 48, 49, 72, 95, 96, 97, 144, 192, 255)]
    squares += [(-20, -30, 100), (350, 250, 96), (-100, -50, 333), (380, -70, 150), (200, 100, 400)]  # beyond the picture
    found = visit.page.evaluate(
        """async ([rgba, width, height, squares]) => {
        const { cut } = await import("./pixels.js");
        const all = Uint8Array.from(atob(rgba), (c) => c.charCodeAt(0));
        const pixels = (x, y, w, h) => Array.from({ length: h }, (_, i) =>
            Array.from(all.subarray(4 * ((y + i) * width + x), 4 * ((y + i) * width + x + w)))).flat();
        return squares.map(([x, y, size]) => Array.from(cut({ x, y, size }, width, height, pixels, 36)));
    }""",
        [base64.b64encode(cv2.cvtColor(image, cv2.COLOR_BGR2RGBA).tobytes()).decode(), 400, 300, squares],
    )
    for (x, y, size), made in zip(squares, found):
        np.testing.assert_array_equal(np.reshape(made, (36, 36)), deploy_faces.cut(image, (x, y, size, size))[0], str((x, y, size)))


def test_crops_are_evaluations_ten(visit):
    image = np.random.RandomState(0).randint(0, 256, (36, 36)).astype(np.uint8)
    ten, one = visit.page.evaluate(
        """async (image) => {
        const { crops } = await import("./pixels.js");
        return [true, false].map((many) => Array.from(crops(Uint8Array.from(image), 36, 32, many)));
    }""",
        image.ravel().tolist(),
    )
    wanted = crops.ten_crops(np.broadcast_to(image, (1, 3, 36, 36)), np.float32(0), 32)[0]
    np.testing.assert_array_equal(np.reshape(ten, (10, 3, 32, 32)), wanted)
    np.testing.assert_array_equal(np.reshape(one, (1, 3, 32, 32)), wanted[crops.CENTRE : crops.CENTRE + 1])


def test_a_photograph_is_judged_as_in_python(visit, packed):
    found = visit.open(str(packed / "photo.png"))
    visit.says("Found one face.")
    (there,) = deploy_faces.detect(photo())
    np.testing.assert_allclose(visit.square(), deploy_faces.square(there.box)[:3], atol=3)  # the detector's input has other edges
    assert abs(found - expected(packed, "net20", photo(), visit.square())).max() < TOLERANCE
    top = CLASSES[found.argmax()]
    assert visit.page.inner_text("#answer").startswith(top + ", ")
    assert visit.page.inner_text("tr.top th") == top
    shares = [float(text.rstrip("%")) / 100 for text in visit.page.locator("td.share").all_inner_texts()]
    np.testing.assert_allclose(shares, found, atol=0.00051)
    assert visit.page.locator("#bars th").all_inner_texts() == CLASSES
    assert "has not been measured" in visit.page.inner_text("#about")


def test_each_face_network_and_number_of_crops_has_the_scores_of_python(visit, packed):
    visit.page.click("#example")
    visit.says("Found 3 faces")
    image, page, seen = cv2.imread(example.PATH), visit.page, []
    there = [deploy_faces.square(found.box)[:3] for found in deploy_faces.detect(image)]
    assert len(there) == 3
    for face in range(3):
        if face:
            page.get_by_role("button", name="face %d of 3: choose it" % (face + 1)).click()
        nearest = min(there, key=lambda square: abs(square[0] - visit.square()[0]))
        np.testing.assert_allclose(visit.square(), nearest, atol=4)  # as above, and half a pixel of either rounded
        there.remove(nearest)
        for title, file in (("net20", names.FLOAT), ("net20, int8", names.INT8), ("net32", names.FLOAT)):
            for ten in (True, False):
                visit.choose(title)
                page.select_option("#crops", "many" if ten else "one")
                sync_api.expect(page.locator("#timing")).to_contain_text("(%s, %s)" % (title, "ten crops" if ten else "one crop"))
                wanted = expected(packed, title[:5], image, visit.square(), ten, file)
                settled(visit, wanted, TOLERANCE if file == names.FLOAT else INT8_TOLERANCE)
                seen += [wanted] if file == names.FLOAT else []
    assert min(abs(a - b).max() for i, a in enumerate(seen) for b in seen[:i]) > 20 * TOLERANCE  # so that a mix-up shows


def test_every_face_has_its_label_on_its_square(visit, packed):
    visit.page.click("#example")
    visit.says("Found 3 faces")
    image, page = cv2.imread(example.PATH), visit.page
    for title in ("net20", "net32"):  # the labels are the network's that is chosen
        visit.choose(title)
        wanted = []
        for face in range(3):
            others = page.get_by_role("button", name="face %d of 3: choose it" % (face + 1))
            if others.count():
                others.click()
            scores = settled(visit, expected(packed, title, image, visit.square()))
            wanted.append("%s %.0f%%" % (CLASSES[scores.argmax()], 100 * scores.max()))
        sync_api.expect(page.locator("#square .label")).to_have_text(wanted[2])
        sync_api.expect(page.locator(".other .label")).to_have_text(wanted[:2])
        assert page.get_by_role("button", name="face 1 of 3: choose it %s" % wanted[0]).count() == 1
    boxes = [label.bounding_box() for label in page.locator(".label").all()]
    for i, a in enumerate(boxes):  # none covers another
        for b in boxes[:i]:
            assert a["x"] >= b["x"] + b["width"] or b["x"] >= a["x"] + a["width"] or a["y"] >= b["y"] + b["height"] or b["y"] >= a["y"] + a["height"]


def test_a_network_that_takes_the_whole_face_is_shown_it_once_unless_asked(visit, packed):
    visit.open(str(packed / "photo.png"))
    page = visit.page
    visit.choose("net48")
    sync_api.expect(page.locator("#timing")).to_contain_text("(net48, one crop)")
    settled(visit, expected(packed, "net48", photo(), visit.square(), ten=False))
    assert page.inner_text("#seen-side") == "48 × 48" and page.locator("#seen").get_attribute("width") == "48"
    page.select_option("#crops", "many")
    sync_api.expect(page.locator("#timing")).to_contain_text("(net48, face and mirror)")
    settled(visit, expected(packed, "net48", photo(), visit.square()))
    visit.choose("net32")
    sync_api.expect(page.locator("#timing")).to_contain_text("(net32, ten crops)")


def settled(visit, wanted, tolerance=TOLERANCE):
    """Wait until the page shows the scores `wanted`; return them."""
    for _ in range(800):
        if visit.page.locator(SCORES).count() and abs(visit.scores() - wanted).max() < tolerance:
            return wanted
        visit.page.wait_for_timeout(25)
    np.testing.assert_allclose(visit.scores(), wanted, atol=tolerance)
    return wanted


def test_the_square_can_be_moved_by_mouse_and_keys(visit, packed):
    visit.open(str(packed / "photo.png"))
    page, before = visit.page, visit.square()
    box = page.locator("#square").bounding_box()
    scale = 512 / page.locator("#frame").bounding_box()["width"]
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2 + 40, steps=4)
    page.mouse.up()
    moved = visit.square()
    np.testing.assert_allclose(moved, np.add(before, (60 * scale, 40 * scale, 0)), atol=1.5)
    settled(visit, expected(packed, "net20", photo(), moved))

    corner = page.locator(".grip.se").bounding_box()
    page.mouse.move(corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2)
    page.mouse.down()
    page.mouse.move(corner["x"] + corner["width"] / 2 + 30, corner["y"] + corner["height"] / 2 + 30)
    page.mouse.up()
    grown = visit.square()
    np.testing.assert_allclose(grown, np.add(moved, (0, 0, 30 * scale)), atol=1.5)
    settled(visit, expected(packed, "net20", photo(), grown))

    page.focus("#square")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("-")
    by_keys = visit.square()
    assert by_keys[2] < grown[2]
    settled(visit, expected(packed, "net20", photo(), by_keys))
    for _ in range(80):
        page.keyboard.press("ArrowUp")
    assert visit.square()[1] == round(-visit.square()[2] / 4)  # it does not leave the picture
    settled(visit, expected(packed, "net20", photo(), visit.square()))


# ---- pictures that are none, and other bad input --------------------------------------------------------------------------


def test_a_dropped_and_a_pasted_picture_are_taken(visit):
    for event, key in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        visit.page.evaluate(
            """async ([name, key]) => {
            const held = new DataTransfer();
            held.items.add(new File([await (await fetch("example.png")).blob()], "faces.png", { type: "image/png" }));
            document.dispatchEvent(Object.defineProperty(new Event(name, { cancelable: true }), key, { value: held }));
        }""",
            [event, key],
        )
        visit.says("Found 3 faces")
        visit.scores()
        visit.page.evaluate("document.getElementById('message').textContent = ''")


def test_what_is_no_picture_and_a_picture_without_a_face_are_said(visit, packed):
    notes = packed / "notes.txt"
    notes.write_text("no picture")
    visit.page.set_input_files("#file", str(notes))
    visit.says("notes.txt is no picture that this browser can read")
    wall = packed / "wall.png"
    cv2.imwrite(str(wall), np.full((100, 200, 3), 128, np.uint8))
    visit.page.set_input_files("#file", str(wall))
    visit.says("No face found by itself: drag the square onto one.")
    assert visit.square() == (65, 15, 70)
    visit.page.select_option("#crops", "one")
    sync_api.expect(visit.page.locator("#answer")).to_have_text("No face yet.")
    assert visit.page.locator(SCORES).count() == 0  # nobody has said that there is a face
    visit.page.focus("#square")
    visit.page.keyboard.press("ArrowRight")
    settled(visit, expected(packed, "net20", cv2.imread(str(wall)), visit.square(), ten=False))
    visit.page.set_input_files("#file", str(notes))  # the picture before it stays
    visit.says("notes.txt is no picture")
    assert visit.page.locator("#square").is_visible()


def test_a_huge_picture_is_made_smaller_and_that_is_said(visit, packed):
    huge = np.full((3000, 6000, 3), 90, np.uint8)
    huge[500:2036, 1000:2536] = cv2.resize(photo(), None, fx=3, fy=3)
    cv2.imwrite(str(packed / "huge.jpg"), huge)
    visit.open(str(packed / "huge.jpg"))
    visit.says("huge.jpg is very large: shown at 4096 × 2048 pixels. Found one face.")


def test_a_damaged_network_is_said_and_not_used(visit, packed):
    visit.page.click("#example")
    visit.scores()
    visit.choose("net99")
    visit.says("Something went wrong: models/3/model.onnx is no network that ONNX Runtime can load")
    assert visit.page.locator(SCORES).count() == 0
    visit.choose("net32")
    settled(visit, expected(packed, "net32", cv2.imread(example.PATH), visit.square()))
    visit.complaints[:] = [text for text in visit.complaints if "protobuf parsing failed" not in text.lower()]


# ---- the camera and videos ---------------------------------------------------------------------------------------------------------


def test_the_camera_is_judged_and_a_frame_can_be_kept(chromium, served, packed):
    frame = cv2.resize(photo()[:384], (640, 480))
    planes = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes()
    (packed / "camera.y4m").write_bytes(b"YUV4MPEG2 W640 H480 F20:1 Ip A1:1 C420jpeg\n" + 3 * (b"FRAME\n" + planes))
    browser = chromium(*FAKE_CAMERA[:2], FAKE_CAMERA[2] + str(packed / "camera.y4m"))
    visit = Visit(browser, served)
    visit.page.click("#camera")
    live = visit.scores()
    visit.says("The camera runs; the bars are the largest face's.")
    assert "mirrored" in visit.page.locator("#frame").get_attribute("class")
    visit.page.get_by_role("button", name="Freeze this picture").click()
    visit.says("Found one face.")
    kept = visit.scores()
    wanted = expected(packed, "net20", frame, visit.square())
    assert abs(kept - wanted).max() < 0.1 and abs(live - wanted).max() < 0.1  # the camera's colours went through YUV
    assert visit.page.evaluate("document.getElementById('video').srcObject") is None
    assert not visit.complaints and all(url.startswith((served, "blob:" + served)) for url in visit.asked)
    browser.close()


def test_a_video_is_judged_while_it_plays_and_a_frame_can_be_kept(visit, packed):
    video = packed / "film.webm"
    film = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"VP80"), 10, (640, 224))
    for _ in range(20):
        film.write(cv2.imread(example.PATH))
    film.release()
    page = visit.page
    page.set_input_files("#file", str(video))
    visit.says("film.webm runs; the bars are the largest face's.")
    assert page.locator("#frame.mirrored").count() == 0
    sync_api.expect(page.locator("#frame .label")).to_have_count(3)
    sync_api.expect(page.locator(".label:empty")).to_have_count(0)
    live = visit.scores()
    visit.choose("net32")  # also where the video has ended
    settled(visit, expected(packed, "net32", cv2.imread(example.PATH), visit.square()), 0.1)
    visit.choose("net20")
    page.get_by_role("button", name="Freeze this picture").click()
    visit.says("Found 3 faces")
    assert abs(visit.scores() - live).max() < 0.1 and page.get_by_role("button", name="face 3 of 3").count() == 1
    assert page.evaluate("document.getElementById('video').getAttribute('src')") is None


def test_what_is_no_video_is_said(visit, packed):
    (packed / "broken.mp4").write_bytes(b"no video")
    visit.page.set_input_files("#file", str(packed / "broken.mp4"))
    visit.says("broken.mp4 is no video that this browser can play")
    visit.page.click("#example")
    visit.says("Found 3 faces")


def test_no_camera_is_said(visit):
    visit.page.click("#camera")
    visit.says("camera")
    sync_api.expect(visit.page.locator("#message")).to_have_class("message problem")


# ---- nothing leaves the machine, and who may use it -----------------------------------------------------------------------


def test_neither_the_page_nor_its_worker_can_reach_another_address(browser, served):
    asked = []

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        log_message = functools.partialmethod(lambda *_: None)

    other = http.server.HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    visit = Visit(browser, served)
    visit.page.click("#example")
    visit.scores()
    reach = "(url) => fetch(url).then(() => 'reached', (reason) => 'refused')"
    address = "http://127.0.0.1:%d/" % other.server_address[1]
    assert visit.page.evaluate(reach, served) == "reached"
    assert visit.page.evaluate(reach, address) == "refused"
    assert len(visit.page.workers) == 1 and visit.page.workers[0].evaluate(reach, address) == "refused"
    visit.page.evaluate("(url) => { new Image().src = url; }", address + "picture")
    visit.page.wait_for_timeout(200)
    assert asked == []
    other.shutdown()
    visit.context.close()


def test_below_any_path_of_a_server_that_knows_nothing_the_page_works_and_its_rules_hold(browser, packed):
    class Plain(http.server.SimpleHTTPRequestHandler):  # no header, no type but what every host knows
        extensions_map = {"": "application/octet-stream", ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
        log_message = functools.partialmethod(lambda *_: None)

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Plain, directory=str(packed))) as host,
        http.server.HTTPServer(("127.0.0.1", 0), Plain) as other,
    ):
        threading.Thread(target=host.serve_forever, daemon=True).start()
        url, address = "http://127.0.0.1:%d/build/" % host.server_address[1], "http://127.0.0.1:%d/" % other.server_address[1]
        visit = Visit(browser, url)
        assert abs(visit.open(str(packed / "photo.png")) - expected(packed, "net20", photo(), visit.square())).max() < TOLERANCE
        assert all(asked.startswith((url, "blob:")) for asked in visit.asked)
        assert not [text for text in visit.complaints if "wasm" not in text]  # ONNX Runtime tells of the missing type, and goes on
        for place in (visit.page, visit.page.workers[0]):  # fetch fails at the policy, before anything is sent
            refused = """(url) => new Promise((resolve) => {
                self.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
                fetch(url, { mode: "no-cors" }).then(() => resolve("reached"), () => {});
            })"""
            assert place.evaluate(refused, address) == "connect-src"
        visit.context.close()
        host.shutdown()


def test_the_rules_of_accessibility_hold_in_light_and_dark(browser, served):
    with open(os.path.join(ROOT, "deploy", "web", "node_modules", "axe-core", "axe.min.js")) as f:
        axe = f.read()
    for scheme in ("light", "dark"):
        visit = Visit(browser, served, color_scheme=scheme, viewport={"width": 390, "height": 844})
        visit.page.click("#example")
        visit.scores()
        visit.page.evaluate(axe)
        wrong = visit.page.evaluate("async () => (await axe.run()).violations.map((v) => [v.id, v.nodes.map((n) => n.html)])")
        assert wrong == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390  # nothing sticks out on a phone
        visit.context.close()


# ---- packing and serving ------------------------------------------------------------------------------------------------


def test_the_example_is_what_demo_draws():
    drawn, there = example.draw(), cv2.imread(example.PATH, cv2.IMREAD_GRAYSCALE)
    assert abs(drawn.astype(int) - there).mean() < 1


def test_headers_and_types(served):
    import urllib.request

    for name, kind in (
        ("", "text/html"),
        ("page.js", "text/javascript"),
        ("ort/ort.wasm.min.js", "text/javascript"),
        ("ort/ort-wasm-simd-threaded.wasm", "application/wasm"),
    ):
        with urllib.request.urlopen(served + name) as answer:
            assert answer.headers.get_content_type() == kind
            assert answer.headers["Content-Security-Policy"] == serve.POLICY
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(served + "models/")


def test_the_sentence_on_accuracy_has_its_n():
    accuracy = {"split": "valid", "n": 3312, "model.onnx": {"ten_crops": 0.8179, "one_crop": 0.8}}
    said = "Of the 3,312 photographs of FER+'s validation part (PublicTest), the network net names 81.8%% right with %s and 80.0%% with one."
    for side, views in ((36, "ten crops"), (32, "face and mirror")):
        assert build.judged("net", {"accuracy": accuracy, "crop": 32, "resize": side}, "model.onnx") == said % views
    theirs = build.judged("net", {"accuracy": dict(accuracy, split="train"), "crop": 32}, "model.onnx")
    assert "3,312 photographs of the part called train" in theirs and "FER+" not in theirs


def test_a_folder_of_other_files_is_not_replaced(packed):
    (packed / "site").mkdir()
    (packed / "site" / "index.html").write_text("mine")
    with pytest.raises(errors.Fail, match="site holds something else.*choose another folder"):
        build.build("net20", str(packed / "site"), str(packed / "models"))
    assert (packed / "site" / "index.html").read_text() == "mine"


def test_what_is_no_network_is_said_in_one_line(tmp_path):
    out = tmp_path / "build"
    with pytest.raises(errors.Fail, match="MODEL=nothing is no exported network.*make one with `make export"):
        build.build("nothing", str(out), str(tmp_path))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.json").write_text("{")
    with pytest.raises(errors.Fail, match="model.json is damaged"):
        build.build("bad", str(out), str(tmp_path))
    assert not out.exists()


def test_a_taken_port_and_a_bad_port_are_said_in_one_line(packed):
    def run(port):
        ran = subprocess.run(
            [sys.executable, "-m", "deploy.web.serve", "--folder", str(packed / "build"), "--port", port], cwd=ROOT, capture_output=True, text=True, timeout=20
        )
        assert ran.returncode == 1
        return ran.stderr

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(str(port)) == "error: port %d is taken: choose another with `make try PORT=%d`\n" % (port, port + 1)
    assert run("http") == "error: PORT=http is no number: choose one as in `make try PORT=8000`\n"
    assert run("70000").startswith("error: there is no port 70000")
