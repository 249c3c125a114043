import { GantryError } from '../errors.ts';

const NAME = /^(?:[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?$/;

/** The names under which Docker Hub goes in references, configuration files and URLs. */
const DOCKER_HUB: ReadonlySet<string> = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/** The host part of a configuration key or URL as a reference has it: lower case, Docker Hub under one name. */
export function canonicalHost(host: string): string {
  const lower = host.toLowerCase();
  return DOCKER_HUB.has(lower) ? 'docker.io' : lower;
}

/**
 * A registry as references name it, `host[:port]`, checked before it becomes part of a path or a line of a protocol.
 * @throws GantryError INVALID
 */
export function registryName(text: string): string {
  const name = canonicalHost(text);
  const match = NAME.exec(name);
  if (match === null || name.includes('..') || Number(match[1] ?? 1) > 65_535) {
    throw new GantryError('INVALID', `not a registry: ${JSON.stringify(text.slice(0, 160))}`, {
      origin: 'user',
      hint: 'a registry is a host name or address, and a port where it is not 443: ghcr.io, localhost:5000',
    });
  }
  return name;
}
