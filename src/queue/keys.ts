/**
 * The names of all keys. One hash tag for everything, so that a cluster keeps it in one place, and one AOF makes a crash lose a
 * consistent tail of queue and graph together.
 */
export class Keys {
  /** Prefix of everything, and BullMQ's. */
  readonly tag: string;

  /** @param namespace tells farms apart that share a Redis */
  constructor(namespace: string) {
    this.tag = `{${namespace}}`;
  }

  /** The keys of a run are this and a letter; see scripts/graph.ts. */
  run(id: string): string {
    return `${this.tag}:r:${id}`;
  }

  /** Runs by the time of their creation. */
  get runs(): string {
    return `${this.tag}:runs`;
  }

  /** Runs that may have work: not ended, or not tidied up yet. */
  get open(): string {
    return `${this.tag}:open`;
  }

  /** Names of lanes. */
  get lanes(): string {
    return `${this.tag}:lanes`;
  }

  lane(name: string): string {
    return `${this.tag}:lane:${name}`;
  }

  /** Leases of slots of a lane that are held by tickets of other lanes. */
  slots(lane: string): string {
    return `${this.tag}:slots:${lane}`;
  }

  /** Where the blobs of a registry that is written to are: over as many hashes as digests have first digits. */
  places(registry: string): string {
    return `${this.tag}:places:${registry}`;
  }

  /** The repositories of a registry that are known not to take blobs from others. */
  refusesMounts(registry: string): string {
    return `${this.tag}:refusing:${registry}`;
  }

  /** What is left of a lane's quota, for one identity. */
  bucket(lane: string, identity: string): string {
    return `${this.tag}:bucket:${lane}:${identity}`;
  }

  /** Identities that a lane's quota was charged for. */
  identities(lane: string): string {
    return `${this.tag}:identities:${lane}`;
  }

  /** Ids of workers; what each says of itself expires when it dies. */
  get workers(): string {
    return `${this.tag}:workers`;
  }

  worker(id: string): string {
    return `${this.tag}:worker:${id}`;
  }

  /** Held by whoever feeds a run, or sweeps all of them. */
  duty(name: string): string {
    return `${this.tag}:duty:${name}`;
  }

  /** The channel on which all workers listen. */
  get control(): string {
    return `${this.tag}:control`;
  }

  /** The channel of what happens in a run, while somebody watches. */
  events(run: string): string {
    return `${this.tag}:events:${run}`;
  }

  /** @param name see leaseOf in record.ts */
  lease(name: string): string {
    return `${this.tag}:l:${name}`;
  }

  /** Of each target repository, the tags that left their source; see gone-tags.ts. */
  get gone(): string {
    return `${this.tag}:gone`;
  }

  /** Of each rule of a mirror file that is served, its last run; see schedules.ts. */
  lastRuns(file: string): string {
    return `${this.tag}:last-runs:${file}`;
  }
}
