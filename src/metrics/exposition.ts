/** Metrics as they are sent to Prometheus. */
export interface Exposition {
  /** Content-Type */
  readonly type: string;
  readonly body: string;
}

/** One answer of several that have no metric in common. */
export const joined = (first: Exposition, ...rest: readonly Exposition[]): Exposition => ({
  type: first.type,
  body: [first, ...rest].map(({ body }) => body).join('\n'),
});
