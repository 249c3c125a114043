import { inspect } from 'node:util';

const HIDDEN = '[hidden]';

/** A password of a mirror file. Printing, serialising or inspecting what holds it shows `[hidden]`; `reveal` gives the text. */
export class Hidden {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [inspect.custom](): string {
    return HIDDEN;
  }
}
