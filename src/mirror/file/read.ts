/** Reads a mirror file that may be wrong, and says so in words. */
import type { z } from 'zod';
import { buildMirrorFile, failure, type Listed, type ReadParts } from './build.ts';
import { isRecord, MirrorDocument } from './document.ts';
import { foreignTool } from './foreign.ts';
import { credsSchema, defaultsSchema, syncSchema } from './schema.ts';
import { checkStructure, lenient } from './structure.ts';
import type { MirrorFile } from './types.ts';

export type { ReadParts } from './build.ts';

/** The entries of a list of which enough can be read. */
function entriesOf<T>(schema: z.ZodType<T>, list: unknown): Listed<T>[] {
  const items: readonly unknown[] = Array.isArray(list) ? list : [];
  return items.flatMap((item, index) => {
    const input = lenient(schema, item);
    return input === undefined ? [] : [{ input, index }];
  });
}

/**
 * @param file how the file is called in messages
 * @throws GantryError INVALID whose message has every problem with its place, its line and a caret
 */
export function readMirrorFile(text: string, file: string, parts: ReadParts): MirrorFile {
  const document = new MirrorDocument(text, file, { env: parts.env });
  const { value } = document;
  if (document.problems.length > 0 && value === undefined) throw failure(file, document.problems);
  if (!isRecord(value)) {
    const why = value === undefined ? 'the file is empty; it needs at least "sync:" with an entry' : 'expected a map';
    throw failure(file, [document.problem([], why)]);
  }
  const foreign = foreignTool(value);
  if (foreign !== undefined) {
    const why = `this is a file of ${foreign.tool}, not a mirror file`;
    throw failure(file, [document.problem([], why)], foreign.hint);
  }
  checkStructure(document);
  const said = {
    defaults: lenient(defaultsSchema, value['defaults'] ?? {}) ?? {},
    creds: entriesOf(credsSchema, value['creds']),
    sync: entriesOf(syncSchema, value['sync']),
  };
  return buildMirrorFile(document, file, said, parts);
}
