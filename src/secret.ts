import { inspect } from 'node:util';

const HIDDEN = '[secret]';

/**
 * A password or token on its way through the program. Printing, serialising or inspecting the object that holds it
 * shows `[secret]`; only a call of `reveal` gives the text, so that every place that uses it can be found by name.
 */
export class Secret {
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
