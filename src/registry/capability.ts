/** What a host of a registry may be asked for, in the words of containerd's hosts.toml. */
export type Capability = 'pull' | 'resolve' | 'push';

export const ALL_CAPABILITIES: ReadonlySet<Capability> = new Set(['pull', 'resolve', 'push']);
