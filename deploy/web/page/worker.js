// What takes time, off the page's own thread: one picture at a time, its faces, and the network's answer for a square of it.
import * as ort from "./ort/ort.wasm.min.js";
import { findFaces, loadDetector } from "./faces.js";
import { crops, cut, faceSide } from "./pixels.js";

const beside = (name) => new URL(name, import.meta.url).href; // wherever the page lies
ort.env.wasm.wasmPaths = { mjs: beside("ort/ort-wasm-simd-threaded.js"), wasm: beside("ort/ort-wasm-simd-threaded.wasm") };
ort.env.wasm.numThreads = 1; // more need headers that plain servers do not send; these networks gain little from them
ort.env.logLevel = "error";

const drawing = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true, alpha: false });
let network = null; // { session, classes, crop }
let picture = null; // ImageBitmap

const operations = {
  /** Load the network `url`, which takes `crop` x `crop` pixels and has `classes` outputs. */
  async use({ url, classes, crop }) {
    await network?.session.release();
    network = null; // so that nothing is judged by it under the new one's name, should that not load
    const session = await ort.InferenceSession.create(beside(url)).catch((reason) => {
      throw new Error(`${url} is no network that ONNX Runtime can load (${reason.message})`);
    });
    const answer = await run(session, new Float32Array(3 * crop * crop), crop).catch((reason) => {
      throw new Error(`${url} does not take ${crop}x${crop} crops of three channels (${reason.message})`);
    });
    if (answer.length !== classes) throw new Error(`${url} answers with ${answer.length} numbers, not ${classes}`);
    network = { session, classes, crop };
  },

  /** Take a new picture (an ImageBitmap, ours from now on). */
  async open({ bitmap }) {
    picture?.close();
    picture = bitmap;
  },

  /** Squares around the faces of the picture, largest first: [{ x, y, size }]. */
  async find() {
    await loadDetector(ort, beside("yunet.onnx"));
    return findFaces(picture, pixels);
  },

  /** `probabilities` of the face in `square` by many crops or one, `ms` in the network, and what it saw (`side` x `side` RGBA). */
  async score({ square, many }) {
    if (!network) throw new Error("there is no network to judge with: choose another");
    const side = faceSide(network.crop);
    const face = cut(square, picture.width, picture.height, (...part) => pixels(picture, ...part), side);
    const input = crops(face, side, network.crop, many), start = performance.now();
    const each = await run(network.session, input, network.crop);
    const ms = performance.now() - start, count = each.length / network.classes;
    const probabilities = Array.from({ length: network.classes }, (_, c) => {
      let sum = 0;
      for (let n = 0; n < count; n++) sum += each[n * network.classes + c];
      return sum / count;
    });
    return { probabilities, ms, side, seen: Uint8ClampedArray.from({ length: 4 * face.length }, (_, i) => (i % 4 === 3 ? 255 : face[i >> 2])) };
  },
};

async function run(session, input, crop) {
  const shape = [input.length / (3 * crop * crop), 3, crop, crop];
  const results = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", input, shape) });
  return results[session.outputNames[0]].data;
}

/** RGBA bytes of a part of a bitmap (on white where it is transparent), drawn at another size if asked to. */
function pixels(bitmap, x, y, width, height, toWidth = width, toHeight = height) {
  if (drawing.canvas.width !== toWidth) drawing.canvas.width = toWidth;
  if (drawing.canvas.height !== toHeight) drawing.canvas.height = toHeight;
  drawing.fillStyle = "#fff";
  drawing.fillRect(0, 0, toWidth, toHeight);
  drawing.imageSmoothingQuality = "high";
  drawing.drawImage(bitmap, x, y, width, height, 0, 0, toWidth, toHeight);
  return drawing.getImageData(0, 0, toWidth, toHeight).data;
}

let queue = Promise.resolve(); // one operation at a time, in the order asked for
onmessage = ({ data: { id, operation, ...rest } }) => {
  queue = queue.then(async () => {
    try {
      postMessage({ id, result: await operations[operation](rest) });
    } catch (reason) {
      postMessage({ id, problem: reason.message ?? String(reason) });
    }
  });
};
