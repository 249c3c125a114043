import type { ByteStream } from '../call.ts';
import type { ContentWriter } from './ports.ts';

/** How much has to come before it is worth telling: a report for each chunk costs more than hashing it. */
const REPORT_BYTES = 256 << 10;

/** Pours a stream into a writer. It waits only where the writer asks for it: one promise per chunk costs more than its bytes. */
export async function fill(
  writer: ContentWriter,
  body: ByteStream,
  onProgress?: (offset: number) => void,
): Promise<void> {
  let reported = writer.offset;
  for await (const chunk of body) {
    const full = writer.write(chunk, body.exclusive);
    if (full !== undefined) await full;
    if (writer.offset - reported < REPORT_BYTES) continue;
    reported = writer.offset;
    onProgress?.(reported);
  }
  if (writer.offset !== reported) onProgress?.(writer.offset);
}
