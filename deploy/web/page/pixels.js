// From pixels to the network's input, to the same bytes as the Python side makes with OpenCV (tests/test_web.py compares them).

const RESIZED = 36; // the paper's III-C: resize to 36x36, of which III-D's ten crops of 32x32 are cut; a larger network takes the face whole
const FER_SIDE = 48; // FER2013's images, which the networks learned from
const WEIGHT = 2048; // OpenCV's fixed point for INTER_LINEAR on bytes: 11 bits a weight

/** The side in pixels of the face that a network with an input of `crop` x `crop` is shown parts of. */
export const faceSide = (crop) => Math.max(RESIZED, crop);

/**
 * A square of a picture as the networks take it, as fer_lite/faces.py's `cut`: Uint8Array of `side` x `side` grey levels, by way of
 * FER2013's 48 x 48. `square` ({ x, y, size }, whole pixels) may reach beyond the picture, whose edge is continued there;
 * `pixels(x, y, width, height)` gives RGBA bytes of the picture, `width` x `height`.
 */
export function cut({ x, y, size }, width, height, pixels, side) {
  const left = Math.max(x, 0), top = Math.max(y, 0);
  const inside = Math.min(x + size, width) - left, rows = Math.min(y + size, height) - top;
  const part = grey(pixels(left, top, inside, rows), inside * rows), face = new Uint8Array(size * size);
  for (let i = 0; i < size; i++) {
    const row = Math.min(Math.max(y + i - top, 0), rows - 1) * inside;
    for (let j = 0; j < size; j++) face[i * size + j] = part[row + Math.min(Math.max(x + j - left, 0), inside - 1)];
  }
  return resizeLinear((size > FER_SIDE ? resizeArea : resizeLinear)(face, size, FER_SIDE), FER_SIDE, side);
}

/** Grey levels (Uint8Array of `count`) of `count` RGBA pixels, with OpenCV's weights for BGR2GRAY in 15 bits. */
export function grey(rgba, count) {
  const out = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    out[i] = (9798 * rgba[4 * i] + 19235 * rgba[4 * i + 1] + 3735 * rgba[4 * i + 2] + 16384) >> 15;
  }
  return out;
}

/** cv2.resize(..., INTER_LINEAR) of a square grey image: Uint8Array of `side` x `side` -> of `to` x `to`. */
export function resizeLinear(image, side, to) {
  if (side === to) return image;
  if (side === 2 * to) return halve(image, side); // where OpenCV, too, takes the mean of four
  const { at, next } = linearPlaces(side, to);
  const last = side - 1, rows = new Int32Array(side * to);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < to; x++) {
      const place = y * side + at[x]; // beyond the edges OpenCV takes the edge's pixel alone here, and two weights of it below
      if (at[x] < 0 || at[x] >= last) rows[y * to + x] = image[y * side + (at[x] < 0 ? 0 : last)] * WEIGHT;
      else rows[y * to + x] = image[place] * (WEIGHT - next[x]) + image[place + 1] * next[x];
    }
  }
  const out = new Uint8Array(to * to);
  for (let y = 0; y < to; y++) {
    const above = Math.max(at[y], 0) * to, below = Math.min(at[y] + 1, last) * to;
    for (let x = 0; x < to; x++) {
      const upper = ((WEIGHT - next[y]) * (rows[above + x] >> 4)) >> 16, lower = (next[y] * (rows[below + x] >> 4)) >> 16;
      out[y * to + x] = (upper + lower + 2) >> 2;
    }
  }
  return out;
}

/** For each of `to` places: the pixel at or before it (-1 before the first), and the weight (of WEIGHT) of the one after that. */
function linearPlaces(side, to) {
  const at = new Int32Array(to), next = new Int32Array(to);
  for (let i = 0; i < to; i++) {
    const place = Math.fround((i + 0.5) * (side / to) - 0.5);
    at[i] = Math.floor(place);
    next[i] = roundHalfEven(Math.fround(place - at[i]) * WEIGHT);
  }
  return { at, next };
}

export function roundHalfEven(value) {
  const down = Math.floor(value), rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2) ? down + 1 : down;
}

/** cv2.resize(..., INTER_AREA) of a square grey image to a smaller one: Uint8Array of `side` x `side` -> of `to` x `to`. */
export function resizeArea(image, side, to) {
  if (side === 2 * to) return halve(image, side);
  if (side % to === 0) return meanOfBlocks(image, side, to);
  const shares = areaShares(side, to), out = new Uint8Array(to * to);
  const row = new Float32Array(to), sum = new Float32Array(to); // float32, added up in OpenCV's order
  for (let y = 0; y < to; y++) {
    sum.fill(0);
    for (const [above, weight] of shares[y]) {
      row.fill(0);
      for (let x = 0; x < to; x++) {
        for (const [before, share] of shares[x]) row[x] += Math.fround(image[above * side + before] * share);
        sum[x] += Math.fround(weight * row[x]);
      }
    }
    for (let x = 0; x < to; x++) out[y * to + x] = roundHalfEven(sum[x]);
  }
  return out;
}

/** For each of `to` places: [pixel, its share of that place] of all pixels under it. */
function areaShares(side, to) {
  const scale = side / to;
  return Array.from({ length: to }, (_, i) => {
    const start = i * scale, end = start + scale, width = Math.min(scale, side - start), found = [];
    const last = Math.min(Math.floor(end), side - 1), first = Math.min(Math.ceil(start), last);
    if (first - start > 1e-3) found.push([first - 1, Math.fround((first - start) / width)]);
    for (let j = first; j < last; j++) found.push([j, Math.fround(1 / width)]);
    if (end - last > 1e-3) found.push([last, Math.fround(Math.min(end - last, 1, width) / width)]);
    return found;
  });
}

function meanOfBlocks(image, side, to) {
  const block = side / to, share = Math.fround(1 / (block * block)), out = new Uint8Array(to * to);
  for (let y = 0; y < to; y++) {
    for (let x = 0; x < to; x++) {
      let sum = 0;
      for (let i = 0; i < block; i++) {
        for (let j = 0; j < block; j++) sum += image[(y * block + i) * side + x * block + j];
      }
      out[y * to + x] = roundHalfEven(Math.fround(sum * share));
    }
  }
  return out;
}

function halve(image, side) {
  const to = side / 2, out = new Uint8Array(to * to);
  for (let y = 0; y < to; y++) {
    for (let x = 0; x < to; x++) {
      const i = 2 * y * side + 2 * x;
      out[y * to + x] = (image[i] + image[i + 1] + image[i + side] + image[i + side + 1] + 2) >> 2;
    }
  }
  return out;
}

/**
 * The crops of a grey `side` x `side` face (fer_lite/crops.py's order), as Float32Array N x 3 x `crop` x `crop` of 0..255, the same on all
 * three channels: with `many` four corners, centre, and the five mirrored, or of a face that is taken whole it and its mirror; else
 * the centre alone. The mean is subtracted in the network.
 */
export function crops(face, side, crop, many) {
  const far = side - crop, middle = far / 2;
  const corners = far ? [[0, 0], [0, far], [far, 0], [far, far], [middle, middle]] : [[0, 0]];
  const shown = many ? [false, true].flatMap((mirror) => corners.map((corner) => [...corner, mirror])) : [[middle, middle, false]];
  const plane = crop * crop, out = new Float32Array(shown.length * 3 * plane);
  shown.forEach(([top, left, mirror], n) => {
    const first = out.subarray(3 * n * plane, (3 * n + 1) * plane);
    for (let y = 0; y < crop; y++) {
      for (let x = 0; x < crop; x++) {
        first[y * crop + x] = face[(top + y) * side + left + (mirror ? crop - 1 - x : x)];
      }
    }
    out.set(first, (3 * n + 1) * plane);
    out.set(first, (3 * n + 2) * plane);
  });
  return out;
}
