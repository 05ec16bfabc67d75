// A grid of thumbnails of which only the visible ones are in the document, so that 100,000 images scroll.

const CELL = { width: 108, height: 134 };

export class Grid {
  /**
   * @param {HTMLElement} frame The scrolling element.
   * @param {HTMLElement} canvas Its only child, as high as all images.
   * @param {(rows: number[]) => Promise<object[]>} describe Path, label, guess and probability of rows.
   */
  constructor(frame, canvas, describe) {
    Object.assign(this, { frame, canvas, describe });
    this.rows = [];
    this.selected = new Set();
    this.current = 0; // place in rows
    this.anchor = null;
    this.known = new Map(); // row: description
    this.cells = new Map(); // place: figure
    frame.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(frame);
    canvas.addEventListener("click", (event) => this.click(event));
  }

  get columns() {
    return Math.max(1, Math.floor(this.frame.clientWidth / CELL.width));
  }

  /** Show other rows, from the top. */
  show(rows) {
    Object.assign(this, { rows, current: 0, anchor: null });
    this.selected.clear();
    this.frame.scrollTop = 0;
    this.redraw();
  }

  /** Forget what is known of the images, after labels have changed. */
  refresh() {
    this.known.clear();
    this.redraw();
  }

  redraw() {
    this.cells.forEach((cell) => cell.remove());
    this.cells.clear();
    this.draw();
  }

  draw() {
    const columns = this.columns;
    const lines = Math.ceil(this.rows.length / columns);
    this.canvas.style.height = `${lines * CELL.height}px`;
    const top = Math.max(0, Math.floor(this.frame.scrollTop / CELL.height) - 1) * columns;
    const end = Math.min(this.rows.length, top + (Math.ceil(this.frame.clientHeight / CELL.height) + 3) * columns);
    if (columns !== this.drawnColumns) {
      this.cells.forEach((cell) => cell.remove());
      this.cells.clear();
      this.drawnColumns = columns;
    }
    for (const [place, cell] of this.cells) {
      if (place < top || place >= end) {
        cell.remove();
        this.cells.delete(place);
      }
    }
    const unknown = [];
    for (let place = top; place < end; place++) {
      if (!this.cells.has(place)) this.cells.set(place, this.addCell(place, columns));
      this.mark(place);
      if (!this.known.has(this.rows[place])) unknown.push(this.rows[place]);
    }
    if (unknown.length) this.fetch(unknown);
  }

  addCell(place, columns) {
    const cell = document.createElement("figure");
    cell.style.left = `${(place % columns) * CELL.width}px`;
    cell.style.top = `${Math.floor(place / columns) * CELL.height}px`;
    cell.dataset.place = place;
    const image = document.createElement("img");
    image.src = `/thumbnail/${this.rows[place]}`;
    image.alt = "";
    cell.append(image, document.createElement("figcaption"));
    this.canvas.append(cell);
    return cell;
  }

  async fetch(rows) {
    for (const description of await this.describe(rows)) this.known.set(description.row, description);
    for (const place of this.cells.keys()) this.mark(place);
  }

  mark(place) {
    const cell = this.cells.get(place);
    const row = this.rows[place];
    const known = this.known.get(row);
    cell.classList.toggle("selected", this.selected.has(row));
    cell.classList.toggle("current", place === this.current);
    if (!known) return;
    cell.classList.toggle("labelled", known.label !== null);
    cell.title = known.path;
    cell.lastChild.textContent =
      known.label ?? (known.guess ? `${known.guess}? ${Math.round(100 * known.probability)}%` : "unlabelled");
  }

  click(event) {
    const cell = event.target.closest("figure");
    if (!cell) return;
    const place = Number(cell.dataset.place);
    if (event.shiftKey && this.anchor !== null) {
      const [from, to] = [this.anchor, place].sort((a, b) => a - b);
      for (let k = from; k <= to; k++) this.selected.add(this.rows[k]);
    } else {
      const row = this.rows[place];
      if (this.selected.has(row)) this.selected.delete(row);
      else this.selected.add(row);
      this.anchor = place;
    }
    this.current = place;
    this.draw();
  }

  /** The selected rows, or if there are none the current one. */
  chosen() {
    const rows = this.rows.filter((row) => this.selected.has(row));
    return rows.length ? rows : this.rows.slice(this.current, this.current + 1);
  }

  selectAll() {
    this.rows.forEach((row) => this.selected.add(row));
    this.draw();
  }

  /** Clear the selection, and go to the next image behind the last chosen one. */
  advance() {
    const chosen = new Set(this.chosen());
    let place = this.current;
    this.rows.forEach((row, k) => {
      if (chosen.has(row)) place = k;
    });
    this.selected.clear();
    this.current = Math.min(place + 1, Math.max(0, this.rows.length - 1));
    const line = Math.floor(this.current / this.columns) * CELL.height;
    if (line < this.frame.scrollTop || line + CELL.height > this.frame.scrollTop + this.frame.clientHeight) {
      this.frame.scrollTop = line - CELL.height;
    }
    this.draw();
  }
}
