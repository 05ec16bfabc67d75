// The labelling page: state, views, keys. Every label is on disk before the page shows it.

import { Grid } from "/grid.js";
import { drawCurve } from "/curve.js";
import { colour, drawMap, fitMap } from "/map.js";

const $ = (id) => document.getElementById(id);
const EDITOR = crypto.randomUUID(); // of this tab, for undo
let state = null;
let lasso = [];
let mapVersion = -1;
let near = null;

async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer: was it stopped? All labels that were shown are saved. Start it again and reload.");
  }
  const answer = response.headers.get("content-type")?.includes("json") ? await response.json() : { message: await response.text() };
  if (!response.ok) throw Object.assign(new Error(answer.message), { labels: answer.labels });
  return answer;
}

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

const grid = new Grid($("grid"), $("canvas"), (rows) => ask(`/api/images?rows=${rows}`));

/** Show the rows of the chosen view. */
async function showView() {
  const [view, argument] = JSON.parse($("view").value);
  const rows = view === "lasso" ? lasso : await ask(`/api/rows?${new URLSearchParams({ view, argument })}`);
  grid.show(rows);
  $("count").textContent = `${rows.length.toLocaleString()} images`;
}

function fillViews() {
  const options = [["Suggested next", ["suggestions", ""]], ["Most doubtful", ["doubtful", ""]]];
  if (state.classes.length) options.push(["Unlike all labels", ["unlike", ""]]);
  if (lasso.length) options.push(["Lasso on the map", ["lasso", ""]]);
  if (near !== null) options.push([`Nearest to image ${near}`, ["near", String(near)]]);
  for (const { name, labels, guesses } of state.classes) {
    if (guesses) options.push([`Guessed ${name} (${guesses.toLocaleString()})`, ["guess", name]]);
    options.push([`Labelled ${name} (${labels.toLocaleString()})`, ["label", name]]);
  }
  for (let k = 0; k < state.clusters; k++) options.push([`Cluster ${k + 1}`, ["cluster", String(k)]]);
  options.push(["All images", ["all", ""]]);
  const kept = $("view").value;
  $("view").replaceChildren(...options.map(([text, value]) => new Option(text, JSON.stringify(value))));
  if (options.some(([, value]) => JSON.stringify(value) === kept)) $("view").value = kept;
}

function showState(next) {
  state = next;
  $("progress").textContent = `${state.labelled.toLocaleString()} of ${state.images.toLocaleString()} images labelled`;
  showEstimate(state);
  $("names").replaceChildren(...state.classes.map(({ name }) => new Option(name)));
  $("classes").replaceChildren(...state.classes.map(({ name, labels, guesses }, k) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const dot = document.createElement("i"), text = document.createElement("b"), counts = document.createElement("span");
    dot.style.background = colour(k);
    text.textContent = name;
    counts.textContent = `${labels} + ${guesses.toLocaleString()} guessed`;
    button.append(dot, text, counts);
    if (k < 9) button.append(Object.assign(document.createElement("kbd"), { textContent: k + 1 }));
    button.addEventListener("click", () => label(name));
    const rename = Object.assign(document.createElement("button"), { textContent: "✎", title: `Rename ${name}` });
    rename.addEventListener("click", () => renameClass(name));
    item.append(button, rename);
    return item;
  }));
  fillViews();
}

/** What the labels tell about the guesses: it comes some seconds after them. */
function showEstimate({ advice, curve }) {
  if ($("advice").textContent === advice) return;
  $("advice").textContent = advice;
  $("curve").hidden = !curve.length;
  if (curve.length) drawCurve($("curve"), curve);
  fitMap($("map")); // the curve takes some of its height
}
window.addEventListener("resize", () => state?.curve.length && drawCurve($("curve"), state.curve));

async function updateMap() {
  const data = await ask("/api/map");
  mapVersion = data.version;
  drawMap($("map"), data, {
    lasso: (rows) => { lasso = rows; openView(["lasso", ""]); },
    click: (row) => { near = row; openView(["near", String(row)]); },
  });
}

function openView(value) {
  fillViews();
  $("view").value = JSON.stringify(value);
  attempt(showView);
}

/** Run a step; show what went wrong instead of hiding it. */
async function attempt(step) {
  try {
    await step();
  } catch (error) {
    say(error.message);
    if (error.labels) grid.refresh();
  }
}

/** Label the chosen images, or take their labels away (null). */
function label(name) {
  return attempt(async () => {
    const rows = grid.chosen();
    if (!rows.length) return;
    const seen = rows.map((row) => grid.known.get(row)?.label);
    if (seen.includes(undefined)) {
      await grid.fetch(rows);
      rows.forEach((row, k) => { seen[k] = grid.known.get(row).label; });
    }
    const next = await ask("/api/label", { rows, label: name, seen, editor: EDITOR });
    say("");
    grid.advance();
    grid.refresh();
    showState(next);
    await updateMap();
    if (JSON.parse($("view").value)[0] === "suggestions") await suggestAnew();
  });
}

/** Give all images of a class another label. */
function renameClass(name) {
  const other = prompt(`Another name for "${name}":`, name)?.trim();
  if (!other || other === name || !confirmed(other, name)) return undefined;
  return attempt(async () => {
    const rows = await ask(`/api/rows?${new URLSearchParams({ view: "label", argument: name })}`);
    const next = await ask("/api/label", { rows, label: other, seen: rows.map(() => name), editor: EDITOR });
    say("");
    grid.refresh();
    showState(next);
    await updateMap();
  });
}

/** Ask before a name is used that is nearly that of another class, or, when a class is renamed, just that. */
function confirmed(name, renamed = null) {
  const near = state.classes.find((other) => other.name !== renamed && plain(other.name) === plain(name));
  if (!near || (near.name === name && renamed === null)) return true;
  if (near.name === name) return confirm(`There is the class "${name}" already. Make both one class?`);
  return confirm(`There is the class "${near.name}" already. Is "${name}" another class?`);
}

/** Ask for other suggestions once all of them are labelled. */
async function suggestAnew() {
  await grid.fetch(grid.rows);
  if (grid.rows.every((row) => grid.known.get(row).label !== null)) await showView();
}

function undo() {
  return attempt(async () => {
    const next = await ask("/api/undo", { editor: EDITOR });
    say(next.rows.length ? "" : "There is nothing to undo in this tab.");
    grid.refresh();
    showState(next);
    await updateMap();
  });
}

/** Show the file of the current image, as large as the window allows; any key or click closes it. */
function zoom() {
  const row = grid.rows[grid.current];
  if (row === undefined) return;
  $("large").src = `/image/${row}`;
  $("large-path").textContent = grid.known.get(row)?.path ?? "";
  $("zoom").showModal();
}
$("zoom").addEventListener("click", () => $("zoom").close());
$("zoom").addEventListener("keydown", () => $("zoom").close());

const actions = {
  z: zoom, " ": () => grid.advance(), u: undo, a: () => grid.selectAll(), Delete: () => label(null),
  Escape: () => { grid.selected.clear(); grid.draw(); },
};

document.addEventListener("keydown", (event) => {
  if ($("zoom").open || event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey || !state) return;
  const known = state.classes[Number(event.key) - 1];
  const action = known ? () => label(known.name) : actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

$("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name) return;
  if (!confirmed(name)) return;
  $("name").value = "";
  $("grid").focus();
  label(name);
});
const plain = (name) => name.toLowerCase().replace(/[\W_]+/g, "");

$("view").addEventListener("change", () => attempt(showView));
$("select-all").addEventListener("click", actions.a);
$("grid").addEventListener("dblclick", zoom);
$("skip").addEventListener("click", actions[" "]);
$("enlarge").addEventListener("click", zoom);
$("undo").addEventListener("click", undo);
$("clear-label").addEventListener("click", actions.Delete);

let failed = false; // the last poll

/** Wait for the embeddings, then look for changes of other tabs and programs. */
async function poll() {
  try {
    const next = await ask("/api/state");
    if (!next.ready) {
      if (next.failure) {
        $("progress").textContent = "";
        return say(next.failure);
      }
      $("progress").textContent = `Embedding images: ${next.done.toLocaleString()} of ${next.total.toLocaleString()}`;
    } else if (!state) {
      showState(next);
      document.querySelector("main").hidden = false;
      await updateMap();
      await showView();
    } else if (next.version !== mapVersion) {
      showState(next);
      grid.refresh();
      await updateMap();
    } else {
      state = next;
      showEstimate(next);
    }
    if (failed) say("");
    failed = false;
  } catch (error) {
    failed = true;
    say(error.message);
  }
  setTimeout(poll, 1000);
}
poll();
