/** index.json of an OCI image layout (image-spec, image-layout.md#indexjson-file): read tolerantly, written whole. */
import { GantryError, isCode, messageOf } from '../errors.ts';
import { descriptorToJson, parseDescriptor } from '../oci/descriptor-json.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { parseStrictJson } from '../oci/json.ts';
import { ifExists, type StoreFs } from './fs.ts';
import { elementTexts, fieldTexts } from './json-parts.ts';

const REF_NAME = 'org.opencontainers.image.ref.name';

export interface IndexEntry {
  /** Content that another tool listed without a name goes by its digest. Absent where that is of an unknown algorithm. */
  readonly name: string | undefined;
  readonly desc: Descriptor | undefined;
  /** As it stands in the file: what another tool wrote there is kept. */
  readonly text: string;
}

export interface IndexFile {
  readonly entries: readonly IndexEntry[];
  /** Everything else in the document: fields and the text of their values. */
  readonly rest: ReadonlyMap<string, string>;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** @throws GantryError MALFORMED: nothing is rebuilt over a file that is not understood */
export async function readIndex(fs: StoreFs, path: string): Promise<IndexFile> {
  const bytes = await ifExists(fs.readFile(path));
  if (bytes === undefined || bytes.byteLength === 0) return { entries: [], rest: new Map() };
  try {
    return parseIndex(bytes, path);
  } catch (err) {
    throw new GantryError('MALFORMED', messageOf(err), {
      origin: 'store',
      cause: err,
      hint: 'restore it, or delete it: gantry writes it anew with the images that it knows',
    });
  }
}

function parseIndex(bytes: Buffer, path: string): IndexFile {
  const document = parseStrictJson(bytes, path);
  const manifests = isObject(document) ? (document['manifests'] ?? []) : undefined;
  if (!Array.isArray(manifests)) throw new GantryError('MALFORMED', `${path}: not an image index`, { origin: 'store' });
  const rest = fieldTexts(bytes.toString());
  const texts = elementTexts(rest.get('manifests') ?? '');
  rest.delete('manifests');
  const entries = manifests.map((value: unknown, i): IndexEntry => {
    const desc = descriptorOf(value, `${path}: manifests.${i}`);
    return { name: desc?.annotations?.[REF_NAME] ?? desc?.digest, desc, text: texts[i] ?? '' };
  });
  return { entries, rest };
}

function descriptorOf(value: unknown, where: string): Descriptor | undefined {
  try {
    return parseDescriptor(value, where);
  } catch (err) {
    if (isCode(err, 'UNSUPPORTED')) return undefined;
    throw err;
  }
}

export function indexText({ rest, entries }: IndexFile): string {
  const fields = [['"schemaVersion"', '2']];
  for (const [name, text] of rest) if (name !== 'schemaVersion') fields.push([JSON.stringify(name), text]);
  fields.push(['"manifests"', `[${entries.map(({ text }) => text).join(',')}]`]);
  return `{${fields.map(([name, text]) => `${name}:${text}`).join(',')}}`;
}

export function namedEntry(name: string, desc: Descriptor): IndexEntry {
  const named = { ...desc, annotations: { ...desc.annotations, [REF_NAME]: name } };
  return { name, desc: named, text: JSON.stringify(descriptorToJson(named)) };
}
