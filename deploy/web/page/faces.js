// Faces by YuNet, OpenCV's face detector, decoded as cv2.FaceDetectorYN does, and squares around them: the same as in
// fer_lite/faces.py, where these numbers' reasons stand (tests/test_web.py compares what both find).

import { roundHalfEven } from "./pixels.js";

const SIDE = 640; // of the model's input; a picture is fitted into it, with zeros beyond
const STRIDES = [8, 16, 32];
const SCORE = 0.7; // faces surer than this
const OVERLAP = 0.3; // of two faces that share more of their area (intersection over union) the surer one is kept
const SQUARE = 1.15; // side of FER2013's square, in roots of the area of YuNet's box

let session = null;

/** Load YuNet from `url` if it is not there yet. */
export async function loadDetector(ort, url) {
  session ??= { ort, model: await ort.InferenceSession.create(url) };
}

/**
 * Squares around the faces of `bitmap`, largest first: [{ x, y, size }], whole pixels, of the picture or beyond it.
 * `pixels(bitmap, x, y, width, height, toWidth, toHeight)` gives RGBA bytes.
 */
export async function findFaces(bitmap, pixels) {
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  return (await detect(bitmap, pixels, scale)).sort((a, b) => b.width * b.height - a.width * a.height).map((box) => square(box, scale));
}

/** YuNet's boxes on the picture at `scale`: [{ x, y, width, height, score }] in the scaled picture's pixels. */
async function detect(bitmap, pixels, scale) {
  const width = Math.max(1, Math.round(bitmap.width * scale)), height = Math.max(1, Math.round(bitmap.height * scale));
  const rgba = pixels(bitmap, 0, 0, bitmap.width, bitmap.height, width, height);
  const input = new Float32Array(3 * SIDE * SIDE);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) input[c * SIDE * SIDE + y * SIDE + x] = rgba[4 * (y * width + x) + 2 - c]; // BGR
    }
  }
  const { ort, model } = session;
  const out = await model.run({ [model.inputNames[0]]: new ort.Tensor("float32", input, [1, 3, SIDE, SIDE]) });
  return apart(STRIDES.flatMap((stride) => boxes(stride, ...["cls", "obj", "bbox"].map((name) => out[`${name}_${stride}`].data))));
}

/** The boxes of one stride's cells. `seen`, `there`: a number a cell, 0 to 1; `shape`: four a cell, in cells. */
function boxes(stride, seen, there, shape) {
  const columns = SIDE / stride, found = [];
  for (let i = 0; i < seen.length; i++) {
    const score = Math.sqrt(Math.min(Math.max(seen[i], 0), 1) * Math.min(Math.max(there[i], 0), 1));
    if (score < SCORE) continue;
    const [dx, dy, w, h] = shape.subarray(4 * i, 4 * i + 4);
    const width = Math.exp(w) * stride, height = Math.exp(h) * stride;
    const x = ((i % columns) + dx) * stride - width / 2, y = (Math.floor(i / columns) + dy) * stride - height / 2;
    found.push({ x, y, width, height, score });
  }
  return found;
}

/** The boxes without those that a surer one covers (non-maximum suppression). */
function apart(found) {
  const kept = [];
  for (const box of found.sort((a, b) => b.score - a.score)) {
    if (kept.every((other) => shared(box, other) <= OVERLAP)) kept.push(box);
  }
  return kept;
}

function shared(a, b) {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  const both = Math.max(0, width) * Math.max(0, height);
  return both / (a.width * a.height + b.width * b.height - both);
}

/** FER2013's square around a box on the picture at `scale`. */
function square(box, scale) {
  const [x, y, width, height] = [box.x, box.y, box.width, box.height].map((value) => roundHalfEven(value / scale));
  const size = Math.max(1, roundHalfEven(SQUARE * Math.sqrt(width * height)));
  return { x: roundHalfEven(x + width / 2 - size / 2), y: roundHalfEven(y + height / 2 - size / 2), size };
}
