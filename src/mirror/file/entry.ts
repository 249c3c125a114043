/** What the entries of a mirror file have in common while they are read: templates, references, problems. */
import { GantryError } from '../../errors.ts';
import { parseReference, parseRepository } from '../../oci/reference.ts';
import type { MirrorDocument, Path } from './document.ts';
import { Template, type TemplateData, TemplateError, type TemplateParts } from './template.ts';

export class EntryReader {
  readonly document: MirrorDocument;
  readonly #parts: TemplateParts;

  constructor(document: MirrorDocument, parts: TemplateParts) {
    this.document = document;
    this.#parts = parts;
  }

  fail(path: Path, message: string): undefined {
    this.document.problems.push(this.document.problem(path, message));
    return undefined;
  }

  warn(path: Path, message: string): void {
    this.document.warnings.push(this.document.problem(path, message, 'key'));
  }

  /** Undefined, and a problem, when it cannot be used. */
  template(text: string, path: Path): Template | undefined {
    return this.#attempt(path, () => new Template(text, this.#parts));
  }

  /** Undefined, and a problem, when it cannot be used. */
  expand(text: string, path: Path, data: TemplateData = {}): string | undefined {
    if (!text.includes('{{')) return text;
    return this.#attempt(path, () => new Template(text, this.#parts).expand(data));
  }

  /** Whether a template works with data such as this. */
  works(template: Template, path: Path, data: TemplateData): boolean {
    return this.#attempt(path, () => template.expand(data)) !== undefined;
  }

  /** Whether it is the name of an image; a problem if not. */
  isImage(text: string, path: Path): boolean {
    return this.#attempt(path, () => parseReference(text)) !== undefined;
  }

  isRepository(text: string, path: Path): boolean {
    return this.#attempt(path, () => parseRepository(text)) !== undefined;
  }

  /** `host[:port]`, and where a prefix may follow, `host[:port]/path`. Gives the registry. */
  registry(text: string, path: Path, mayHavePath: boolean): string | undefined {
    const host = text.split('/')[0] ?? '';
    const parsed = this.#attempt(path, () => parseRepository(`${text}/x`));
    if (parsed === undefined) return undefined;
    // Without a dot or a port it would be read as a part of a path on Docker Hub.
    if (host !== parsed.registry && host !== 'index.docker.io') {
      return this.fail(path, 'expected a registry, host[:port]; its name has a dot or a port, or is localhost');
    }
    return mayHavePath || host === text ? parsed.registry : this.fail(path, 'expected a registry without a path');
  }

  #attempt<T>(path: Path, work: () => T): T | undefined {
    try {
      return work();
    } catch (err) {
      if (err instanceof TemplateError) return this.fail(path, err.message);
      if (!(err instanceof GantryError)) throw err;
      const [first = ''] = err.message.split('\n');
      return this.fail(path, first);
    }
  }
}
