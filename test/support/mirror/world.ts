/** Two registries, a user, and a mirror file of theirs. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { newUser, type User } from '../cli.ts';
import { type Image, image } from '../images.ts';
import type { RunResult } from '../process.ts';
import { type LogEntry, type RegistryOptions, TestRegistry } from '../registry.ts';

/** Without what hangs on images: that costs requests of its own. */
export const PLAIN = { referrers: false, digestTags: false };

export class MirrorWorld implements AsyncDisposable {
  readonly source: TestRegistry;
  readonly target: TestRegistry;
  readonly user: User;
  readonly #stack: AsyncDisposableStack;

  private constructor(source: TestRegistry, target: TestRegistry, user: User, stack: AsyncDisposableStack) {
    this.source = source;
    this.target = target;
    this.user = user;
    this.#stack = stack;
  }

  static async start(options: { source?: RegistryOptions; target?: RegistryOptions } = {}): Promise<MirrorWorld> {
    await using stack = new AsyncDisposableStack();
    const source = stack.use(await TestRegistry.start(options.source));
    const target = stack.use(await TestRegistry.start(options.target));
    const user = stack.use(await newUser());
    return new MirrorWorld(source, target, user, stack.move());
  }

  path(name: string): string {
    return join(this.user.home, name);
  }

  /** Stores images under their tags; each has a layer of its own and one that all of them share. */
  add(repo: string, tags: readonly string[], seed = ''): Image[] {
    return tags.map((tag) => {
      const made = image({ seed: `${repo} ${tag} ${seed}`, layers: [{ raw: Buffer.alloc(3000, repo) }, 500] });
      this.source.add(repo, tag, made);
      return made;
    });
  }

  /** Writes the mirror file. JSON is YAML. */
  async says(sync: readonly object[], more: object = {}, name = 'mirror.yml'): Promise<string> {
    await writeFile(this.path(name), JSON.stringify({ version: 1, defaults: PLAIN, sync, ...more }));
    return this.path(name);
  }

  /** `repository` of the source, to the same name in the target. */
  repository(repo: string, more: object = {}): object {
    return {
      type: 'repository',
      source: `${this.source.host}/${repo}`,
      target: `${this.target.host}/${repo}`,
      ...more,
    };
  }

  mirror(...args: readonly string[]): Promise<RunResult> {
    return this.user.gantry(['mirror', ...args]);
  }

  async json(name: string): Promise<Record<string, unknown>> {
    const document: Record<string, unknown> = JSON.parse(await readFile(this.path(name), 'utf8'));
    return document;
  }

  clear(): void {
    this.source.log.clear();
    this.target.log.clear();
  }

  /** Every tag of the repository is at the target as it is at the source. */
  assertMirrored(repo: string): void {
    const tagsOf = (registry: TestRegistry) => Object.fromEntries(registry.stored.get(repo)?.tags ?? []);
    assert.deepEqual(tagsOf(this.target), tagsOf(this.source));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

/** `HEAD manifest`: 3 */
export function requestsOf(registry: TestRegistry): Record<string, number> {
  const named = ({ method, kind }: LogEntry): string => `${method} ${kind}`;
  const groups = Map.groupBy(registry.log.entries, named);
  return Object.fromEntries([...groups].map(([name, entries]) => [name, entries.length]));
}

/** `1.0 copied`, of the images of a report. */
export function outcomesOf(report: Record<string, unknown>): string[] {
  const { images } = report;
  assert.ok(Array.isArray(images));
  return images
    .map((image: Record<string, unknown>) => `${String(image['tag'] ?? image['source'])} ${String(image['outcome'])}`)
    .toSorted();
}
