// The drafts of the sheet, one behind the other: undo, redo, and what is still there after a reload.

import { keep, kept } from "./prefs.js";

const MOST = 50;
const KEY = "drafts";

const isText = (value) => typeof value === "string";
const isRow = (row) => isText(row?.text) && isText(row.mark) && typeof row.ends === "boolean";
const isPoem = (poem) =>
  Array.isArray(poem?.rows) && poem.rows.length > 0 && poem.rows.every(isRow) &&
  [poem.tune, poem.form, poem.rhyme, poem.heading].every(isText) && typeof poem.wishes === "object" && poem.wishes !== null;

export class Drafts {
  constructor() {
    [this.all, this.place] = [[], -1];
    try {
      const { all, place } = JSON.parse(kept(KEY, "{}"));
      if (Array.isArray(all) && all.every(isPoem) && all[place]) [this.all, this.place] = [all, place];
    } catch {
      // something else has written there
    }
  }

  /** The poem on the sheet, or null. */
  get now() {
    return this.all[this.place] ?? null;
  }

  get canUndo() {
    return this.place > 0;
  }

  get canRedo() {
    return this.place < this.all.length - 1;
  }

  /** Put a poem before all others; what was undone is gone. */
  put(poem) {
    this.all = [...this.all.slice(0, this.place + 1), poem].slice(-MOST);
    this.place = this.all.length - 1;
    this.#keep();
  }

  /** Know more of the poem on the sheet; its text stays as it is. */
  amend(fields) {
    this.all[this.place] = { ...this.now, ...fields };
    this.#keep();
  }

  /** Go some drafts back, or forth. */
  step(by) {
    this.place = Math.min(Math.max(this.place + by, 0), this.all.length - 1);
    this.#keep();
  }

  #keep() {
    keep(KEY, JSON.stringify({ all: this.all, place: this.place }));
  }
}
