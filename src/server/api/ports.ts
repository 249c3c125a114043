/** What the API needs of the rest of gantry. */
import type { CallOptions } from '../../call.ts';
import type { IngestManager } from '../../content/ports.ts';
import type { FarmView, ImageReader, LaneControl, RunControl, RunReader } from '../../flow/farm-status.ts';
import type { SubmitJson } from './schema.ts';

export interface FarmPorts {
  readonly view: FarmView & RunReader;
  readonly images: ImageReader;
  readonly control: RunControl;
  readonly lanes: LaneControl;
  /** The name of a lane as people write it, in the form that it has; it becomes part of keys. @throws GantryError INVALID */
  laneName(text: string): string;
  /** Answers the id of the run. @throws GantryError INVALID, USAGE */
  submit(request: SubmitJson, opts: CallOptions): Promise<string>;
}

/** A store of this machine. */
export interface StorePorts extends Pick<IngestManager, 'active'> {
  id(): Promise<string>;
}

export interface ApiPorts {
  readonly version: string;
  /** Whether something can be changed with a token. */
  readonly changes: boolean;
  readonly protectReads: boolean;
  readonly farm: FarmPorts | undefined;
  /** What it serves as a registry. */
  readonly store: StorePorts | undefined;
}
