// A poem as a picture, in the colours and the layout of the sheet.

const SIZE = 44; // of a character, in pixels of the picture
const SMALL = 20;
const EDGE = 72; // between the frame and the verse
const ROW = 1.75; // from one row of verse to the next, in characters
const FRAME = 20;
const SCALE = 2; // sharp on screens of high resolution, too

/** Draw a poem and return it as PNG. */
export async function draw(poem, heading, layout) {
  const look = colours();
  const strips = stripsOf(poem, heading, layout);
  const longest = Math.max(...strips.map((strip) => strip.length));
  const [along, across] = [longest * SIZE * 1.12, strips.length * SIZE * ROW];
  const width = Math.max(layout === "down" ? across : along, 4 * SIZE) + 2 * EDGE;
  const height = (layout === "down" ? along : across) + 2 * EDGE + SMALL * 2;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width * SCALE, height * SCALE];
  const pen = canvas.getContext("2d");
  pen.scale(SCALE, SCALE);
  pen.fillStyle = look.paper;
  pen.fillRect(0, 0, width, height);
  pen.strokeStyle = look.line;
  pen.strokeRect(FRAME, FRAME, width - 2 * FRAME, height - 2 * FRAME);
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  strips.forEach((strip, number) => setStrip(pen, look, strip, number, { layout, width }));
  seal(pen, look, EDGE, height - EDGE + SMALL / 2);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function colours() {
  const sheet = getComputedStyle(document.getElementById("sheet"));
  const mark = getComputedStyle(document.getElementById("caption"));
  const accent = getComputedStyle(document.querySelector(".seal"));
  const verse = getComputedStyle(document.getElementById("verse"));
  return {
    paper: sheet.backgroundColor,
    line: sheet.borderTopColor,
    ink: sheet.color,
    soft: mark.color,
    accent: accent.backgroundColor,
    onAccent: accent.color,
    font: verse.fontFamily,
  };
}

/** Return the rows (or columns) of the picture as lists of `{text, soft, small}`. */
function stripsOf({ rows, tune }, heading, layout) {
  const strips = heading ? [[...heading].map((text) => ({ text, soft: true, small: true }))] : [];
  let strip = [];
  for (const { text, mark, ends } of rows) {
    strip.push(...[...text].map((character) => ({ text: character })));
    if (mark) strip.push({ text: mark, soft: true });
    // Lines of a regulated poem stand alone when set down; the lines of a stanza run on.
    if (ends || (layout === "down" && !tune) || strip.length > 24) {
      strips.push(strip);
      strip = [];
    }
  }
  return strip.length ? [...strips, strip] : strips;
}

function setStrip(pen, look, strip, number, { layout, width }) {
  const offset = EDGE + SIZE * (ROW / 2 + number * ROW);
  strip.forEach(({ text, soft, small }, place) => {
    const size = small ? SIZE * 0.65 : SIZE;
    // Lines stand in the middle, below their title, as on the sheet; set down they begin at the top.
    const length = strip.reduce((sum, each) => sum + (each.small ? SIZE * 0.65 : SIZE) * 1.12, 0);
    const begin = layout === "down" ? EDGE : (width - length) / 2;
    const along = begin + size * 0.56 + place * size * 1.12;
    pen.font = `${size}px ${look.font}`;
    pen.fillStyle = soft ? look.soft : look.ink;
    if (layout !== "down") pen.fillText(text, along, offset);
    else if (/[，。、；：？！]/u.test(text) && soft) pen.fillText(text, width - offset + SIZE * 0.55, along - SIZE * 0.6);
    else pen.fillText(text, width - offset, along);
  });
}

function seal(pen, look, x, y) {
  pen.fillStyle = look.accent;
  pen.beginPath();
  pen.roundRect(x, y - 17, 34, 34, 5);
  pen.fill();
  pen.fillStyle = look.onAccent;
  pen.font = `22px ${look.font}`;
  pen.fillText("诗", x + 17, y + 1);
}
