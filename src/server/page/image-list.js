// @ts-check
/** The images of a run as far as they are looked at: pages around what is visible, and no more than so many. */
import { read } from './http.js';

/** @import { ImageJson, ImagesJson } from '../api/schema.ts' */

/** Images asked for at a time. */
const PAGE = 100;
/** Kept; a screen needs one or two. */
const MAX_PAGES = 20;
/** Who scrolls through everything asks for what he stops at. */
const SETTLE_MS = 60;

/** @typedef {{ readonly state: string, readonly code: string, readonly q: string }} Filter */

export class ImageList {
  /** How many fit the filter; undefined before the first answer. @type {number | undefined} */
  total;
  /** @type {unknown} */
  problem;
  #run;
  #filter;
  #tell;
  /** The one used last is the last. @type {Map<number, readonly ImageJson[]>} */
  #pages = new Map();
  /** @type {Map<number, AbortController>} */
  #asking = new Map();
  /** @type {Set<number>} */
  #stale = new Set();
  #wanted = { from: 0, to: 0 };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} run
   * @param {Filter} filter
   * @param {() => void} tell that something is there to be shown
   */
  constructor(run, filter, tell) {
    this.#run = run;
    this.#filter = filter;
    this.#tell = tell;
    this.#ask();
  }

  /** @param {number} place among those that fit the filter */
  at(place) {
    return this.#pages.get(Math.floor(place / PAGE))?.[place % PAGE];
  }

  /**
   * What is visible: asked for, if it is not here.
   * @param {number} from
   * @param {number} to
   */
  show(from, to) {
    this.#wanted = { from: Math.floor(from / PAGE), to: Math.floor(Math.max(from, to - 1) / PAGE) };
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#ask();
    }, SETTLE_MS);
  }

  /** Something has changed: what is here is shown until it is there anew. */
  refresh() {
    this.#stale = new Set(this.#pages.keys());
    this.show(this.#wanted.from * PAGE, (this.#wanted.to + 1) * PAGE);
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const stop of this.#asking.values()) stop.abort();
  }

  #ask() {
    const { from, to } = this.#wanted;
    for (const [page, stop] of this.#asking) if (page < from || page > to) stop.abort();
    for (let page = from; page <= to; page += 1) {
      const isHere = this.#pages.has(page) && !this.#stale.has(page);
      if (!isHere && !this.#asking.has(page)) void this.#fetch(page);
    }
  }

  /** @param {number} page */
  async #fetch(page) {
    const stop = new AbortController();
    this.#asking.set(page, stop);
    this.#stale.delete(page);
    const given = Object.entries(this.#filter).filter(([, value]) => value !== '');
    const query = new URLSearchParams([...given, ['offset', String(page * PAGE)], ['limit', String(PAGE)]]);
    try {
      /** @type {ImagesJson} */
      const { total, images } = await read(`runs/${this.#run}/images?${query}`, stop.signal);
      if (stop.signal.aborted) return;
      this.total = total;
      this.problem = undefined;
      this.#keep(page, images);
    } catch (err) {
      if (stop.signal.aborted) return;
      this.problem = err;
    } finally {
      this.#asking.delete(page);
    }
    this.#tell();
  }

  /**
   * @param {number} page
   * @param {readonly ImageJson[]} images
   */
  #keep(page, images) {
    this.#pages.delete(page);
    this.#pages.set(page, images);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= MAX_PAGES) return;
      this.#pages.delete(oldest);
      this.#stale.delete(oldest);
    }
  }
}
