// The page: pictures in, a square around a face, bars out. The work itself is done in worker.js.

import { faceSide } from "./pixels.js";

const LARGEST_SIDE = 4096; // pixels; a larger picture is made smaller first
const PAUSE = 100; // ms at least from one frame of a camera or video to the next: ten a second are enough to look at
const SMALLEST = 16; // pixels of a square's side
const STEP = 0.02; // of the square's side, for a press of an arrow key

const at = (id) => document.getElementById(id);
const stage = at("stage"), frame = at("frame"), canvas = at("picture"), video = at("video"), squareBox = at("square"), hole = at("hole");
const state = {
  models: [], // from models.json
  width: 0, height: 0, // of the picture
  squares: [], chosen: -1, // { x, y, size } in pixels of the picture, and a `label` once judged; which of them is looked at
  placed: false, // whether the chosen one lies on a face, as the detector or the visitor says: only then is it judged
  live: null, // what moves on the stage: { stream } of the camera or { url, name } of a video file
  picture: 0, // counts pictures, so that answers for an earlier one are dropped
};

// ---- the worker ---------------------------------------------------------------------------------------------------

// By way of a blob, so that the worker is bound by this page's Content-Security-Policy on hosts that send none with worker.js.
const start = new Blob([`import ${JSON.stringify(new URL("worker.js", import.meta.url))};`], { type: "text/javascript" });
const worker = new Worker(URL.createObjectURL(start), { type: "module" });
const waiting = new Map();
let asked = 0;
worker.onmessage = ({ data: { id, result, problem } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (problem === undefined) resolve(result);
  else reject(new Error(problem));
};
worker.onerror = (event) => say(`This browser could not start the page's worker (${event.message ?? "no reason given"}).`, true);

function ask(operation, rest = {}, transfer = []) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, operation, ...rest }, transfer);
  });
}

// ---- saying things ------------------------------------------------------------------------------------------------

function say(text, problem = false) {
  if (at("message").textContent !== text) at("message").textContent = text;
  at("message").classList.toggle("problem", problem);
}

const topOf = (probabilities) => probabilities.indexOf(Math.max(...probabilities));
const percent = (share) => `${(100 * share).toFixed(1)}%`;

function drawBars(classes) {
  at("bars").replaceChildren(...classes.map((name) => {
    const row = document.createElement("tr");
    row.innerHTML = '<th scope="row"></th><td class="track" aria-hidden="true"><div><div></div></div></td><td class="share">–</td>';
    row.querySelector("th").textContent = name;
    return row;
  }));
}

function showResult({ probabilities, ms, side, seen }) {
  const { classes } = model(), top = topOf(probabilities);
  [...at("bars").rows].forEach((row, i) => {
    row.querySelector("td.track div div").style.width = percent(probabilities[i]);
    row.querySelector("td.share").textContent = percent(probabilities[i]);
    row.classList.toggle("top", i === top);
  });
  at("result").classList.remove("waiting");
  at("answer").setAttribute("aria-live", state.live ? "off" : "polite"); // ten answers a second are not for reading aloud
  at("answer").textContent = `${classes[top]}, ${percent(probabilities[top])}`;
  at("seen").width = at("seen").height = side;
  at("seen").getContext("2d").putImageData(new ImageData(seen, side, side), 0, 0);
  at("seen-side").textContent = `${side} × ${side}`;
  const shown = at("crops").value === "one" ? "one crop" : many(model().crop).words;
  at("timing").textContent = `${ms.toFixed(1)} ms in the network (${model().title}, ${shown}).`;
  at("result").dataset.probabilities = JSON.stringify(probabilities);
}

function showNoResult(text) {
  at("result").classList.add("waiting");
  at("answer").textContent = text;
  delete at("result").dataset.probabilities;
}

// ---- the networks -------------------------------------------------------------------------------------------------

const model = () => state.models[at("model").selectedIndex];

/** What the choice "many" means for a network with an input of `crop` x `crop`, and which choice is usual for it. */
const many = (crop) => (faceSide(crop) > crop ? { label: "ten (as in the paper)", words: "ten crops", usual: "many" }
  : { label: "two: the face and its mirror", words: "face and mirror", usual: "one" });

async function loadModels() {
  state.models = await (await fetch("models.json")).json();
  at("model").replaceChildren(...state.models.map(({ title, bytes }) => new Option(`${title} (${(bytes / 1e6).toFixed(1)} MB)`)));
  await useModel();
}

async function useModel() {
  const { url, classes, crop, about } = model();
  const [option] = at("crops").options, { label, usual } = many(crop);
  option.text = label;
  at("crops").value = usual;
  at("about").textContent = about;
  drawBars(classes);
  showNoResult("Loading the network …");
  await ask("use", { url, crop, classes: classes.length });
  if (!state.placed) showNoResult("No face yet.");
  await score();
}

// ---- a picture ----------------------------------------------------------------------------------------------------

/** Show a picture or video file (a Blob), look for faces, and judge them. `note` is said beside what was found. */
async function openFile(blob, name, note = "") {
  if (isVideo(blob)) return openVideo(blob, name);
  const number = ++state.picture;
  let bitmap;
  try {
    bitmap = await decode(blob);
    if (number !== state.picture) return; // another was opened meanwhile
  } catch {
    return say(`${name} is no picture that this browser can read (JPEG, PNG, WebP and GIF are).`, true);
  }
  await show(bitmap, bitmap.shrunk ? `${name} is very large: shown at ${bitmap.width} × ${bitmap.height} pixels.` : note);
}

/** An ImageBitmap, turned as the file says, its numbers as they are in the file (no colour profile), at most LARGEST_SIDE a side. */
async function decode(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const scale = LARGEST_SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) return bitmap;
  const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const smaller = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" });
  bitmap.close();
  return Object.assign(smaller, { shrunk: true });
}

/** Make `bitmap` the picture: draw it, look for faces, judge one. `note` is said beside what was found. */
async function show(bitmap, note) {
  stopLive();
  const number = ++state.picture;
  Object.assign(state, { width: bitmap.width, height: bitmap.height, squares: [], chosen: -1, placed: false });
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  setView("picture");
  drawSquares();
  showNoResult("Looking for a face …");
  say(note);
  await ask("open", { bitmap }, [bitmap]);
  const faces = await ask("find");
  if (number !== state.picture) return;
  say([note, found(faces.length)].join(" ").trim());
  Object.assign(state, { squares: faces.length ? faces : [middle()], chosen: 0, placed: faces.length > 0 });
  drawSquares();
  if (!state.placed) showNoResult("No face yet.");
  await score();
}

function found(count) {
  if (!count) return "No face found by itself: drag the square onto one.";
  return count === 1 ? "Found one face." : `Found ${count} faces: the largest is chosen; pick another by clicking its square.`;
}

function middle() {
  const size = Math.max(1, Math.round(0.7 * Math.min(state.width, state.height)));
  return { x: Math.round((state.width - size) / 2), y: Math.round((state.height - size) / 2), size };
}

/** What the stage holds: "empty", "picture", or "live": camera or video. */
function setView(view) {
  stage.classList.toggle("empty", view === "empty");
  at("invitation").hidden = view !== "empty";
  frame.hidden = view === "empty";
  canvas.hidden = view === "live";
  video.hidden = view !== "live";
  frame.classList.toggle("mirrored", Boolean(state.live?.stream));
  at("square-help").hidden = view !== "picture";
  squareBox.classList.toggle("fixed", view === "live");
  squareBox.tabIndex = view === "live" ? -1 : 0;
  at("camera").textContent = view === "live" ? "Freeze this picture" : "Use the camera";
}

/** How faces are judged now; a label holds for one way. */
const way = () => `${at("model").selectedIndex} ${at("crops").value}`;

/** Judge a square, note its label, and return the worker's answer. */
async function judge(square) {
  const { classes } = model(), judged = way();
  const result = await ask("score", { square, many: at("crops").value === "many" }), top = topOf(result.probabilities);
  Object.assign(square, { judged, label: `${classes[top]} ${Math.round(100 * result.probabilities[top])}%` });
  return result;
}

let scoring = false, again = false;
/** Judge the chosen square, then those not judged yet; what changes meanwhile (a drag, another network) is judged after it. */
async function score() {
  if (!state.placed || state.live) return;
  again = true;
  if (scoring) return;
  scoring = true;
  try {
    while (again && state.placed && !state.live) {
      again = false;
      const number = state.picture, used = model();
      const stale = () => number !== state.picture || used !== model() || state.live;
      const result = await judge(state.squares[state.chosen]);
      if (stale()) continue;
      showResult(result);
      putLabels();
      for (const square of state.squares) {
        if (again || stale()) break;
        if (square.judged !== way()) await judge(square);
        putLabels();
      }
    }
  } finally {
    scoring = false;
  }
}

// ---- the square ---------------------------------------------------------------------------------------------------

/** Lay elements over a square of the picture. */
function put({ x, y, size }, ...boxes) {
  for (const { style } of boxes) {
    style.left = `${(100 * x) / state.width}%`;
    style.top = `${(100 * y) / state.height}%`;
    style.width = `${(100 * size) / state.width}%`;
    style.height = `${(100 * size) / state.height}%`;
  }
}

function putChosen() {
  const square = state.squares[state.chosen];
  squareBox.hidden = hole.hidden = !square;
  if (!square) return;
  put(square, squareBox, hole);
  squareBox.dataset.square = JSON.stringify(square);
  putLabels();
}

function drawSquares() {
  putChosen();
  at("others").replaceChildren(...state.squares.flatMap((square, i) => {
    if (i === state.chosen) return [];
    const box = document.createElement(state.live ? "div" : "button"); // what moves by itself is not for choosing
    box.className = "other";
    box.dataset.face = i;
    box.innerHTML = '<span class="unseen"></span> <span class="label"></span>';
    box.firstChild.textContent = `face ${i + 1} of ${state.squares.length}: choose it`;
    box.onclick = () => { state.chosen = i; drawSquares(); squareBox.focus(); score(); };
    put(square, box);
    return [box];
  }));
  putLabels();
}

/** Write each face's label above its square; below where the picture ends or another label lies, the word alone inside a small one. */
function putLabels() {
  const taken = [];
  for (const box of [squareBox, ...at("others").children]) {
    const square = state.squares[box.dataset.face ?? state.chosen], label = box.querySelector(".label");
    if (!square) continue;
    const text = square.judged === way() ? square.label : "";
    if (label.textContent !== text) label.textContent = text;
    box.classList.toggle("east", square.x + square.size / 2 > state.width / 2); // so that it reaches into the picture
    box.classList.remove("below", "small");
    if (label.offsetWidth > 1.4 * box.offsetWidth) {
      label.textContent = text.split(" ")[0];
      box.classList.add("small");
      continue;
    }
    const top = frame.getBoundingClientRect().top, place = label.getBoundingClientRect();
    box.classList.toggle("below", place.top < top || taken.some((other) => meet(place, other)));
    taken.push(label.getBoundingClientRect());
  }
}

const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** Set the chosen square to whole pixels, at least three quarters of it over the picture each way, and judge it. */
function moveSquare(x, y, size) {
  size = Math.round(Math.min(Math.max(size, SMALLEST), Math.max(state.width, state.height, SMALLEST)));
  const place = (start, side) => Math.round(Math.min(Math.max(start, -size / 4), side - 0.75 * size));
  state.squares[state.chosen] = { x: place(x, state.width), y: place(y, state.height), size };
  state.placed = true;
  putChosen();
  score();
}

squareBox.addEventListener("pointerdown", (down) => {
  const corner = down.target.dataset.corner, from = { ...state.squares[state.chosen] };
  const scale = state.width / frame.getBoundingClientRect().width;
  squareBox.setPointerCapture(down.pointerId);
  const move = (event) => {
    const dx = (event.clientX - down.clientX) * scale, dy = (event.clientY - down.clientY) * scale;
    if (!corner) return moveSquare(from.x + dx, from.y + dy, from.size);
    const south = corner[0] === "s", east = corner[1] === "e"; // the opposite corner stays where it is
    const size = Math.max(from.size + Math.max(east ? dx : -dx, south ? dy : -dy), SMALLEST);
    moveSquare(east ? from.x : from.x + from.size - size, south ? from.y : from.y + from.size - size, size);
  };
  const end = () => squareBox.removeEventListener("pointermove", move);
  squareBox.addEventListener("pointermove", move);
  squareBox.addEventListener("pointerup", end, { once: true });
  squareBox.addEventListener("pointercancel", end, { once: true });
});

squareBox.addEventListener("keydown", (event) => {
  const { x, y, size } = state.squares[state.chosen], step = Math.max(1, STEP * size);
  const moves = {
    ArrowLeft: [-step, 0, 0], ArrowRight: [step, 0, 0], ArrowUp: [0, -step, 0], ArrowDown: [0, step, 0],
    "+": [-step, -step, 2 * step], "=": [-step, -step, 2 * step], "-": [step, step, -2 * step],
  };
  if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const [dx, dy, grown] = moves[event.key];
  moveSquare(x + dx, y + dy, size + grown);
});

// ---- the camera and videos ----------------------------------------------------------------------------------------

const CAMERA_PROBLEMS = {
  NotAllowedError: "The browser was not allowed to use the camera: allow it for this page, or choose a picture.",
  NotFoundError: "No camera was found: choose a picture instead.",
  NotReadableError: "The camera is in use by another program.",
};

async function startCamera() {
  if (!navigator.mediaDevices) return say("This browser gives a camera only to pages on https, 127.0.0.1 or localhost.", true);
  say("Waiting for the camera …");
  at("camera").disabled = true;
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
    stream.getVideoTracks()[0].onended = () => {
      if (state.live?.stream !== stream) return;
      clear();
      say("The camera was switched off.", true);
    };
    await play({ stream });
  } catch (reason) {
    say(CAMERA_PROBLEMS[reason.name] ?? `The camera did not start (${reason.message}).`, true);
  } finally {
    at("camera").disabled = false;
  }
}

const isVideo = ({ type, name = "" }) => type.startsWith("video/") || (!type && /\.(mp4|m4v|mov|mkv|webm|ogv)$/i.test(name));

async function openVideo(blob, name) {
  await play({ url: URL.createObjectURL(blob), name }).catch(() => {
    say(`${name} is no video that this browser can play (most play MP4 with H.264, and WebM).`, true);
  });
}

/** Put `live` on the stage and judge its frames until something else takes its place. Fail, with an empty stage, where it does not play. */
async function play(live) {
  clear();
  state.live = live;
  if (live.stream) video.srcObject = live.stream;
  else video.src = live.url;
  video.controls = !live.stream;
  video.setAttribute("aria-label", live.stream ? "the camera's picture" : "the video");
  try {
    await video.play();
  } catch (reason) {
    if (state.live !== live) return; // another took its place while it loaded
    clear();
    throw reason;
  }
  if (state.live !== live) return;
  setView("live");
  watch(live).catch(trouble);
}

/** Judge the faces of frame after frame while `live` is on the stage; the bars are the largest one's. */
async function watch(live) {
  let before = 0, judged = "";
  while (state.live === live) {
    await new Promise((next) => setTimeout(next, Math.max(0, before + PAUSE - performance.now())));
    await new Promise(requestAnimationFrame); // none while the page is out of sight
    before = performance.now();
    if (state.live !== live) return;
    const shown = `${video.currentTime} ${way()}`;
    if (shown === judged) continue; // paused
    judged = shown;
    const bitmap = await createImageBitmap(video);
    if (state.live !== live) return; // a picture was opened meanwhile: this frame must not take its place
    Object.assign(state, { width: bitmap.width, height: bitmap.height });
    await ask("open", { bitmap }, [bitmap]);
    const faces = await ask("find"), results = [];
    for (const face of faces) results.push(await judge(face));
    if (state.live !== live) return;
    Object.assign(state, { squares: faces, chosen: faces.length ? 0 : -1 });
    drawSquares();
    say(faces.length ? `${live.name ?? "The camera"} runs; the bars are the largest face's.` : "No face in view.");
    if (faces.length) showResult(results[0]);
    else showNoResult("No face in view.");
  }
}

function stopLive() {
  state.live?.stream?.getTracks().forEach((track) => track.stop());
  if (state.live?.url) URL.revokeObjectURL(state.live.url);
  state.live = null;
  video.removeAttribute("src");
  video.srcObject = null;
}

/** Empty the stage. */
function clear() {
  stopLive();
  Object.assign(state, { squares: [], chosen: -1, placed: false, picture: state.picture + 1 });
  drawSquares();
  setView("empty");
  showNoResult("No face yet.");
}

/** Keep the frame that is shown as a picture whose square can be moved. */
async function keepFrame() {
  await show(await createImageBitmap(video), "");
}

// ---- buttons, drops, pastes ---------------------------------------------------------------------------------------

/** Say what went wrong inside: a network that does not load, a worker that gave up. */
const trouble = (reason) => say(`Something went wrong: ${reason.message}`, true);
const safely = (action) => (...args) => Promise.resolve(action(...args)).catch(trouble);

at("choose").onclick = () => at("file").click();
at("file").onchange = safely(async ({ target }) => {
  const [file] = target.files;
  target.value = ""; // so that the same file can be chosen again
  if (file) await openFile(file, file.name);
});
at("camera").onclick = safely(() => (state.live ? keepFrame() : startCamera()));
at("example").onclick = safely(async () => openFile(
  await (await fetch("example.png")).blob(), "The example", "Drawings, which the networks never saw: a trial of the page, not of them."));
at("model").onchange = safely(useModel);
at("crops").onchange = safely(score);

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("over");
});
document.addEventListener("dragleave", (event) => event.relatedTarget ?? stage.classList.remove("over"));
document.addEventListener("drop", safely(async (event) => {
  event.preventDefault();
  stage.classList.remove("over");
  await take(event.dataTransfer);
}));
document.addEventListener("paste", safely((event) => take(event.clipboardData)));

/** The first file that was dropped or pasted. */
async function take(data) {
  const [file] = data?.files ?? [];
  if (file) await openFile(file, file.name || "what was pasted");
  else say("That held no picture or video file. Save it first, then drop or choose the file.", true);
}

safely(loadModels)();
