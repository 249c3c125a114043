import type { IncomingHttpHeaders } from 'node:http';

/** What a request is about. `manifest` and `blob` are read; `signed` belongs to another origin. */
export type Kind =
  | 'base'
  | 'manifest'
  | 'blob'
  | 'tags'
  | 'catalog'
  | 'referrers'
  | 'token'
  | 'signed'
  | 'other'
  /** POST: without a body, or with the whole blob. */
  | 'upload-start'
  | 'mount'
  /** PATCH */
  | 'chunk'
  | 'upload-end'
  | 'upload-status'
  | 'upload-cancel'
  /** PUT of a manifest by its digest */
  | 'put-manifest'
  | 'put-tag'
  | 'delete-manifest'
  | 'delete-tag'
  | 'delete-blob';

/** One request, from its head to its end. Times are of `performance.now()`. */
export interface LogEntry {
  readonly id: number;
  /** Which of the servers that share a log: `registry`, `token`, `uploads`; `origin` has one of its own. */
  readonly server: string;
  readonly method: string;
  /** Path and query, as they were sent. */
  readonly path: string;
  readonly kind: Kind;
  readonly repo: string | undefined;
  /** What is named: a digest or a tag; for requests within an upload that do not tell the digest, the session. */
  readonly object: string | undefined;
  readonly range: string | undefined;
  readonly authKind: 'none' | 'basic' | 'bearer' | 'other';
  readonly authorization: string | undefined;
  readonly cookie: string | undefined;
  readonly host: string | undefined;
  readonly headers: IncomingHttpHeaders;
  /** Of forms and manifests; at most 64 KiB. */
  body: string;
  readonly connection: number;
  readonly startedAt: number;
  /** 0 while there is no answer, and for ever when the connection was cut instead. */
  status: number;
  /** Bytes of the request's body that were read. */
  bytesReceived: number;
  /** Bytes of the answer's body. */
  bytesSent: number;
  endedAt: number | undefined;
  /** How it ended: all was sent, the client went away, or a fault cut it. */
  outcome: 'open' | 'sent' | 'gone' | 'cut';
}

export interface Filter {
  readonly method?: string;
  readonly kind?: Kind;
  readonly repo?: string;
  readonly object?: string | RegExp;
  readonly status?: number;
  readonly server?: string;
  readonly authKind?: LogEntry['authKind'];
  /** With or without a Range header. */
  readonly ranged?: boolean;
  readonly where?: (entry: LogEntry) => boolean;
}

const named = (wanted: string | RegExp, object: string | undefined): boolean =>
  typeof wanted === 'string' ? wanted === object : object !== undefined && wanted.test(object);

export const fits = (entry: LogEntry, filter: Filter): boolean =>
  (filter.method === undefined || filter.method === entry.method) &&
  (filter.kind === undefined || filter.kind === entry.kind) &&
  (filter.repo === undefined || filter.repo === entry.repo) &&
  (filter.object === undefined || named(filter.object, entry.object)) &&
  (filter.status === undefined || filter.status === entry.status) &&
  (filter.server === undefined || filter.server === entry.server) &&
  (filter.authKind === undefined || filter.authKind === entry.authKind) &&
  (filter.ranged === undefined || filter.ranged === (entry.range !== undefined)) &&
  (filter.where === undefined || filter.where(entry));

export interface WaitOptions {
  /** How many entries must fit; 1 unless said. */
  readonly count?: number;
  /** Resolves when the request came (`started`, the default) or when it is over. */
  readonly state?: 'started' | 'ended';
  readonly timeoutMs?: number;
}

type Waiter = () => boolean;

/** What the servers of one registry were asked, in order of arrival. */
export class Log {
  readonly entries: LogEntry[] = [];
  readonly #waiters = new Set<Waiter>();

  #lastId = 0;

  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  add(entry: LogEntry): void {
    this.entries.push(entry);
    this.changed();
  }

  /** Forgets what was; requests under way go on. */
  clear(): void {
    this.entries.length = 0;
  }

  end(entry: LogEntry, outcome: LogEntry['outcome']): void {
    if (entry.endedAt !== undefined) return;
    entry.endedAt = performance.now();
    entry.outcome = outcome;
    this.changed();
  }

  changed(): void {
    for (const waiter of this.#waiters) if (waiter()) this.#waiters.delete(waiter);
  }

  select(filter: Filter = {}): LogEntry[] {
    return this.entries.filter((entry) => fits(entry, filter));
  }

  count(filter: Filter = {}): number {
    return this.select(filter).length;
  }

  bytesSent(filter: Filter = {}): number {
    return this.select(filter).reduce((sum, entry) => sum + entry.bytesSent, 0);
  }

  bytesReceived(filter: Filter = {}): number {
    return this.select(filter).reduce((sum, entry) => sum + entry.bytesReceived, 0);
  }

  /**
   * The most requests that were under way at the same moment. `per: 'object'` gives the maximum over objects: 1 says
   * that nothing was fetched twice at a time. A request ends when its last byte is handed to the system.
   */
  maxConcurrent(filter: Filter = {}, options: { per?: 'all' | 'object' | 'repo' } = {}): number {
    const per = options.per ?? 'all';
    const groups = Map.groupBy(this.select(filter), (entry) => (per === 'all' ? '' : (entry[per] ?? '')));
    let most = 0;
    for (const group of groups.values()) {
      const edges = group.flatMap((entry) => [
        { at: entry.startedAt, step: 1 },
        { at: entry.endedAt ?? Infinity, step: -1 },
      ]);
      edges.sort((a, b) => a.at - b.at || a.step - b.step);
      let open = 0;
      for (const edge of edges) {
        open += edge.step;
        most = Math.max(most, open);
      }
    }
    return most;
  }

  /** The entry that makes the condition true, be it in the log already or still to come. */
  waitFor(filter: Filter | ((entry: LogEntry) => boolean), options: WaitOptions = {}): Promise<LogEntry> {
    const where: Filter = typeof filter === 'function' ? { where: filter } : filter;
    const { count = 1, state = 'started', timeoutMs = 10_000 } = options;
    return new Promise((resolve, reject) => {
      const look = (): boolean => {
        const found = this.select(where).filter((entry) => state === 'started' || entry.endedAt !== undefined);
        const last = found[count - 1];
        if (last === undefined) return false;
        clearTimeout(timer);
        resolve(last);
        return true;
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(look);
        reject(new Error(`no such request within ${timeoutMs} ms; the log has:\n${this.text()}`));
      }, timeoutMs);
      if (!look()) this.#waiters.add(look);
    });
  }

  /** For messages: one line per request. */
  text(): string {
    return this.entries
      .map(
        (e) =>
          `${e.server} ${e.method} ${e.path} ${e.status} ${e.range ?? ''} ${e.bytesReceived} ${e.bytesSent} ${e.outcome}`,
      )
      .join('\n');
  }
}
